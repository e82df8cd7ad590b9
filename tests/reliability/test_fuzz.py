"""Readers under random damage: each gives what the file still says, or raises `KitError`, and nothing else.

The damage is drawn from a fixed seed, so a failure comes again; its message names the round.
"""

import contextlib
import io
import json
import random
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from helpers.bad_input import zip_of
from helpers.hand_made_runs import hand_made_run
from kit.console import Console
from kit.data.folds import make_folds, save_folds, saved_folds
from kit.data.images import read_grey, read_rgb
from kit.data.index import read_groups, read_table
from kit.data.store import Store
from kit.ensemble.members import read_csv
from kit.errors import KitError
from kit.files import read_json, write_json
from kit.hooks.registry import Registry
from kit.model.checkpoint import Checkpoints
from kit.reports.experiment_log import log_rows
from kit.resolve import resolve
from kit.run import Run
from kit.runs import all_runs
from kit.scoring.predictions import Predictions
from kit.submission.checks import check_table
from kit.task import BINARY
from kit_histopathology import submission
from kit_split_files.plan import find_plan
from kit_split_files.split import split_files

ROUNDS = 60
SECONDS = 10
TOKENS = (
    b"nan",
    b"inf",
    b"-1",
    b"9" * 400,
    b"9" * 5000,
    b"\0",
    b"[",
    b'"',
    b",",
    b"\n",
    b"\xff\xfe",
    b"\xc3",
    b"1e999",
    b"\r",
)


def damage(content: bytes, source: random.Random) -> bytes:
    at, to = sorted(source.randrange(len(content) + 1) for _ in range(2))
    piece = content[at : min(to, at + source.choice((1, 4, 60)))]
    ways = (
        lambda: content[:at],
        lambda: content[:at] + content[at + max(1, len(piece)) :],
        lambda: content[:at] + piece + content[at:],
        lambda: content[:at] + source.choice(TOKENS) + content[at:],
        lambda: content[:at] + source.choice(TOKENS) + content[at + len(piece) :],
        lambda: content[:at] + source.randbytes(max(1, len(piece))) + content[at + max(1, len(piece)) :],
        lambda: (
            content[:at] + bytes([content[at] ^ (1 << source.randrange(8))]) + content[at + 1 :] if at < to else b""
        ),
    )
    return source.choice(ways)()


def fuzz(path: Path, read: Callable[[Path], object], rounds: int = ROUNDS) -> None:
    """Damage a file again and again; it must be readable at first, and damage must be noticed now and then."""
    content, refused = path.read_bytes(), 0
    read(path)
    for number in range(rounds):
        source = random.Random(number)
        changed = content
        for _ in range(source.choice((1, 1, 3))):
            changed = damage(changed, source) if changed else b""
        path.write_bytes(changed)
        began = time.monotonic()
        try:
            read(path)
        except KitError:
            refused += 1
        except Exception as error:
            raise AssertionError(f"round {number} of {path.name}: {type(error).__name__}: {error}") from error
        assert time.monotonic() - began < SECONDS, f"round {number} of {path.name}"
    path.write_bytes(content)
    assert refused, "nothing was noticed"


# Tables and texts


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "t.csv"
    path.write_text("id,label\n" + "".join(f"id{n},{n % 2}\n" for n in range(12)))
    return path


def index_of_histopathology(path: Path) -> object:
    from kit_histopathology.dataset import index

    return index(path.parent).class_counts()


def check(path: Path) -> None:
    if any(finding.level == "error" for finding in check_table(path, path.with_name("s.csv"), ("label",))):
        raise KitError("found")


CSV: dict[str, Callable[[Path], object]] = {
    "table": lambda path: read_table(path, ("id", "label"), "mend it"),
    "groups": read_groups,
    "another tool's": lambda path: read_csv(path, ("label",), BINARY),
    "submission": check,
    "truth": lambda path: submission.grade(path.with_name("s.csv"), path),
}


@pytest.mark.parametrize("kind", list(CSV))
@pytest.mark.filterwarnings("ignore")
def test_csv(table, kind):
    table.with_name("s.csv").write_text("id,label\n" + "".join(f"id{n},{n / 12}\n" for n in range(12)))
    fuzz(table, CSV[kind], 150)


@pytest.mark.parametrize("name", ["train_labels.csv", "sample_submission.csv"])
def test_the_tables_of_a_competition(tmp_path, name):
    for part in ("train", "test"):
        (tmp_path / part).mkdir()
        for number in range(6):
            (tmp_path / part / f"{part}{number}.tif").touch()
    for file, part in (("train_labels.csv", "train"), ("sample_submission.csv", "test")):
        (tmp_path / file).write_text("id,label\n" + "".join(f"{part}{n},{n % 2}\n" for n in range(6)))
    fuzz(tmp_path / name, index_of_histopathology)


def test_toml(tmp_path):
    path = tmp_path / "c.toml"
    path.write_text(
        'size = "64,96"\nlr = "1e-4..1e-3"\nepochs = 3\nmean = [0.5, 0.5, 0.5]\nnote = "a line"\nflip = true\n'
    )
    competition = Registry().competitions.get("histo")
    fuzz(path, lambda path: resolve(competition, False, path), 150)


def test_a_manifest_of_splits(tmp_path):
    from helpers.trees import CONSOLE, arguments, make

    split_files(arguments(make(tmp_path / "source"), "copy"), tmp_path / "target", CONSOLE)
    fuzz(tmp_path / "target" / "manifest.jsonl", lambda path: find_plan(path.parent))


# Archives


def unpack(path: Path) -> None:
    import shutil

    from kit.archives.nested import open_archive

    root = path.with_name("out")
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir()
    with open_archive(path) as archive:
        archive.write([(member, str(root / member.name)) for member in archive.members], root, lambda count: None)
        for member in archive.members:
            assert (root / member.name).stat().st_size == member.size
    assert {child.name for child in path.parent.iterdir()} <= {path.name, "out"}, "something left the folder"


@pytest.mark.parametrize("kind", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_zip(tmp_path, kind):
    path = tmp_path / "a.zip"
    path.write_bytes(
        zip_of({"train.csv": "id\n" * 50, "train/a.png": bytes(range(256)) * 3, "b/c": "c"}, compression=kind)
    )
    fuzz(path, unpack, 100)


def test_7z(tmp_path):
    py7zr = pytest.importorskip("py7zr")
    path, memory = tmp_path / "a.7z", io.BytesIO()
    with py7zr.SevenZipFile(memory, "w") as archive:
        archive.writestr("id\n" * 50, "train.csv")
        archive.writestr(bytes(range(256)) * 3, "train/a.png")
    path.write_bytes(memory.getvalue())
    fuzz(path, unpack, 60)


# Images


@pytest.mark.parametrize("ending", [".png", ".jpg", ".tif", ".bmp", ".webp", ".gif"])
@pytest.mark.parametrize("read", [read_rgb, read_grey], ids=["rgb", "grey"])
def test_images(tmp_path, ending, read):
    from PIL import Image

    path = tmp_path / f"a{ending}"
    pixels = np.random.default_rng(0).integers(0, 256, (24, 20, 3), np.uint8)
    Image.fromarray(cv2.GaussianBlur(pixels, (0, 0), 2)).save(path)

    def image(path: Path) -> None:
        array = read(path)
        assert array.dtype == np.uint8
        assert array.ndim == (3 if read is read_rgb else 2)

    fuzz(path, image)


# What kit itself wrote


@pytest.fixture
def run(kit, monkeypatch) -> Run:
    import kit_histopathology.miniature as miniature

    monkeypatch.setattr(miniature, "TRAIN", 24)
    monkeypatch.setattr(miniature, "TEST", 8)
    kit("download", "histo", "--miniature")
    return hand_made_run("histo", 0)


def test_predictions(run):
    fuzz(run.path / "oof.npz", Predictions.load, 150)


def test_saved_folds(run):
    store = Store.of(Registry(), "histo")
    save_folds(store, make_folds(store.index(), 2, 0), Console(silent=True))
    for path in sorted((store.own / "folds").glob("*.csv")):
        fuzz(path, lambda path: saved_folds(store, 2))


@pytest.mark.parametrize("name", ["run.json", "manifest.json", "fold-0/result.json"])
def test_any_bytes_of_a_json_file_count(run, name):
    """It is sealed, so every damage is noticed that changes what it says."""
    path = run.path / name
    document = read_json(path)
    for number in range(ROUNDS):
        source = random.Random(number)
        content = path.read_bytes()
        path.write_bytes(damage(content, source))
        if path.read_bytes() != content:
            with contextlib.suppress(KitError):
                assert read_json(path) == document, f"round {number}"
        path.write_bytes(content)


VALUES: tuple[Any, ...] = (None, True, -1, 10**30, 0.5, "", "x", [], {}, [[]], {"a": 1}, "9" * 5000, [None], 1e308)


def mutated(document: Any, source: random.Random) -> Any:
    """A document with one node replaced, renamed or removed."""
    if isinstance(document, dict) and document and source.random() < 0.8:
        key = source.choice(sorted(document))
        way = source.random()
        if way < 0.2:
            return {name: value for name, value in document.items() if name != key}
        if way < 0.3:
            return {name + "x" * (name == key): value for name, value in document.items()}
        return {**document, key: mutated(document[key], source)}
    if isinstance(document, list) and document and source.random() < 0.5:
        at = source.randrange(len(document))
        return [*document[:at], mutated(document[at], source), *document[at + 1 :]]
    return source.choice(VALUES)


def use(run_path: Path) -> None:
    """Read all of a run that lists and pages read."""
    run = Run.open(run_path)
    _ = run.config, run.state, run.score, run.trained_folds, run.results
    run.reading("oof.npz")
    log_rows([run])


def use_folds(run_path: Path) -> None:
    from kit.data.folds import folds_of_run

    folds_of_run(Run.open(run_path))


def use_checkpoint(run_path: Path) -> None:
    Checkpoints(run_path / "fold-0").weights("last")


@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("run.json", use),
        ("run.json", use_folds),
        ("run.json", lambda path: all_runs()),
        ("manifest.json", use),
        ("fold-0/result.json", use),
        ("fold-0/checkpoint.json", use_checkpoint),
    ],
    ids=["run", "run-folds", "runs", "manifest", "result", "checkpoint"],
)
def test_json_that_somebody_wrote_by_hand(run, name, read):
    """It is sealed again, so that only its form can be wrong."""
    if "checkpoint" in name:
        import torch

        weights = {"network.a": torch.zeros(2)}
        Checkpoints(run.path / "fold-0").write(weights, weights, {"step": 1}, step=1, best=True)
    path = run.path / name
    document = {key: value for key, value in json.loads(path.read_text()).items() if key != "sha256"}
    read(run.path)
    failed = []
    for number in range(250):
        changed = mutated(document, random.Random(number))
        write_json(path, changed if isinstance(changed, dict) else {"format": 2})
        try:
            read(run.path)
        except KitError:
            continue
        except Exception as error:
            failed.append(f"round {number}: {type(error).__name__}: {error}")
    assert failed == []


def test_origin(run):
    store = Store.of(Registry(), "histo")
    fuzz(store.own / "origin.json", lambda path: (store.note, store.origin, store.index()))


def test_the_console_says_anything():
    """What a stranger's names do to a terminal is the console's to prevent; it never fails over them."""
    console, source = Console(json=False), random.Random(0)
    with contextlib.redirect_stdout(io.StringIO()) as out:
        for _ in range(50):
            console.say("".join(chr(source.randrange(0x2FFF)) for _ in range(40)))
            console.say(source.randbytes(40).decode("utf-8", "replace"))
    assert out.getvalue()
