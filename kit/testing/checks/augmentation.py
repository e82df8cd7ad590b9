"""Checks of a augmentation."""
