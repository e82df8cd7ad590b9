"""Files written atomically, and their digests (for weights that a network loads, or what a tracker keeps)."""

from kit.files import atomic, open_plain, read_json, refuse_links, sha256, write_bytes, write_json

__all__ = ["atomic", "open_plain", "read_json", "refuse_links", "sha256", "write_bytes", "write_json"]
