"""One loop and what it needs."""
