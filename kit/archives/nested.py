"""Archives within archives: plan all files that come out, check the plan as a whole, then write them.

Several archives may be given. One whose files are in no folder goes into a folder of its own name, so that images of
different archives don't mix; a single file stays as it is.

Inner archives stay in `root/.kit/nested` until their files are written. Where these go, for `D/X.zip`:

    one file named X            D/X               train.csv.zip
    all files below X/          D/X/...           train.zip with train/1.png
    anything else               D/X/<its name>    train.zip with 1.png
"""

import hashlib
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from kit.archives.archive import (
    MOST_MEMBERS,
    Archive,
    Member,
    PlainFile,
    Target,
    need_space,
    refuse_bomb,
    refuse_doubled,
    refuse_no_file,
    refused,
    safe_name,
    too_many,
)
from kit.archives.kinds import HEAD, SEVEN_ZIP, ZIP, refuse_strangers
from kit.archives.part import length, make_folder
from kit.archives.sevenzip import SevenZip
from kit.archives.tar import Tar, is_tar
from kit.console import Console
from kit.errors import KitError
from kit.paths import OWN

INNER = re.compile(r"(.*[^/])\.(zip|7z|tar|tgz|tbz2?|txz|tar\.(gz|bz2|xz))", re.IGNORECASE | re.DOTALL)
DEEP = 3
MANY = 200  # all of them are open at once


class Planned(NamedTuple):
    """One file to write: its final name below the root, and where its bytes are."""

    name: str
    archive: Archive
    member: Member


def is_archive(name: str) -> bool:
    """Return whether a member is an archive, to be unpacked too."""
    return INNER.fullmatch(name) is not None


def open_archive(path: Path, label: str = "") -> Archive:
    """Open an archive, 7z, tar or else zip by its first bytes, or a csv as it is. Raises what `Archive` raises."""
    refuse_no_file(path)
    with path.open("rb") as file:
        head = file.read(HEAD)
    refuse_strangers(path, label or str(path), head)
    if head.startswith(SEVEN_ZIP):
        return SevenZip(path, label)
    if is_tar(path):
        return Tar(path, label)
    # Kaggle sends a large csv zipped, and browsers save it under the csv's name.
    is_table = path.suffix.lower() == ".csv" and not head.startswith(ZIP)
    return (PlainFile if is_table else Archive)(path, label)


def digest_of(archives: Sequence[Archive]) -> str:
    """Return a digest that identifies the content of these archives, in any order."""
    digests = sorted(archive.digest for archive in archives)
    return digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()


def own_folder(archive: Archive, archives: Sequence[Archive]) -> str:
    """Return the folder, with `/`, for one of several archives; empty if it gets none of its own."""
    flat = len(archive.members) > 1 and not any("/" in member.name for member in archive.members)
    found = INNER.fullmatch(archive.path.name)
    return f"{found[1] if found else archive.path.name}/" if flat and len(archives) > 1 else ""


class Plan:
    """All files that come out of archives and of the archives in them; a context manager.

    Creating it writes the inner archives to `root/.kit/nested`, and nothing else.

    Args:
        outers: the open archives.
        root: where the files go.
        console: shows the progress.
        names: of the outers, relative to a folder in which they lie like archives in an archive; by default they are
            the data's own, and their files go to `root` itself.
        looks: only some of the files will be written, so that there need be no space for all.

    Raises:
        DamagedArchive: an inner archive is damaged.
        KitError: an inner archive is unsafe, alone or together with the others, or space is short.
    """

    def __init__(
        self,
        outers: Sequence[Archive],
        root: Path,
        console: Console,
        names: Sequence[str] | None = None,
        looks: bool = False,
    ) -> None:
        self.outers, self.root, self.console, self.looks = outers, root, console, looks
        self.label = ", ".join(archive.label for archive in outers)
        self.folder = root / OWN / "nested"
        self.archives = list(outers)
        self.numbered = self.total = self.count = 0
        try:
            found = [self._expand(outer, 0) for outer in outers]
            if names is None:
                placed = [
                    [file._replace(name=own_folder(outer, outers) + file.name) for file in files]
                    for outer, files in zip(outers, found, strict=True)
                ]
            else:
                placed = [_placed(name, files) for name, files in zip(names, found, strict=True)]
            self.files = [file for files in placed for file in files]
            if len(self.archives) > 1 or names is not None:
                # Each archive has checked its own names; together, and where they go, they are new.
                for name, archive, member in self.files:
                    if safe_name(name) != name:
                        raise refused(archive.label, member.name, f"it would go to {name!r}")
                refuse_doubled(self.label, (file.name for file in self.files))
        except BaseException as error:
            self.__exit__(type(error), error, None)
            raise

    def __enter__(self) -> "Plan":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        for archive in self.archives[len(self.outers) :]:
            archive.file.close()
        # After a kill or Ctrl-C the next call resumes with them; what was refused must not stay.
        if isinstance(error, KitError):
            discard_nested(self.root)

    def write(self) -> tuple[int, int]:
        """Write every file that is not complete yet, and remove each inner archive once its files are written.

        Returns:
            The number of files written, and of those that were complete already.
        """
        targets: dict[int, list[Target]] = {id(archive): [] for archive in self.archives}
        for name, archive, member in self.files:
            targets[id(archive)].append((member, f"{self.root}/{name}"))
        written = 0
        with self.console.progress("unpacking", sum(file.member.size for file in self.files), "bytes") as progress:
            for archive in self.archives:
                written += archive.write(targets[id(archive)], self.root, progress.advance)
                if archive not in self.outers:
                    archive.file.close()
                    archive.path.unlink()
        discard_nested(self.root)
        return written, len(self.files) - written

    def _expand(self, archive: Archive, depth: int) -> list[Planned]:
        """Return the files of an archive and of those in it, named relative to where the archive's own files go."""
        self.count += len(archive.members)
        if self.count > MOST_MEMBERS:
            raise too_many(self.label)
        self.total += sum(member.size for member in archive.members)
        refuse_bomb(self.label, sum(outer.path.stat().st_size for outer in self.outers), self.total)
        files = [Planned(member.name, archive, member) for member in archive.members if not is_archive(member.name)]
        inner = [member for member in archive.members if is_archive(member.name)]
        if inner and depth == DEEP:
            raise KitError(
                f"{archive.label}: {inner[0].name} is nested more than {DEEP} archives deep: "
                f"unpack {self.label} by hand and zip its files as they are"
            )
        for member, path in self._write_inner(archive, inner, files if depth == 0 else []):
            opened = open_archive(Path(path), f"{archive.label}: {member.name}")
            self.archives.append(opened)
            files += _placed(member.name, self._expand(opened, depth + 1))
        return files

    def _write_inner(self, archive: Archive, inner: list[Member], files: list[Planned]) -> list[Target]:
        """Write inner archives to their folder; check that there is space for `files` too."""
        if self.numbered + len(inner) > MANY:
            raise KitError(f"{self.label} holds more than {MANY} archives: unpack them by hand and zip the files")
        targets = [(member, f"{self.folder}/{self.numbered + at}") for at, member in enumerate(inner)]
        self.numbered += len(inner)
        wanted = [*targets, *((file.member, f"{self.root}/{file.name}") for file in files)]
        wanted = targets if self.looks else wanted
        need_space(self.root, [member.size for member, path in wanted if length(path) != member.size])
        if targets:
            make_folder(self.root, self.folder)
            with self.console.progress("inner archives", sum(member.size for member in inner), "bytes") as progress:
                archive.write(targets, self.root, progress.advance)
        return targets


def new_files(planned: dict[str, Planned], there: set[str]) -> dict[str, Planned]:
    """Return what comes out of archives in a folder and is not there already, in its place or beside the archive.

    Args:
        planned: the files by name.
        there: names of the files in the folder, the archives among them.
    """
    return {name: file for name, file in planned.items() if not (name in there or name.partition("/")[2] in there)}


def discard_nested(root: Path) -> None:
    """Remove the inner archives that an earlier call left."""
    shutil.rmtree(root / OWN / "nested", ignore_errors=True)


def _placed(archive: str, files: list[Planned]) -> list[Planned]:
    """Return the files of an inner archive, named relative to the folder of the archive."""
    found = INNER.fullmatch(archive)
    stem = found[1] if found else archive
    folder, slash, last = stem.rpartition("/")
    has_own_name = [file.name for file in files] == [last] or all(file.name.startswith(f"{last}/") for file in files)
    before = folder + slash if has_own_name else f"{stem}/"
    return [file._replace(name=before + file.name) for file in files]
