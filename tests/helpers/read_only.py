"""Commands where folders are read-only: by bind mounts in a name space of their own, or by permissions."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import pytest

from helpers.no_network import offline_path

# Mounts: the folders read-only; with `all`, everything but the writable one.
SHELL = """
set -e
mount --make-rprivate /
writable=$1; everything=$2; shift 2
mount --bind "$writable" "$writable"
while [ "$1" != -- ]; do mount --bind "$1" "$1"; mount -o remount,bind,ro "$1"; shift; done; shift
if [ "$everything" = all ]; then
    for place in $(awk '{print $2}' /proc/self/mounts); do
        case "$place" in /proc*|/sys*|/dev*|"$writable") continue ;; esac
        mount -o remount,bind,ro "$place" 2>/dev/null || true
    done
fi
cd "$writable"
exec "$@"
"""
# All commands in one process, which imports torch once.
CHILD = """
import contextlib, io, json, os, sys
from pathlib import Path
import kit.paths
kaggle, commands = json.load(sys.stdin)
kit.paths.KAGGLE = Path(kaggle)
from kit.cli.app import main
results, told = [], sys.stdout
for words in commands:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main(words)
            code = 0
        except SystemExit as end:
            code = end.code
    results.append((code, out.getvalue(), err.getvalue()))
print(json.dumps(results), file=told, flush=True)
"""


@cache
def mounting() -> tuple[str, ...] | None:
    """How to get a name space for mounts; None where there is no way."""
    for words in (("unshare", "-m"), ("unshare", "-rm")):
        try:
            if not subprocess.run([*words, "mount", "--make-rprivate", "/"], capture_output=True).returncode:
                return words
        except OSError:
            return None
    return None


def run_commands(
    commands: Sequence[Sequence[object]],
    read_only: Sequence[Path],
    writable: Path,
    kaggle: Path | None = None,
    everything: bool = False,
    **variables: str,
) -> list[tuple[int, str, str]]:
    """Run commands of kit one after another in the folder `writable`; return the status, output and errors of each.

    With `everything`, all of the machine but `writable` is read-only, and there is no network. A variable that is empty
    is not set.
    """
    code = [sys.executable, "-B", "-c", CHILD]
    given = json.dumps([str(kaggle or writable / "none"), commands], default=str)
    environment = {**os.environ, **variables, "PYTHONPATH": offline_path(os.environ.get("PYTHONPATH", ""))}
    environment = {name: value for name, value in environment.items() if value or name not in variables}
    words = mounting()
    with _without_mounts(read_only, everything) if words is None else _nothing():
        if words is not None:
            net = ["-n"] if everything else []
            what = "all" if everything else "some"
            code = [*words, *net, "bash", "-c", SHELL, "bash", str(writable), what, *map(str, read_only), "--", *code]
        done = subprocess.run(code, input=given, capture_output=True, text=True, env=environment, cwd=writable)
    assert not done.returncode, done.stdout + done.stderr
    return [tuple(each) for each in json.loads(done.stdout.splitlines()[-1])]


@contextmanager
def _nothing() -> Iterator[None]:
    yield


@contextmanager
def _without_mounts(folders: Sequence[Path], everything: bool) -> Iterator[None]:
    if everything or os.geteuid() == 0:
        pytest.skip("a read-only machine needs mounts, which this one does not allow")
    found = [path for folder in folders for path in (folder, *folder.rglob("*")) if path.is_dir()]
    for path in found:
        path.chmod(0o555)
    try:
        yield
    finally:
        for path in found:
            path.chmod(0o755)


def tree(folder: Path) -> dict[str, tuple[int, int]]:
    """Size and time of every file below a folder."""
    states = ((path, path.lstat()) for path in folder.rglob("*"))
    return {path.relative_to(folder).as_posix(): (state.st_size, state.st_mtime_ns) for path, state in states}
