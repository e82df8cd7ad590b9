"""Checks of a loss."""
