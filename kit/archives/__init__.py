"""Open, check and unpack archives as they arrive."""
