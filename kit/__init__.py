"""kit: from rules accepted to score on the board."""

__version__ = "0.1.0"
