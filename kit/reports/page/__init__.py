"""`kit report`: a page made from what runs have saved."""
