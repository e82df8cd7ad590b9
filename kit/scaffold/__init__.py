"""Plugin packages as files: their names, their form, and how they are written."""
