"""Files written atomically, and their digests (for weights that a network loads, or what a tracker keeps)."""

from kit.files import atomic, read_json, sha256, write_bytes, write_json

__all__ = ["atomic", "read_json", "sha256", "write_bytes", "write_json"]
