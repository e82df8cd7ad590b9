"""Checks of a head."""
