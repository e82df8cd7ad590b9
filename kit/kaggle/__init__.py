"""Kaggle: listing and signing, downloading, submitting. The only package that imports Kaggle's client."""
