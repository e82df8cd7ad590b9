"""Checks of a tracker."""
