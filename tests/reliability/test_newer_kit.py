"""What a newer kit wrote is named as that, by every file that it may be told from; it is never taken for damage."""

import json
import re

import pytest

from helpers.hand_made_runs import hand_made_run
from kit import __version__
from kit.console import Console
from kit.data.folds import folds_of_run, new_folds, save_folds
from kit.errors import KitError
from kit.files import read_json, write_bytes, write_json
from kit.model.checkpoint import Checkpoints
from kit.pixels.packed import PackManifest
from kit.record import RunRecord
from kit.run import Run

NEWER = {"kit": "99.1"}
WROTE = rf"\(it was written by kit 99\.1, this is kit {re.escape(__version__)}\)"
# What differs in run.json, and what is said of it.
RECORDS = {
    "format": (
        {"format": 4, **NEWER},
        rf"has format 4, this kit reads format 3: use the kit that wrote it, a newer one {WROTE}",
    ),
    "another form": ({"format": 4, "config": [], **NEWER}, "has format 4, this kit reads format 3: .* a newer one"),
    "a state": ({"state": "paused", **NEWER}, rf"can't be read \(state: .*{WROTE}\)"),
    "older": ({"format": 2}, "has format 2, this kit reads format 3: make it again, or use the kit that wrote it"),
    "no number": ({"format": "new"}, "has format 'new', this kit reads format 3: use the kit that wrote it"),
}
CONFIGS = {
    "a key": (
        {"lookahead": 5},
        r"its configuration has lookahead, which this kit does not know: use the kit .*, 99\.1",
    ),
    "two keys": ({"b": 5, "a": None}, "its configuration has a, b, which this kit does not know"),
    "a value": ({"schedule": "lion"}, r"schedule = 'lion': .*: use the kit that wrote it, 99\.1 \(this is "),
}


@pytest.fixture
def run(store):
    return hand_made_run("histo", 0)


@pytest.mark.parametrize("what", RECORDS)
def test_a_run_of_another_kit(kit, run, what):
    changes, said = RECORDS[what]
    write_json(run.path / "run.json", read_json(run.path / "run.json") | changes)
    with pytest.raises(KitError, match=said):
        Run.open(run.path)
    assert re.search(said, kit("predict", run.id, code=2).err)
    assert "passed over a run" in kit("runs").err


@pytest.mark.parametrize("what", CONFIGS)
def test_a_configuration_of_another_kit(kit, run, what):
    changes, said = CONFIGS[what]
    record = read_json(run.path / "run.json") | NEWER
    write_json(run.path / "run.json", record | {"config": record["config"] | changes})
    for command in ("predict", "evaluate", "report"):
        assert re.search(said, kit(command, run.id, code=2).err), command


@pytest.mark.parametrize("name", ["checkpoint.json", "result.json"])
def test_a_fold_of_another_format(run, name):
    path = run.fold_dir(0) / name
    write_json(path, (read_json(path) if path.is_file() else {}) | {"format": 7} | NEWER)
    with pytest.raises(KitError, match=rf"has format 7, this kit reads no format: .* a newer one {WROTE}"):
        _ = Checkpoints(run.fold_dir(0)) if name == "checkpoint.json" else run.result(0)


def test_a_pack_of_another_format(tmp_path):
    write_json(tmp_path / "a.json", {"format": 2, "kit": "99.1", "shards": []})
    with pytest.raises(KitError, match=rf"has format 2, this kit reads format 1: .* a newer one {WROTE}"):
        read_json(tmp_path / "a.json", PackManifest, "", 1)


def test_saved_folds_of_another_format_are_no_damage(kit, store, monkeypatch):
    folds = new_folds(store, store.index(), 3, 0, None, Console(silent=True))
    facts = type(folds).facts.fget
    monkeypatch.setattr(type(folds), "facts", property(lambda self: {**facts(self), "format": 2}))
    path = save_folds(store, folds, Console(silent=True))
    monkeypatch.undo()
    monkeypatch.setenv("KIT_DATA", str(store.root.parent))
    monkeypatch.setenv("KIT_RUNS", str(store.root.parents[1] / "runs"))
    said = kit("train", "histo", "--folds", "3", "--no-pretrained", "--model", "small_cnn", code=2).err
    assert f"{path} has format 2, which this kit does not know: use the kit that wrote it" in said
    assert "damaged" not in said


def test_a_flipped_byte_is_still_damage(run):
    text = (run.path / "run.json").read_text()
    write_bytes(run.path / "run.json", text.replace('"finished"', '"running"').encode())
    with pytest.raises(KitError, match="changed by hand or damaged: its own checksum differs"):
        read_json(run.path / "run.json", RunRecord, "", 3)
    assert folds_of_run(run).count == 3
    assert json.loads(text)["kit"] == __version__
