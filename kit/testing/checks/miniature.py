"""Checks of a miniature."""
