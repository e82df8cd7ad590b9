"""Predictions, metrics and the checked csv."""
