"""The csv of a competition: written from predictions, and checked."""
