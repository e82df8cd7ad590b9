"""The one reader of images: which bytes are one, what it is, and its pixels."""
