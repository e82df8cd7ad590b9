"""Checks of a metric."""
