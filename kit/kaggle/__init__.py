"""Kaggle: the only room that imports its client. Listing and signing, downloading, submitting."""
