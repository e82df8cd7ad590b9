"""Turn the raw folder into indexed, checked and folded samples."""
