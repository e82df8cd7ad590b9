"""Zip archives: every member is looked at before a byte is written, then unpacked one by one, resumably."""

import hashlib
import os
import re
import shutil
import stat
import struct
import unicodedata
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from kit.console import Console, size
from kit.errors import DISK, KitError

CHUNK = 1 << 20
BLOCK = 4096  # what a small file takes at least on the disk
# Images hardly shrink and tables by tens; only a bomb grows by more than this.
MAX_RATIO, RATIO_FLOOR = 100, 100_000_000
KINDS = (0, stat.S_IFREG, stat.S_IFDIR)  # 0: made by a tool that keeps no unix mode
# What zipfile and the decompressors raise over damaged input.
DAMAGE = (zipfile.BadZipFile, zlib.error, struct.error, EOFError, ValueError, IndexError, OSError)


@dataclass(frozen=True)
class Member:
    """One file of an archive, `name` being its checked relative path with `/`."""

    name: str
    info: zipfile.ZipInfo


class Archive:
    """A zip archive that is safe to unpack. A context manager; opening it checks everything but the contents.

    Args:
        path: the archive.

    Raises:
        KitError: not a zip, cut short, encrypted, or a member that a harmless archive doesn't have.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        if not path.is_file():
            raise KitError(f"no archive at {path}: give the file that the browser saved")
        try:
            self.zip = zipfile.ZipFile(path)
        except PermissionError as error:
            raise KitError(f"{path} can't be read ({error.strerror}): mend its permissions", DISK) from None
        except (*DAMAGE, NotImplementedError):
            with path.open("rb") as file:
                begins_as_zip = file.read(4) == b"PK\x03\x04"
            what = "is cut short or damaged" if begins_as_zip else "is not a zip archive"
            raise KitError(f"{path} {what}: fetch it again in the browser") from None
        try:
            self.members = _checked(path, self.zip.infolist())
        except KitError:
            self.zip.close()
            raise

    def __enter__(self) -> "Archive":
        return self

    def __exit__(self, *_: object) -> None:
        self.zip.close()

    @property
    def digest(self) -> str:
        """What tells this content from any other: a digest over names, sizes and checksums of all members."""
        lines = sorted(f"{member.name} {member.info.file_size} {member.info.CRC}\n" for member in self.members)
        return hashlib.sha256("".join(lines).encode()).hexdigest()

    def unpack(self, root: Path, console: Console) -> tuple[int, int]:
        """Write every member that is not whole in `root` already, each to `root/.kit/part` first and then renamed.

        Members are not fsynced one by one (it takes three times as long, on a hard disk far more); one sync
        stands at the end instead, and after a power cut the checksums show what was lost.

        Returns:
            How many files were written, and how many were there already.
        """
        part = root / ".kit" / "part"
        written = 0
        folders: set[Path] = set()
        try:
            with console.progress("unpack", sum(m.info.file_size for m in self.members), "bytes") as progress:
                for member in self.members:
                    path = root / member.name
                    if not matches(path, member.info):
                        if path.parent not in folders:
                            make_folder(root, path.parent)
                            folders.add(path.parent)
                        self._write(member, part, path)
                        written += 1
                    progress.advance(member.info.file_size)
        finally:
            part.unlink(missing_ok=True)
        os.sync()
        return written, len(self.members) - written

    def _write(self, member: Member, part: Path, path: Path) -> None:
        try:
            with part.open("wb") as file:
                for chunk in self._read(member):
                    file.write(chunk)
            os.replace(part, path)
        except OSError as error:
            message = f"{path} can't be written ({error.strerror}): mend that, then the same command goes on"
            raise KitError(message, DISK) from None

    def _read(self, member: Member) -> Iterator[bytes]:
        """A member's bytes; zipfile holds the checksum against them at the end."""
        try:
            with self.zip.open(member.info) as file:
                while chunk := file.read(CHUNK):
                    yield chunk
        except NotImplementedError as error:
            raise KitError(f"{self.path}: {member.name}: {error}: unpack and zip it anew with plain deflate") from None
        except DAMAGE as error:
            raise KitError(
                f"{self.path}: {member.name} is damaged ({error or type(error).__name__}): "
                "fetch the archive again in the browser, then the same command goes on"
            ) from None


def matches(path: Path, info: zipfile.ZipInfo) -> bool:
    """Whether a file is there with the size and the checksum of an archive's member."""
    if length(path) != info.file_size:
        return False
    crc = 0
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            crc = zlib.crc32(chunk, crc)
    return crc == info.CRC


def safe_name(name: str) -> str | None:
    """A member's name as a relative path that stays below the folder it is unpacked into; None for any other."""
    if "\\" in name or name.startswith("/") or re.match(r"[A-Za-z]:", name) or not name.isprintable():
        return None
    parts = PurePosixPath(name).parts
    if not parts or ".." in parts or any(len(part.encode()) > 255 for part in parts):
        return None
    # `.kit` is where kit notes what the data is; on some disks upper and lower case are the same.
    return None if parts[0].casefold() == ".kit" else "/".join(parts)


def need_space(root: Path, sizes: list[int], freed: int = 0) -> None:
    """Refuse (`KitError`, code 5) when files of these sizes (bytes) don't fit beside `root`; `freed` will be gone."""
    there = next(folder for folder in (root.absolute(), *root.absolute().parents) if folder.exists())
    needed = sum(-(-count // BLOCK) * BLOCK for count in sizes)
    free = shutil.disk_usage(there).free + freed
    if needed > free:
        raise KitError(
            f"{size(needed)} are needed in {root}, {size(free)} are free: free {size(needed - free)} more, "
            "or set KIT_DATA to a folder on a larger disk",
            DISK,
        )


def _checked(path: Path, infos: list[zipfile.ZipInfo]) -> list[Member]:
    """The files among the members, after all that speaks against unpacking them was looked for."""
    members: dict[str, Member] = {}
    for info in infos:
        # zipfile cuts a name at a NUL byte; the original shows it.
        name = safe_name(info.orig_filename)
        if name is None:
            raise _refused(path, info, "its name leads out of the folder or is no plain path")
        if stat.S_IFMT(info.external_attr >> 16) not in KINDS:
            raise _refused(path, info, "it is a link or a device, not a file")
        if info.flag_bits & 0x1:
            raise KitError(f"{path}: {name} is encrypted: kit takes archives without a password")
        if info.is_dir():
            continue
        # Names that differ by case alone overwrite each other on some disks: the result must not depend on the disk.
        key = unicodedata.normalize("NFC", name).casefold()
        if key in members:
            raise _refused(path, info, f"its name stands there twice (also as {members[key].name!r})")
        members[key] = Member(name, info)
    if not members:
        raise KitError(f"{path} holds no files: fetch it again in the browser")
    for key, member in members.items():
        if any(str(parent) in members for parent in PurePosixPath(key).parents):
            raise _refused(path, member.info, "another member has the name of its folder")
    _refuse_bomb(path, list(members.values()))
    return list(members.values())


def _refuse_bomb(path: Path, members: list[Member]) -> None:
    packed, total = path.stat().st_size, sum(member.info.file_size for member in members)
    if sum(member.info.compress_size for member in members) > packed:
        raise KitError(f"{path} holds members that overlap, so it is damaged or a zip bomb: fetch it again")
    if total > max(RATIO_FLOOR, MAX_RATIO * packed):
        raise KitError(f"{path} would grow from {size(packed)} to {size(total)}, like a zip bomb: fetch it again")


def _refused(path: Path, info: zipfile.ZipInfo, why: str) -> KitError:
    return KitError(f"{path} is not unpacked: {info.orig_filename!r}: {why}: fetch the archive from its own page")


def length(path: Path) -> int:
    """The size of a regular file in bytes; -1 for anything else."""
    try:
        status = path.lstat()
    except OSError:
        return -1
    return status.st_size if stat.S_ISREG(status.st_mode) else -1


def make_folder(root: Path, folder: Path) -> None:
    """Make a folder below `root`; one that is a link is a `KitError`, since it could lead anywhere."""
    for parent in (folder, *folder.parents):
        if parent == root:
            break
        if parent.is_symlink():
            raise KitError(f"{parent} is a link, and kit writes into real folders only: link {root} as a whole instead")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise KitError(f"{folder} can't be made ({error.strerror}): mend that and start again", DISK) from None
