"""Files that are there whole or not at all, and their digests (weights that a network loads, what a tracker keeps)."""

from kit.files import atomic, read_json, sha256, write_bytes, write_json

__all__ = ["atomic", "read_json", "sha256", "write_bytes", "write_json"]
