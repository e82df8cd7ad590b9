"""Scores of predictions: metrics with intervals, tables, rankings."""
