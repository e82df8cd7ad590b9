"""Rounds of the kill tests: a folder is prepared, a command dies in it, is run again, and the folder is compared.

`state` is what counts of a folder: every file byte for byte, without what tells only when it was written. The name of a
new run becomes NEW0, NEW1 ..., times in JSON and in histories go, and a digest of a file in the folder becomes the
file's name, so that wrong digests are found as differences.
"""

import csv
import hashlib
import io
import json
import re
import shutil
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from helpers.kill_server import Ended, KillServer

TIMES = re.compile(
    r"created|at|started|finished|command|sources|sha256|(.*_)?(seconds|minutes|time)|seconds|.*/s|grown"
)
# The words of a command in a message end where its prose begins.
PROSE = "(?:completes?|makes?|writes?|recreates|trains|replaces|lists|shows|provides|again|names|resumes?|and|or|if)"
COMMAND = re.compile(rf"kit ([a-z]+(?:-[a-z]+)*(?: (?!{PROSE}\b)[^\s,;:()]+)*)")
T = "--folds 2 --epochs 1 --size 16 --model small_cnn --batch-size 8 --set rotate=0"
HISTO = "data/histopathologic-cancer-detection"
TRUTH = f"{HISTO}/.kit/sample_test_labels.csv"

# Each state of the folder: the one it is made from, and the commands that make it. RUN0 is its oldest run.
STATES: dict[str, tuple[str | None, tuple[str, ...]]] = {
    "empty": (None, ()),
    "tiny": ("empty", ("download tiny --miniature",)),
    "histo": ("empty", ("download histo --miniature",)),
    "folded": ("histo", ("folds histo --folds 2",)),
    "packed": ("folded", ("pack histo --size 16 --workers 1",)),
    "trained": ("packed", (f"train histo {T}",)),
    "predicted": ("trained", ("predict RUN0",)),
    "submitted": ("predicted", ("submit RUN0 --dry-run",)),
    "two": ("predicted", (f"train histo {T} --seed 1", "predict RUN1")),
    "labelled": ("tiny", ("train tiny", "predict RUN0")),
    "tuned": ("labelled", ("thresholds RUN0 --method half",)),
    "sides": ("tiny", tuple(f"train tiny --set only=side={side}" for side in ("left", "right"))),
    "joinable": ("sides", ("predict RUN0", "predict RUN1")),
    "split": ("tiny", ("split-files data/tiny/train splits --splits 3 --zip --lists",)),
}


@dataclass(frozen=True)
class Case:
    """A command that writes: the state it starts from, and whether a run that it began is resumed."""

    name: str
    state: str
    words: str
    resumes: bool = False


CASES = (
    Case("miniature", "empty", "download histo --miniature"),
    Case("miniature-forced", "tiny", "download tiny --miniature --seed 3 --force"),
    Case("archive", "empty", "download tiny --from ../tiny.zip"),
    Case("archive-forced", "tiny", "download tiny --force --from ../tiny.zip"),
    Case("folds", "histo", "folds histo --folds 2"),
    Case("folds-again", "folded", "folds histo --folds 2 --seed 5"),
    Case("pack", "histo", "pack histo --size 16 --workers 1"),
    Case("pack-verify", "packed", "pack histo --size 16 --workers 1 --verify"),
    Case("train", "packed", f"train histo {T}", resumes=True),
    Case("train-first", "tiny", "train tiny", resumes=True),
    Case("resume", "trained", "train --resume RUN0"),
    Case("predict", "trained", "predict RUN0"),
    Case("predict-again", "submitted", "predict RUN0 --tta 2"),
    Case("thresholds", "labelled", "thresholds RUN0 --method one"),
    Case("thresholds-again", "tuned", "thresholds RUN0 --method one"),
    Case("submit", "predicted", "submit RUN0 --dry-run"),
    Case("submit-again", "submitted", "submit RUN0 --dry-run"),
    Case("grade", "submitted", f"grade histo --run RUN0 --truth {TRUTH}"),
    Case("blend", "two", "blend RUN0 RUN1"),
    Case("join", "joinable", "join RUN0 RUN1"),
    Case("pseudo-label", "labelled", "pseudo-label RUN0 --min-confidence 0 --out labels.csv"),
    Case("report", "trained", "report RUN0"),
    Case("gradcam", "trained", "gradcam RUN0 --worst 2"),
    Case("explore", "histo", "explore histo"),
    Case("split", "tiny", "split-files data/tiny/train splits --splits 3 --zip --lists"),
    Case("merge", "split", "merge-files splits merged"),
)


class Rounds:
    """Prepares folders, each once, and plays rounds in a copy of them at one place."""

    def __init__(self, server: KillServer, store: Path) -> None:
        self.server, self.folder, self.store = server, server.folder, store
        self.whole: dict[str, tuple[int, dict[str, bytes]]] = {}
        self.known: set[str] = set()

    def runs(self) -> list[str]:
        """The runs of the folder that kit would list, oldest first."""
        found = (path.parent for path in self.folder.glob("runs/[!.]*/run.json"))
        return [path.name for path in sorted(found, key=lambda path: (path.name not in self.known, path.name))]

    def run(self, words: str, moment: int = 0, half: bool = True) -> Ended:
        for number, name in enumerate(self.runs()):
            words = words.replace(f"RUN{number}", name)
        return self.server.run(*words.split(), moment=moment, half=half)

    def done(self, words: str) -> Ended:
        ended = self.run(words)
        assert ended.code == 0, f"kit {words}: {ended.code}\n{ended.err}"
        return ended

    def put(self, state: str) -> None:
        """Bring the folder into a state, which is made at its first use."""
        kept = self.store / state
        if not kept.exists():
            base, commands = STATES[state]
            if base is None:
                _clear(self.folder)
            else:
                self.put(base)
            for words in commands:
                self.known = set(self.runs())
                self.done(words)
            shutil.copytree(self.folder, kept, symlinks=True)
        _clear(self.folder)
        shutil.copytree(kept, self.folder, symlinks=True, dirs_exist_ok=True)
        # Names of runs begin with the time, and two of one second are told by their ending.
        self.known = {path.name for path in self.folder.glob("runs/*")}

    def undisturbed(self, case: Case) -> tuple[int, dict[str, bytes]]:
        """How often a command changes the disk when nothing happens, and what it leaves."""
        if case.name not in self.whole:
            self.put(case.state)
            ended = self.done(case.words)
            self.whole[case.name] = ended.moments, self.state()
        return self.whole[case.name]

    def play(self, case: Case, moments: Sequence[int], half: bool) -> None:
        """Let a command die at these moments, one after another, run it again, and compare."""
        _, expected = self.undisturbed(case)
        self.put(case.state)
        ended = self.run(case.words, moments[0], half)
        where = f"{case.name} at {', '.join(map(str, moments))}{', half' if half else ''}"
        if ended.code == 0:
            return  # which moment is which may differ by one, where pauses are measured
        assert ended.code == -signal.SIGKILL, f"{where}: {ended.code}\n{ended.err}"
        listed = self.run("runs --json")
        assert listed.code == 0, f"{where}: kit runs ended with {listed.code}\n{listed.err}"
        for moment in moments[1:]:
            self.run(self.again(case), moment, half)
        words = self.again(case)
        for _ in range(3):
            ended = self.run(words)
            if ended.code == 0:
                break
            assert ended.code in (2, 3, 4, 5), f"{where}, then kit {words}: {ended.code}\n{ended.err}"
            assert len(re.findall("^error: ", ended.err, re.MULTILINE)) == 1, f"{where}: {ended.err}"
            ways = COMMAND.findall(ended.err.split("error: ")[1])
            assert ways, f"{where}, then kit {words} names no command that mends it:\n{ended.err}"
            assert ways[0] != words, f"{where}: kit {words} advises itself:\n{ended.err}"
            mended = self.run(ways[0])
            assert mended.code == 0, f"{where}: kit {ways[0]}, which should mend it: {mended.code}\n{mended.err}"
        assert ended.code == 0, f"{where}, then kit {words} three times: {ended.code}\n{ended.err}"
        wrong = differences(self.state(), expected)
        assert not wrong, "\n  ".join([f"{where}, then kit {words}:", *wrong])

    def again(self, case: Case) -> str:
        """The command that goes on after a kill."""
        begun = [name for name in self.runs() if name not in self.known]
        return f"train --resume {begun[-1]}" if case.resumes and begun else case.words

    def state(self) -> dict[str, bytes]:
        """What the folder holds, of new runs the newest alone: a killed blend is made again under another name."""
        begun = [name for name in self.runs() if name not in self.known]
        unnamed = {path.name for path in self.folder.glob("runs/*") if path.is_dir()} - {*self.known, *begun}
        leave = {*begun[:-1], *unnamed}
        files = [path for path in sorted(self.folder.rglob("*")) if path.is_file() and path.parts[-1] != "log.txt"]
        digests = {hashlib.sha256(path.read_bytes()).hexdigest(): self._name(path) for path in files}
        found = {}
        for path in files:
            parts = path.relative_to(self.folder).parts
            if not parts[-1].endswith("lock") and not (parts[0] == "runs" and parts[1] in leave):
                found[self._name(path)] = self._renamed(_plain(path, digests))
        return found

    def _name(self, path: Path) -> str:
        return self._renamed(path.relative_to(self.folder).as_posix().encode()).decode()

    def _renamed(self, content: bytes) -> bytes:
        begun = [name for name in self.runs() if name not in self.known]
        for name in sorted(begun[-1:], key=len, reverse=True):
            content = content.replace(name.encode(), b"NEW")
        return content


def differences(found: dict[str, bytes], expected: dict[str, bytes]) -> list[str]:
    """Name the files in which two states differ, with the first differing bytes."""
    lines = [f"{name} is missing" for name in expected.keys() - found.keys()]
    lines += [f"{name} is left over" for name in found.keys() - expected.keys()]
    for name in found.keys() & expected.keys():
        a, b = found[name], expected[name]
        if a != b:
            at = next((n for n, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
            lines.append(
                f"{name} differs: {a[max(0, at - 60) : at + 60]!r} instead of {b[max(0, at - 60) : at + 60]!r}"
            )
    return sorted(lines)


def _clear(folder: Path) -> None:
    for path in folder.iterdir():
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()


def _plain(path: Path, digests: dict[str, str]) -> bytes:
    """The bytes of a file, without times."""
    content = path.read_bytes()
    if path.suffix == ".json":
        try:
            return json.dumps(_timeless(json.loads(content), digests), sort_keys=True, indent=1).encode()
        except ValueError:
            return content
    if path.name == "history.csv":
        rows = list(csv.DictReader(io.StringIO(content.decode())))
        return json.dumps([_timeless(row, digests) for row in rows]).encode()
    if path.suffix == ".html":
        return b""  # it shows what report.json holds, times too
    if path.name == "loss.png":
        return b""  # its title has the name of the run
    return content


def _timeless(value: Any, digests: dict[str, str]) -> Any:
    if isinstance(value, dict):
        return {key: _timeless(item, digests) for key, item in value.items() if not TIMES.fullmatch(key)}
    if isinstance(value, list):
        return [_timeless(item, digests) for item in value]
    return f"digest of {digests[value]}" if isinstance(value, str) and value in digests else value
