"""Several runs combined into one: blends, joined runs, pseudo-labels."""
