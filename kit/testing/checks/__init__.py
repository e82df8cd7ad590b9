"""The checks, one file per kind of thing that a plugin gives."""
