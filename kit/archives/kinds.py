"""What a file given as an archive is, by its first bytes: what kit unpacks, and the name of what it does not."""

import contextlib
import json
import re
import shlex
import struct
import tarfile
from pathlib import Path, PurePath
from typing import NamedTuple

from kit.errors import KitError

HEAD = 1 << 12
TAIL = 22 + (1 << 16) + 20  # zip's end record, the longest comment behind it, and the locator before it
TAR_BLOCK = 512
PACKED_TARS = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ\0")  # gzip, bzip2, xz
SEVEN_ZIP = b"7z\xbc\xaf\x27\x1c"
ZIP, ZIP_PART = b"PK\x03\x04", b"PK\x07\x08"
UNFINISHED = (".crdownload", ".part", ".partial", ".download", ".opdownload")
TAR_NAME = re.compile(r"\.(tar\.\w+|tgz|tbz2?|txz)$", re.IGNORECASE)
PART = re.compile(
    r"(?P<whole>.+\.(?:zip|7z|tar|gz|tgz|bz2|xz))\.?(?:\d{2,3}|part[-_]?[a-z0-9]{1,3}|a[a-z])",
    re.IGNORECASE | re.DOTALL,
)


class DamagedArchive(KitError):
    """The content is damaged, cut short or not an archive at all: fetching it again can help."""


class Foreign(NamedTuple):
    """A kind of file that kit does not unpack: how it begins, its name, what mends it, and whether fetching it does."""

    begins: re.Pattern[bytes]
    what: str
    mend: str
    again: bool = False


def _foreign(begins: bytes, what: str, mend: str, again: bool = False) -> Foreign:
    return Foreign(re.compile(begins, re.DOTALL | re.IGNORECASE), what, mend, again)


UNKNOWN = "which kit does not unpack"
AGAIN = "give its files as a zip (zip -r data.zip FOLDER)"
PAGE = "sign in and accept the rules on the competition's page, then fetch the archive itself in the browser"
# Neither archives nor tables, whatever their names say.
STRANGERS = (
    _foreign(rb"version https://git-lfs", "is a pointer of Git LFS, not the file itself", "git lfs pull fetches it"),
    _foreign(rb"(\xef\xbb\xbf)?\s*<(!doctype|html|head|body|\?xml|!--)", "is a web page, no archive", PAGE, True),
)
OTHERS = (
    *STRANGERS,
    _foreign(rb"Rar!\x1a\x07", f"is a rar archive, {UNKNOWN}", f"unrar x unpacks it: {AGAIN}"),
    _foreign(rb"\x28\xb5\x2f\xfd", f"is packed with zstd, {UNKNOWN}", f"unzstd unpacks it: {AGAIN}"),
    _foreign(rb"\x1f[\x9d\xa0]|\x04\x22\x4d\x18|LZIP|ISc\(|MSCF", f"is an archive {UNKNOWN}", AGAIN),
    _foreign(rb"%PDF", "is a PDF, no archive", PAGE, True),
    _foreign(rb"\xff\xd8\xff|\x89PNG|II\*\0|MM\0\*", "is an image, no archive", "give the archive that holds it"),
)


def begins_as_tar(head: bytes) -> bool:
    """Return whether bytes begin with the header of a tar, whose checksum is right, or are the end of an empty one."""
    if len(head) < TAR_BLOCK:
        return False
    block = head[:TAR_BLOCK]
    try:
        return not block.strip(b"\0") or bool(tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape"))
    except tarfile.HeaderError:
        return False


def refuse_strangers(path: Path, label: str, head: bytes) -> None:
    """Raise `KitError` for what is saved in place of a file: nothing at all, a web page, a pointer of Git LFS."""
    if not head:
        beside = [each for end in UNFINISHED if (each := path.with_name(path.name + end)).exists()]
        where = f": {beside[0].name} beside it shows that its download is not finished" if beside else ""
        raise DamagedArchive(f"{label} is empty{where}: fetch it again in the browser")
    for kind in STRANGERS:
        if kind.begins.match(head):
            raise _named(kind, label)


def not_taken(path: Path, label: str) -> KitError:
    """Return the error for a file that could not be opened as an archive: what it is, and what mends it."""
    head, tail = _ends(path)
    parts = _parts(tail)
    if parts > 1 or head.startswith(ZIP_PART) or re.fullmatch(r"\.z\d\d", path.suffix, re.IGNORECASE):
        return _split_zip(label, parts)
    for kind in OTHERS:
        if kind.begins.match(head):
            return _named(kind, label)
    is_tar = TAR_NAME.search(label) and head.startswith(PACKED_TARS)
    if is_tar or path.suffix.lower() in UNFINISHED or PART.fullmatch(label) or head.startswith((ZIP, SEVEN_ZIP)):
        return cut_short(label)
    if head.startswith(PACKED_TARS):
        return KitError(
            f"{label} is one packed file, no archive of files: unpack it (gunzip, bunzip2 or unxz) and give that"
        )
    said = _answer(head)
    if said is not None:
        return DamagedArchive(f"{label} is the answer of a server, no archive ({said}): {PAGE}")
    return DamagedArchive(f"{label} is not a zip, tar or 7z archive: fetch it again in the browser")


def cut_short(label: str, why: str = "") -> KitError:
    """Return the error for an archive without its end: a download that still runs, a part of a split one, or damage."""
    if PurePath(label).suffix.lower() in UNFINISHED:
        return DamagedArchive(
            f"{label} is a download that is not finished: let the browser finish it, then give that file"
        )
    found = PART.fullmatch(label)
    if found is not None:
        whole = shlex.quote(found["whole"])
        return KitError(
            f"{label} is one part of a split archive: join them with cat {whole}.* > {whole}, then give {whole}"
        )
    shown = f" ({why[:200]})" if why else ""
    return DamagedArchive(f"{label} is cut short or damaged{shown}: fetch it again in the browser")


def _named(kind: Foreign, label: str) -> KitError:
    return (DamagedArchive if kind.again else KitError)(f"{label} {kind.what}: {kind.mend}")


def _ends(path: Path) -> tuple[bytes, bytes]:
    with path.open("rb") as file:
        head = file.read(HEAD)
        file.seek(max(0, path.stat().st_size - TAIL))
        return head, file.read(TAIL)


def _parts(tail: bytes) -> int:
    """Return of how many files a zip is the last one, by its end record; 1 if it is whole or has none."""
    at = tail.rfind(b"PK\5\6")
    if at < 0 or at + 22 > len(tail):
        return 1
    (disk,) = struct.unpack_from("<H", tail, at + 4)
    locator = at - 20
    if disk == 0xFFFF and locator >= 0 and tail[locator : locator + 4] == b"PK\6\7":
        return max(1, *struct.unpack_from("<I", tail, locator + 16))
    return int(disk) + 1


def _split_zip(label: str, parts: int) -> KitError:
    stem = label.rpartition(".")[0] or label
    first, last = f"{stem}.z01", f"{stem}.zip"
    of = f" of {parts} parts" if parts > 1 else ""
    joined = f"{stem}-joined.zip"
    return KitError(
        f"{label} is a part of a split zip{of}: with all parts in one folder ({first} to {last}), join them with "
        f"zip -s 0 {shlex.quote(last)} --out {shlex.quote(joined)}, then give {joined}"
    )


def _answer(head: bytes) -> str | None:
    """Return the beginning of what a server says as JSON; None if it is something else."""
    if not head.lstrip().startswith(b"{") or b"\0" in head:
        return None
    text = head.decode(errors="replace").strip()
    with contextlib.suppress(ValueError, RecursionError):  # cut short: its beginning says what it is
        said = json.loads(text)
        text = str(said.get("message") or said.get("error") or text)
    return " ".join(text.split())[:100]
