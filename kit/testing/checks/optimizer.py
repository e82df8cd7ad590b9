"""Checks of a optimizer."""
