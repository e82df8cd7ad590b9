"""`kit report`: one page a run, made of what the run has saved."""
