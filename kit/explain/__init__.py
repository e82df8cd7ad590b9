"""Where a network looks: maps of the evidence for a class, over the images."""
