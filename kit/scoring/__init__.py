"""What predictions are worth: metrics with intervals, tables, rankings."""
