"""Checks of a dataset's miniature."""

import os
import random
import shutil
import signal
import time
from contextlib import suppress
from pathlib import Path

import numpy as np

from kit.console import Console
from kit.data.check import check_data
from kit.testing import watch
from kit.testing.check import check, need, suppose
from kit.testing.data import draw, index_of, miniature_of, variant_of
from kit.testing.subject import Subject

ENOUGH, GLANCE = 20, 2.5  # files that are compared, seconds in which they are drawn
PATIENCE = 15.0  # seconds for files that are written late
CUT = 3  # exit status of a process that stopped drawing
FILES, BYTES, SECONDS = 20_000, 500_000_000, 30.0


@check("miniature/exists", "write miniature(folder, seed): every trial and test begins with it", "advice")
def exists(subject: Subject) -> None:
    """The dataset draws a miniature."""
    base = variant_of(subject, subject.spec)
    suppose(base is None, f"it reads the data of {base.name if base else ''} in another way")
    need(subject.spec.miniature is not None, f"dataset {subject.name} has no miniature")


@check("miniature/draws", "correct it: (empty folder, seed) -> None")
def draws(subject: Subject) -> str:
    """It draws files into the folder that it is given."""
    _there(subject)
    if not _root(subject).with_suffix(".done").exists():
        shutil.rmtree(_root(subject), ignore_errors=True)
        subject.kept["glances"] = {seed: _begin(subject, seed) for seed in (0, 1)}
        written, before = len(watch.written), time.process_time()
        state = _state()
        draw(subject.spec, _root(subject), 0)
        subject.kept["seconds"] = time.process_time() - before
        subject.kept["outside"] = [path for path in watch.written[written:] if not _is_own(subject, path)]
        subject.kept["moved"] = state != _state()
        _root(subject).with_suffix(".done").touch()
    files = _files(miniature_of(subject, subject.spec))
    need(files, "it draws no file")
    return f"{len(files)} files in {subject.kept.get('seconds', 0):.1f} s"


@check("miniature/inside", "write into the folder that it is given alone: root / 'train.csv', not 'train.csv'")
def inside(subject: Subject) -> None:
    """It writes nowhere but into its folder."""
    _drawn(subject)
    outside = subject.kept.get("outside", [])
    need(not outside, f"it writes {', '.join(outside[:2])}, which is outside its folder")


@check("miniature/small", "draw fewer or smaller images: some hundred are enough")
def small(subject: Subject) -> str:
    """It has fewer than 20,000 files and 500 MB."""
    files = _files(_drawn(subject))
    size = sum(path.stat().st_size for path in files)
    need(len(files) < FILES and size < BYTES, f"it draws {len(files):,} files of {size / 1e6:,.0f} MB")
    return f"{size / 1e6:.1f} MB"


@check("miniature/quick", "draw fewer or smaller images: everyone waits for it", "advice")
def quick(subject: Subject) -> None:
    """It is drawn in less than 30 s."""
    _drawn(subject)
    seconds = subject.kept.get("seconds", 0.0)
    need(seconds < SECONDS, f"it takes {seconds:.0f} s")


@check("miniature/same-seed-same-bytes", "draw from numpy.random.default_rng(seed) alone, and write no time or name")
def same_seed(subject: Subject) -> None:
    """The same seed writes the same bytes."""
    first, again = _drawn(subject), _glance(subject, 0)
    differs = [name for name, content in again.items() if (first / name).read_bytes() != content]
    need(not differs, f"for the same seed it writes another {differs[0] if differs else ''}")


@check("miniature/other-seed-other-bytes", "draw from numpy.random.default_rng(seed)")
def other_seed(subject: Subject) -> None:
    """Another seed writes other bytes."""
    first, other = _drawn(subject), _glance(subject, 1)
    same = all((first / name).is_file() and (first / name).read_bytes() == content for name, content in other.items())
    need(not same, "for another seed it writes the same bytes: it ignores its seed")


@check("miniature/leaves-random-state", "draw from numpy.random.default_rng(seed), not from numpy.random or random")
def leaves_random(subject: Subject) -> None:
    """It leaves the random numbers of the process as they are."""
    _drawn(subject)
    need(not subject.kept.get("moved"), "it changes the process-wide random state")


@check("miniature/passes-check", "draw what kit check takes for good data")
def passes_check(subject: Subject) -> None:
    """`kit check` finds nothing wrong with it."""
    _drawn(subject)
    index = index_of(subject, subject.spec)
    report = check_data(subject.spec, index, Console(silent=True))
    wrong = [f"{each.name}: {each.result} ({', '.join(each.offenders[:1])})" for each in report.checks if not each.ok]
    need(not wrong, "; ".join(wrong[:2]))


def _there(subject: Subject) -> None:
    suppose(subject.spec.miniature is not None, f"dataset {subject.name} has no miniature")


def _root(subject: Subject) -> Path:
    return subject.folder / f"miniature-{subject.plugin.name}-{subject.spec.name}"


def _drawn(subject: Subject) -> Path:
    _there(subject)
    return miniature_of(subject, subject.spec)


def _is_own(subject: Subject, path: str) -> bool:
    return Path(path).is_relative_to(_root(subject).resolve()) or Path(path).is_relative_to(_root(subject))


def _state() -> tuple[object, ...]:
    kind, keys, *rest = np.random.get_state()
    return (kind, np.asarray(keys).tobytes(), *rest, random.getstate())


def _files(root: Path) -> list[Path]:
    return [path for path in sorted(root.rglob("*")) if path.is_file()]


def _begin(subject: Subject, seed: int) -> int:
    """Draw again in a process of its own, for as long as it takes to compare some files; return the process.

    A miniature of a thousand images takes ten seconds: its first two tell as much.
    """
    root = subject.folder / f"glance-{seed}"
    shutil.rmtree(root, ignore_errors=True)
    child = os.fork()
    if child == 0:
        began = time.monotonic()

        def enough(*_: object) -> None:
            if len(_files(root)) > ENOUGH or time.monotonic() - began > PATIENCE:
                os._exit(CUT)

        signal.signal(signal.SIGALRM, enough)
        signal.setitimer(signal.ITIMER_REAL, GLANCE, GLANCE)
        with suppress(BaseException):
            draw(subject.spec, root, seed)
        os._exit(0)
    return child


def _glance(subject: Subject, seed: int) -> dict[str, bytes]:
    """Return the files that are whole of what was drawn again."""
    child = subject.kept.get("glances", {}).pop(seed, None) or _begin(subject, seed)
    cut = os.waitpid(child, 0)[1] != 0
    root = subject.folder / f"glance-{seed}"
    files = sorted(_files(root), key=lambda path: path.stat().st_mtime_ns)
    whole = files[:-2] if cut else files  # those at the end may be half-written
    found = {path.relative_to(root).as_posix(): path.read_bytes() for path in whole}
    shutil.rmtree(root, ignore_errors=True)
    suppose(found, "it writes its files too late to compare some")
    return found
