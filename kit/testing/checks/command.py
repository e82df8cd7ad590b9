"""Checks of a command."""
