"""Where a network looks: maps of what speaks for a class, over the images."""
