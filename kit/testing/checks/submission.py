"""Checks of a submission."""
