"""Files written atomically, their digests (for weights that a network loads, or what a tracker keeps), and folders."""

from kit.files import atomic, open_plain, read_json, refuse_links, sha256, write_bytes, write_json
from kit.paths import walk

__all__ = ["atomic", "open_plain", "read_json", "refuse_links", "sha256", "walk", "write_bytes", "write_json"]
