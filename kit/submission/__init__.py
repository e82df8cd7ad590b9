"""A competition's csv: written from predictions, and checked."""
