"""Every row of the table of bad input ends in one line with the cause and an exit code of 2 to 5, and in no traceback.

The rows are in `helpers.bad_files`, `bad_options` and `bad_tables`; `helpers.bad_input` says how to write one.
"""

import contextlib
import io
import re
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from helpers import bad_files, bad_options, bad_tables
from helpers.bad_input import Place, Row, json_harms, nothing, without
from helpers.kill_server import make_small
from helpers.trees import contents

ROWS = {**bad_files.ROWS, **bad_options.ROWS, **bad_tables.ROWS}
SECONDS = 20
T = "--folds 2 --epochs 1 --size 16 --model small_cnn --batch-size 8 --set rotate=0"


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, dict[str, str]]]:
    """Data of two competitions, folds, packs, three runs; and their names."""
    from kit.cli.app import main

    root = tmp_path_factory.mktemp("bad") / "whole"
    root.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        make_small(patch.setattr)
        for name, value in (("KIT_DATA", root / "data"), ("KIT_RUNS", root / "runs"), ("KIT_PLUGINS", "")):
            patch.setenv(name, str(value))

        def run(words: str) -> None:
            with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):
                main(words.split())

        runs: dict[str, str] = {}
        for words, short in {
            "download histo --miniature": "",
            "download tiny --miniature": "",
            f"train histo {T}": "H0",
            f"train histo {T} --seed 1": "H1",
            "train tiny": "T0",
        }.items():
            run(words)
            for path in root.glob("runs/*"):
                if path.name not in runs.values():
                    runs[short] = path.name
        for short, name in runs.items():
            run(f"predict {name}")
            if short == "T0":
                run(f"thresholds {name} --method one")
            run(f"submit {name} --dry-run")
        assert len(list(root.glob("runs/*/submission.csv"))) == 3
        yield root, runs


@pytest.fixture(scope="module")
def untouched(prepared, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """One copy for all rows that harm nothing: a command that is refused changes nothing."""
    folder = tmp_path_factory.mktemp("untouched")
    shutil.copytree(prepared[0], folder, dirs_exist_ok=True)
    before = contents(folder)
    yield Place(folder, prepared[1], {})
    after = contents(folder)
    changed = {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
    # Folds that a refused training has made are those that any other would make.
    assert {name for name in changed if not name.endswith("lock") and "/.kit/folds" not in name} == set()


@pytest.fixture
def place(prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    root, runs = prepared
    shutil.copytree(root, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return Place(tmp_path, runs, {})


def enter(place: Place, monkeypatch: pytest.MonkeyPatch) -> Place:
    monkeypatch.chdir(place.root)
    for key, value in {"KIT_DATA": "data", "KIT_RUNS": "runs", **place.variables}.items():
        monkeypatch.setenv(
            key, str(place.root / value) if key.startswith("KIT_") and key not in place.variables else value
        )
    return place


@contextlib.contextmanager
def in_time() -> Iterator[None]:
    """Fail, rather than hang, what waits for ever."""

    def late(*_: object) -> None:
        raise AssertionError(f"it takes more than {SECONDS} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("name", [name for name, row in ROWS.items() if row.harm is not nothing])
def test_bad_input(name: str, place: Place, kit: Callable, monkeypatch: pytest.MonkeyPatch):
    ROWS[name].harm(place)
    play(ROWS[name], enter(place, monkeypatch), kit)


@pytest.mark.parametrize("name", [name for name, row in ROWS.items() if row.harm is nothing])
def test_bad_words(name: str, untouched: Place, kit: Callable, monkeypatch: pytest.MonkeyPatch):
    play(ROWS[name], enter(untouched, monkeypatch), kit)


def play(row: Row, place: Place, kit: Callable) -> None:
    with in_time():
        done = kit(*place.words(row.words), "--json", code=row.code)
    said = done.err + done.out if row.finds else done.err.partition("error: ")[2].splitlines()[0]
    assert re.search(row.pattern, said, re.IGNORECASE | re.DOTALL), said
    assert "Traceback" not in done.err
    if not row.finds:
        assert len(re.findall("^error: ", done.err, re.MULTILINE)) == 1
        document = done.json
        assert document["code"] == row.code
        assert document["error"] == said


def test_there_are_enough_rows():
    assert len(ROWS) == sum(len(part.ROWS) for part in (bad_files, bad_options, bad_tables)) >= 200
    assert {row.code for row in ROWS.values()} == {2, 3, 5}
    assert len({row.words.split()[0] for row in ROWS.values()}) >= 20


HARMS = json_harms("H1/run.json") | {
    key: without("H1/run.json", key) for key in ("created", "config", "state", "planned")
}


@pytest.mark.parametrize("name", list(HARMS))
def test_one_bad_run_stops_nothing_of_the_others(name: str, place: Place, kit: Callable):
    HARMS[name](place)
    with in_time():
        listed = kit("runs", "--json")
        assert {run["run"] for run in listed.json["runs"]} >= {place.runs["H0"], place.runs["T0"]}
        assert place.runs["H1"] in listed.err
        assert kit("submit", "histo", "--dry-run", "--json").json["run"] == place.runs["H0"]


@pytest.mark.parametrize("what", ["result.json", "manifest.json", "checkpoint.json"])
@pytest.mark.parametrize("content", ["[]", "{}", "hello", ""])
def test_a_bad_part_of_a_run_stops_no_list(what: str, content: str, place: Place, kit: Callable):
    for path in place.path("H1/").rglob(what):
        path.write_text(content)
    listed = {run["run"] for run in kit("runs", "--json").json["runs"]}
    assert {place.runs["H0"], place.runs["T0"]} <= listed
    assert kit("predict", place.runs["T0"], "--json").json["ids"] == 6


def test_a_class_that_never_occurs_has_a_threshold_too(place: Place, kit: Callable):
    """`per-class` has nothing to tune it on; infinity is no JSON."""
    path = place.path("L/train.csv")
    lines = [line for line in path.read_text().splitlines() if line]
    path.write_text("\n".join(line if n < 2 else line.split(",")[0] + ",0" for n, line in enumerate(lines)) + "\n")
    kit("verify", "tiny", "--accept")
    kit("train", "tiny", "--set", "loss=bce", "--json")
    assert kit("thresholds", "--method", "per-class", "--json").json["chosen"] == "per-class"
