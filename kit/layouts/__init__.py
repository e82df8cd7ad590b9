"""Layouts that many competitions share: tables of labels, and the images of their rows, made into an index."""
