"""Checks of a competition."""
