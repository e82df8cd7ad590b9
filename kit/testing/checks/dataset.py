"""Checks of a dataset."""
