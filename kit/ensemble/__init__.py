"""Several runs made one: blends, joined runs, pseudo-labels."""
