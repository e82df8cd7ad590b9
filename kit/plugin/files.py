"""Files written atomically, and their digests (for weights that a network loads, or what a tracker keeps)."""

from kit.files import atomic, open_plain, read_json, refuse_links, sha256, write_bytes, write_json
from kit.paths import is_litter

__all__ = ["atomic", "is_litter", "open_plain", "read_json", "refuse_links", "sha256", "write_bytes", "write_json"]
