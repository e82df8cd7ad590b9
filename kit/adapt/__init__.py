"""A folder that no plugin knows: what is in it, what that is evidence of, and a plugin package for it."""
