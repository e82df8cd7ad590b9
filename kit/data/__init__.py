"""From the raw folder to indexed, checked, folded samples."""
