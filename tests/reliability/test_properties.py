"""Properties that hold for every input that hypothesis thinks of: folds, splits, csv, configuration, submissions."""

import csv
import io
import json
import math
import random
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from helpers.trees import CONSOLE, arguments, contents, make
from kit.config import TrainConfig, validate
from kit.data.folds import counts_by_fold, groups_spanning_folds, make_folds, read_folds
from kit.data.index import Index
from kit.errors import KitError
from kit.hooks.registry import Registry
from kit.resolve import resolve
from kit.scoring.predictions import Predictions
from kit_histopathology import submission as histopathology
from kit_protein import submission as protein
from kit_split_files.merge import merge_files
from kit_split_files.split import split_files

# The same examples at every run; what one run finds, all find.
settings.register_profile(
    "kit", derandomize=True, database=None, deadline=None, suppress_health_check=list(HealthCheck), max_examples=40
)
settings.load_profile("kit")

CLASSES = ("a", "b", "c")
IDS = st.text(st.characters(blacklist_categories=("Cs", "Cc", "Zl", "Zp")), min_size=1, max_size=12).filter(
    lambda text: text.strip() == text
)


# Folds


@st.composite
def indexes(draw) -> Index:
    task = draw(st.sampled_from(["binary", "multiclass", "multilabel"]))
    count = draw(st.integers(8, 60))
    if task == "multilabel":
        target = draw(
            st.lists(st.sets(st.integers(0, 2)).map(lambda s: tuple(sorted(s))), min_size=count, max_size=count)
        )
    else:
        most = 1 if task == "binary" else 2
        target = draw(st.lists(st.integers(0, most), min_size=count, max_size=count))
    frame = pd.DataFrame({"id": [f"i{n}" for n in range(count)], "files": [("x",)] * count, "target": target})
    grouped = draw(st.booleans())
    if grouped:
        frame["group"] = draw(st.lists(st.sampled_from([None, *"pqrstuvw"]), min_size=count, max_size=count))
    test = frame[["id", "files"]].head(1)
    classes = CLASSES[:2] if task == "binary" else CLASSES
    return Index(Path(), task, classes, frame, test, grouped_by="plate" if grouped else "")


@given(indexes(), st.integers(2, 5), st.integers(0, 99))
def test_folds_are_a_balanced_partition_that_no_group_spans(index, count, seed):
    try:
        folds = make_folds(index, count, seed)
    except KitError:
        groups = index.train["group"] if index.grouped_by else index.train["id"]
        assert groups.nunique() + groups.isna().sum() < count
        return
    table = folds.table
    assert table["id"].tolist() == index.train["id"].tolist()
    assert table["fold"].between(0, count - 1).all()
    assert groups_spanning_folds(index, folds) == 0
    assert make_folds(index, count, seed).digest == folds.digest
    sizes = [row["ids"] for row in counts_by_fold(index, folds)]
    assert sum(sizes) == len(table)
    largest = int(index.train["group"].value_counts().max() or 1) if index.grouped_by else 1
    assert max(sizes) <= math.ceil(len(table) / count) + largest + len(CLASSES)


@given(indexes(), st.integers(0, 99), st.lists(IDS, min_size=60, max_size=60, unique=True))
def test_folds_come_back_from_their_csv(index, seed, names):
    assume(all("\r" not in name for name in names))
    index.train["id"] = names[: len(index.train)]
    try:
        folds = make_folds(index, 2, seed)
    except KitError:
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "folds.csv"
        path.write_bytes(folds.csv())
        back = read_folds(path, folds.facts)
    assert back.digest == folds.digest
    assert back.table["id"].tolist() == folds.table["id"].tolist()


# Splits

NAMES = st.text(st.sampled_from("abc .'\u00e4\u4e2d-_"), min_size=1, max_size=8).filter(
    lambda name: name.strip(" .") == name
)


@given(
    st.dictionaries(
        st.lists(NAMES, min_size=1, max_size=3).map("/".join), st.binary(max_size=30), min_size=1, max_size=9
    ),
    st.sampled_from(["copy", "link", "move"]),
    st.integers(1, 4),
)
def test_what_is_split_comes_back(files, mode, parts):
    assume(not any(a != b and b.startswith(f"{a}/") for a in files for b in files))
    assume(len({name.casefold() for name in files}) == len(files) >= parts)
    with tempfile.TemporaryDirectory() as folder:
        source, target = make(Path(folder) / "source", files), Path(folder) / "target"
        before = contents(source)
        done = split_files(arguments(source, mode, parts=parts), target, CONSOLE)
        assert done.placed == len(files)
        root = source if mode == "move" else Path(folder) / "again"
        merge_files(target, root, CONSOLE)
        assert contents(root) == before


# Csv


@st.composite
def predictions(draw, classes=("tumor",)) -> Predictions:
    ids = draw(st.lists(IDS, min_size=2, max_size=12, unique=True))
    rows = st.lists(st.floats(0, 1, width=32), min_size=len(classes), max_size=len(classes))
    values = draw(st.lists(rows, min_size=len(ids), max_size=len(ids)))
    return Predictions(np.array(ids, object), classes, np.array(values, np.float32))


@given(predictions(CLASSES))
def test_predictions_come_back_from_their_file(made):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "p.npz"
        made.save(path)
        back = Predictions.load(path)
    assert back.ids.tolist() == made.ids.tolist()
    assert back.classes == made.classes
    assert np.array_equal(back.values, made.values)


def index_of(ids: list[str], root: Path, task: str = "binary", classes: tuple[str, ...] = ("no", "yes")) -> Index:
    test = pd.DataFrame({"id": ids, "files": [("x.png",)] * len(ids)})
    return Index(root, task, classes, test.assign(target=0 if task == "binary" else [()] * len(ids)), test)


@given(predictions())
def test_a_submission_says_what_was_predicted_and_passes_its_check(made):
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        pd.DataFrame({"id": made.ids, "label": 0}).to_csv(root / "sample_submission.csv", index=False)
        histopathology.write(made, index_of(made.ids.tolist(), root), root / "s.csv")
        assert [f for f in histopathology.check(root / "s.csv", root) if f.level == "error"] == []
        with (root / "s.csv").open(newline="", encoding="utf-8") as file:
            rows = list(csv.reader(file))[1:]
    assert [row[0] for row in rows] == made.ids.tolist()
    assert np.array_equal(np.array([row[1] for row in rows], np.float32), made.values[:, 0])


@given(predictions(tuple(map(str, range(28)))), st.floats(0.05, 0.95))
def test_a_submission_of_classes_says_what_was_predicted(made, threshold):
    made = Predictions(made.ids, made.classes, made.values, np.full(28, threshold, np.float32))
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        pd.DataFrame({"Id": made.ids, "Predicted": 0}).to_csv(root / "sample_submission.csv", index=False)
        protein.write(made, index_of(made.ids.tolist(), root, "multilabel", made.classes), root / "s.csv")
        assert [f for f in protein.check(root / "s.csv", root) if f.level == "error"] == []
        table = pd.read_csv(root / "s.csv", dtype=str, keep_default_na=False)
    assert [set(map(int, text.split())) for text in table["Predicted"]] == [
        set(np.flatnonzero(row)) for row in made.predicted()
    ]


# One mutation of a valid submission

ROWS = [(f"id{n:02d}", f"{0.05 * n + 0.01:.3f}") for n in range(10)]
VALID = "id,label\n" + "".join(f"{name},{value}\n" for name, value in ROWS)


def is_harmless(text: str) -> bool:
    """Whether another reader finds the same ids in the same order, each with a number in 0..1."""
    try:
        head, *rows = list(csv.reader(io.StringIO(text, newline=""), strict=True))
        values = [float(row[1]) for row in rows]
    except (ValueError, IndexError, csv.Error):
        return False
    named = [row[0] for row in rows] == [name for name, _ in ROWS] and all(len(row) == 2 for row in rows)
    return head == ["id", "label"] and named and all(0 <= value <= 1 for value in values)


def mutated(text: str, source: random.Random) -> str:
    at = source.randrange(len(text))
    lines = text.splitlines(keepends=True)
    line, other = source.randrange(len(lines)), source.randrange(len(lines))
    sign = source.choice('0123456789.,-e"\n \t\x00xN;')
    ways = (
        lambda: text[:at] + text[at + 1 :],
        lambda: text[:at] + sign + text[at:],
        lambda: text[:at] + sign + text[at + 1 :],
        lambda: "".join(lines[:line] + lines[line + 1 :]),
        lambda: "".join([*lines[:line], lines[line], *lines[line:]]),
        lambda: "".join(
            lines[other] if n == line else lines[line] if n == other else each for n, each in enumerate(lines)
        ),
        lambda: text[:at],
        lambda: text.replace(ROWS[line % 10][1], source.choice(["nan", "inf", "-1", "2", "", "x", "1e999"]), 1),
    )
    return source.choice(ways)()


@pytest.mark.parametrize("part", range(4))
def test_any_mutation_of_a_submission_is_found_or_harmless(tmp_path, part):
    (tmp_path / "sample_submission.csv").write_text(VALID)
    (tmp_path / "s.csv").write_text(VALID)
    assert histopathology.check(tmp_path / "s.csv", tmp_path) == []
    source, passed = random.Random(part), []
    for _ in range(250):
        text = mutated(VALID, source)
        (tmp_path / "s.csv").write_text(text)
        found = any(finding.level == "error" for finding in histopathology.check(tmp_path / "s.csv", tmp_path))
        if not found and not is_harmless(text):
            passed.append(text)
    assert passed == []


# Configuration

NUMBERS = {
    "folds": st.integers(2, 100),
    "seed": st.integers(0, 2**31 - 1),
    "size": st.integers(8, 4096),
    "epochs": st.integers(1, 10_000),
    "batch_size": st.integers(1, 65_536),
    "lr": st.floats(1e-9, 100),
    "weight_decay": st.floats(0, 10),
    "momentum": st.floats(0, 0.999),
    "clip": st.one_of(st.floats(1e-6, 1e6)),
    "ema": st.floats(0.01, 0.99),
    "label_smoothing": st.floats(0, 0.99),
    "focal_gamma": st.floats(0, 100),
    "rotate": st.floats(0, 180),
    "mixup": st.just(0.0) | st.floats(0.001, 100),
    "mean": st.lists(st.floats(0, 1), min_size=3, max_size=3),
    "std": st.lists(st.floats(0.01, 1), min_size=3, max_size=3),
    "scales": st.lists(st.floats(1, 4), min_size=1, max_size=3),
    "tta": st.sampled_from([1, 2, 4, 8]),
    "optimizer": st.sampled_from(["adamw", "adam", "sgd", "own"]),
    "schedule": st.sampled_from(["one_cycle", "constant", "step", "cosine", "plateau"]),
    "flip": st.booleans(),
    "compile": st.booleans(),
    "note": st.text(st.characters(blacklist_categories=("Cs", "Cc")), max_size=20),
    "model": st.text(st.sampled_from("abc/_-."), min_size=1, max_size=10),
}
OUTSIDE = {
    "folds": [1, 101, 2.5, "x"],
    "size": [7, 4097, "x"],
    "epochs": [0, 10_001, True + 0.5],
    "lr": [0, -1, 101, math.nan, math.inf],
    "ema": [0, 1, math.nan],
    "momentum": [1, -0.1],
    "clip": [0, -1, math.nan],
    "tta": [0, 3, 16],
    "rotate": [-1, 181, math.nan],
    "scales": [[], [0.5], [5], [math.nan]],
    "schedule": ["", "adamax"],
    "flip": ["perhaps"],
}


def toml(values: dict) -> str:
    return "".join(f"{key} = {json.dumps(value, ensure_ascii=False)}\n" for key, value in values.items())


def resolved(text: str) -> TrainConfig:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "c.toml"
        path.write_text(text, encoding="utf-8")
        return resolve(Registry().competitions.get("histo"), False, path)[0]


@given(st.fixed_dictionaries({}, optional=NUMBERS))
def test_a_configuration_comes_back_from_toml_and_json(values):
    config = resolved(toml(values))
    for key, value in values.items():
        got = getattr(config, key)
        assert (list(got) if isinstance(got, tuple) else got) == value
    assert validate(json.loads(json.dumps(config.model_dump(mode="json")))) == config


@given(st.sampled_from(sorted(OUTSIDE)), st.randoms(use_true_random=False))
def test_what_lies_outside_is_refused_by_its_name(key, source):
    value = source.choice(OUTSIDE[key])
    with pytest.raises(KitError, match=key):
        validate({"competition": "c", "dataset": "d", "loss": "bce", key: value})


@given(st.text(st.sampled_from("abcdefghijklmnop_"), min_size=1, max_size=20))
def test_an_unknown_key_is_refused(key):
    assume(key not in TrainConfig.model_fields)
    with pytest.raises(KitError, match=key):
        resolved(f"{key} = 1\n")
