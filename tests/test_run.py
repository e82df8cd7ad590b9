"""The directory of a run: whole or not there, closed to links, never silently damaged, changed under one lock."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from helpers.hand_made_runs import hand_made_run
from helpers.training_runs import begin, go, learned
from kit.config import validate
from kit.errors import KitError
from kit.files import write_json
from kit.run import Run
from kit.runs import all_runs, find_run
from kit.scoring.predictions import Predictions

FACTS = {"origin": "miniature", "folds": {"digest": "0" * 64}, "planned": []}


def made(**facts) -> Run:
    config = validate({"competition": "histopathology", "dataset": "histopathology", "loss": "bce"})
    return Run.create(config, {**FACTS, **facts})


def rewrite(path: Path, **changes) -> None:
    """Change a sealed file as somebody does who seals it again; None takes a key out."""
    document = json.loads(path.read_text())
    del document["sha256"]
    write_json(path, {key: value for key, value in {**document, **changes}.items() if value is not None})


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    path = tmp_path / "bashrc"
    path.write_text("# mine\n")
    return path


# Links


@pytest.mark.parametrize(
    "name", ["log.txt", ".lock", ".record.lock", "manifest.json", "run.json", "fold-0", "tensorboard", "fold-1/log.txt"]
)
@pytest.mark.parametrize("kind", ["file", "folder", "dangling", "pipe"])
def test_a_run_with_a_link_or_a_pipe_is_refused_and_writes_nothing_outside(kit, outside, tmp_path, name, kind):
    run, other = made(state="running"), made()
    path = run.path / name
    path.parent.mkdir(exist_ok=True)
    path.unlink(missing_ok=True)
    if kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to({"file": outside, "folder": tmp_path, "dangling": tmp_path / "new"}[kind])
    before = sorted(tmp_path.iterdir())
    listed = kit("runs", "--json")
    names = [each["run"] for each in listed.json["runs"]]
    assert other.id in names
    assert run.id not in names
    if name != "run.json":
        assert str(path) in listed.err
        assert "a link or a device" in kit("train", "--resume", run.id, code=2).err
    kit("predict", run.id, code=2)
    assert outside.read_text() == "# mine\n"
    assert sorted(tmp_path.iterdir()) == before


def test_the_run_itself_may_be_a_link(kit, tmp_path):
    run = made()
    moved = tmp_path / "large-disk"
    shutil.move(run.path, moved)
    run.path.symlink_to(moved)
    assert [each["run"] for each in kit("runs", "--json").json["runs"]] == [run.id]


def test_a_link_under_the_temporary_name_is_not_written_through(outside):
    run = made()
    (run.path / f".run.json.{os.getpid()}.tmp").symlink_to(outside)
    run.update(note="x")
    assert outside.read_text() == "# mine\n"
    assert not list(run.path.glob("*.tmp"))


# Damaged and written by hand

BAD_RECORDS = {
    "empty": "",
    "no object": "[]",
    "no keys": "{}",
    "text": "not json",
    "bytes": b"\xff\xfe\x00",
    "a billion brackets": "[" * 100_000,
    "a number of 5,000 digits": '{"format": ' + "9" * 5000 + "}",
    "not a number": '{"format": NaN}',
}
BAD_KEYS = {
    "created": [None, 5, []],
    "config": [None, [], {}, {"competition": 5}, {"competition": "histopathology", "size": "large"}],
    "state": [None, "on fire", 1],
    "planned": [None, "0", ["x"], {}],
    "folds": [None, [], {}, {"digest": 1}],
    "origin": [None, 3],
    "score": [3, {"metric": "roc_auc"}, {"metric": "a", "value": "high", "low": 0, "high": 1, "ids": 3}],
    "leaderboard": [[], {"public": "high"}],
    "submissions": [{}, [1], [{"ref": "x", "sha256": "", "status": ""}]],
    "classes": ["ab", [1]],
    "versions": [[], {"torch": 2}],
    "blend": [[], {"method": "mean"}],
}


def assert_passed_over(kit, bad: Run, good: Run) -> None:
    listed = kit("runs", "--json")
    assert [each["run"] for each in listed.json["runs"]] == [good.id]
    assert f"passed over a run: {bad.path}/run.json" in listed.err
    said = kit("evaluate", bad.id, code=2).err
    assert len(said.splitlines()) == 1
    assert f"{bad.path}/run.json" in said


@pytest.mark.parametrize("content", BAD_RECORDS.values(), ids=BAD_RECORDS)
def test_a_damaged_record_is_named_and_passed_over(kit, content):
    good, bad = made(), made()
    (bad.path / "run.json").write_bytes(content if isinstance(content, bytes) else content.encode())
    assert_passed_over(kit, bad, good)


@pytest.mark.parametrize(("key", "value"), [(key, value) for key, values in BAD_KEYS.items() for value in values])
def test_a_record_of_another_form_is_named_and_passed_over(kit, key, value):
    good, bad = made(), made()
    rewrite(bad.path / "run.json", **{key: value})
    assert_passed_over(kit, bad, good)


def test_every_changed_byte_of_a_record_is_noticed():
    run = made(classes=["a", "b"], normalization={"mean": [0.5], "std": [0.25]})
    path = run.path / "run.json"
    whole = path.read_bytes()
    for at in range(0, len(whole), 7):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        with pytest.raises(KitError):
            Run.open(run.path)
    path.write_bytes(whole)
    Run.open(run.path)


def test_a_configuration_that_is_not_this_kits_is_named_with_its_file(kit):
    run = made()
    rewrite(run.path / "run.json", config={**run.record["config"], "margin": "wide"})
    assert f"{run.path}/run.json: margin = 'wide'" in kit("predict", run.id, code=2).err


BAD_PARTS = [
    ("fold-0/result.json", "[]"),
    ("fold-0/result.json", "{}"),
    ("fold-0/history.csv", "epoch,seconds\nx,1\n"),
    ("fold-0/history.csv", "epoch,seconds\n,,,\n"),
    ("fold-0/history.csv", "epoch\n1\n"),
    ("fold-0/history.csv", b"\xff\x00epoch"),
    ("fold-0/history.csv", "epoch,seconds\n1\n"),
    ("manifest.json", "[]"),
    ("manifest.json", '{"files": {"a": 1}, "grown": {}}'),
    ("thresholds.json", "{}"),
]


@pytest.mark.parametrize(("name", "content"), BAD_PARTS)
def test_a_damaged_part_stops_only_its_run(kit, store, name, content):
    good, bad = hand_made_run("histo", 0), hand_made_run("histo", 1)
    (bad.path / "fold-0").mkdir(exist_ok=True)
    (bad.path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    for command in ("runs", "log"):
        done = kit(command, *(["histo"] if command == "log" else []), "--json")
        names = [each["run"] for each in done.json["runs"]]
        assert good.id in names
        if bad.id not in names:
            assert bad.id in done.err
    # The list shows neither history nor manifest, and the rule of other predictions counts for nothing.
    shown = "history" not in name and "manifest" not in name
    assert shown == (bad.id in kit("runs", "--json").err)


def test_a_copy_of_a_fold_is_no_fold(kit, store):
    run = hand_made_run("histo", 0)
    shutil.copytree(run.fold_dir(0), run.path / "fold-0.bak")
    assert kit("runs", "--json").json["runs"][0]["folds"] == "3/5"


# Changed by several


def test_nothing_that_another_process_enters_is_lost():
    mine = made()
    theirs = Run.open(mine.path)
    theirs.update(leaderboard={"public": 0.5})
    mine.update(state="finished")
    assert mine.record["leaderboard"] == {"public": 0.5}
    assert Run.open(mine.path).record["state"] == "finished"
    theirs.update(lambda now: {"leaderboard": {**now["leaderboard"], "official": 0.25}})
    assert Run.open(mine.path).record["leaderboard"] == {"public": 0.5, "official": 0.25}


def test_a_rule_counts_only_for_the_predictions_that_it_was_tuned_on(store):
    run = hand_made_run("histo", 0)
    rule = {"kind": "thresholds", "method": "half", "thresholds": [0.5], "shares": [], "strength": None}
    decision = {"method": "half", "metric": "x", "value": 1.0, "low": 1.0, "high": 1.0, "ids": 9}
    digest = run.manifest["files"]["oof.npz"][0]
    write_json(run.path / "thresholds.json", {"oof": digest, "decision": decision, "rule": rule, "by_fold": {}})
    assert run.decision == decision
    oof = Predictions.load(run.path / "oof.npz")
    with run.writing("oof.npz") as path:
        Predictions(oof.ids, oof.classes, oof.values / 2).save(path)
    assert run.decision is None


def test_what_a_killed_process_left_is_cleared_and_what_a_living_one_writes_is_not(tmp_path):
    run = made()
    process = [sys.executable, "-c", "import os; print(os.getpid())"]
    gone = subprocess.run(process, capture_output=True, text=True).stdout.strip()
    left = [
        run.path / f".oof.npz.{gone}.tmp",
        run.path / "fold-0" / f".w.safetensors.{gone}.tmp",
    ]
    left += [run.path / f".gradcam.{gone}.tmp"]
    alive = run.path / f".oof.npz.{os.getppid()}.tmp"
    for path in [*left[:2], alive]:
        path.parent.mkdir(exist_ok=True)
        path.touch()
    left[2].mkdir()
    find_run(run.id)
    assert [path for path in [*left, alive] if path.exists()] == [alive]


def test_a_run_appears_whole_or_not_at_all():
    def fails(path: Path) -> None:
        raise OSError(28, "No space left on device")

    config = validate({"competition": "histopathology", "dataset": "histopathology", "loss": "bce"})
    with pytest.raises(KitError, match="free some space") as caught:
        Run.create(config, FACTS, {"folds.csv": lambda path: path.write_bytes(b"id,fold\n"), "oof.npz": fails})
    assert caught.value.code == 5
    assert all_runs() == []
    made_run = Run.create(config, FACTS, {"folds.csv": lambda path: path.write_bytes(b"id,fold\n")})
    assert made_run.reading("folds.csv").read_bytes() == b"id,fold\n"
    assert [path.name for path in made_run.path.parent.iterdir()] == [made_run.id]


def test_runs_of_one_second_get_names_of_their_own():
    assert len({made().id for _ in range(12)}) == 12


# Predictions that say nothing


@pytest.mark.parametrize(
    ("values", "said"),
    [([[np.nan], [0.5], [0.25]], "predict no number for 1 of 3"), ([[0.5]] * 3, "predict the same for all 3")],
)
def test_a_csv_of_predictions_that_say_nothing_is_refused_and_the_good_one_stays(kit, store, values, said):
    run = hand_made_run("histo", 0)
    kit("submit", run.id, "--dry-run")
    good = (run.path / "submission.csv").read_bytes()
    made = Predictions.load(run.path / "test.npz")
    with run.writing("test.npz") as path:
        Predictions(made.ids[:3], made.classes, np.array(values, np.float32)).save(path)
    assert said in kit("submit", run.id, "--dry-run", code=2).err
    assert (run.path / "submission.csv").read_bytes() == good


def test_a_csv_that_is_not_fit_does_not_replace_the_good_one(kit, store):
    run = hand_made_run("histo", 0)
    kit("submit", run.id, "--dry-run")
    good = (run.path / "submission.csv").read_bytes()
    found = Predictions.load(run.path / "test.npz")
    with run.writing("test.npz") as path:
        Predictions(found.ids, found.classes, found.values + 2).save(path)
    done = kit("submit", run.id, "--dry-run", "--json", code=2)
    assert not done.json["valid"]
    assert (run.path / "submission.csv").read_bytes() == good


def test_a_submission_changed_by_hand_is_not_taken_for_the_runs_own(kit, store):
    run = hand_made_run("histo", 0)
    kit("submit", run.id, "--dry-run")
    path = run.path / "submission.csv"
    path.write_text(path.read_text().replace("0.", "0.9", 1))
    assert "was changed or damaged" in kit("submit", "histo", "--file", path, "--dry-run", code=2).err
    kit("submit", run.id, "--dry-run")
    kit("submit", "histo", "--file", path, "--dry-run")


# A trained run, damaged and resumed


@pytest.fixture
def trained(store):
    run = begin(store, "epochs=1", "model=small_cnn")
    go(store, run)
    return Run.open(run.path), learned(run)


LOST = ["checkpoint.json", "weights", "result.json", "oof.npz", "history.csv"]


def test_what_is_damaged_in_every_fold_is_made_again_by_one_resume(kit, store, trained):
    run, before = trained
    for name in ("history.csv", "oof.npz", "result.json"):
        for path in run.path.glob(f"fold-*/{name}"):
            path.write_bytes(path.read_bytes()[:-9])
        kit("train", "--resume", run.id)
        assert learned(run) == before, name
        assert "all files" in kit("verify", run.id).out


@pytest.mark.parametrize("how", ["gone", "cut", "flipped"])
def test_what_is_lost_or_damaged_is_made_again_by_resume(kit, store, trained, how):
    run, before = trained
    for name in LOST:
        folder = run.fold_dir(0)
        path = next(folder.glob("weights-*")) if name == "weights" else folder / name
        content = path.read_bytes()
        path.unlink()
        if how != "gone":
            path.write_bytes(content[:-9] if how == "cut" else content[:-9] + bytes([content[-9] ^ 4]) + content[-8:])
        kit("train", "--resume", run.id)
        assert learned(run) == before, name
        assert (folder / "history.csv").is_file()


def test_labels_and_pixels_that_changed_since_are_a_word(kit, store, trained):
    run, _ = trained
    record = run.record["data"]
    for change, said in (
        ({"labels": "0" * 64, "targets": "0" * 64}, "the labels in"),
        ({"arrived": "other"}, "is not the archive that run"),
    ):
        run.update(data={**record, **change})
        assert said in kit("evaluate", run.id).err
        assert "restore the former data" in kit("train", "--resume", run.id, code=2).err
    pixels = dict.fromkeys(record["pixels"], "0" * 64)
    assert pixels
    run.update(data={**record, "pixels": pixels})
    (run.fold_dir(0) / "result.json").unlink()
    assert "the pixels of train" in kit("train", "--resume", run.id, code=2).err


def test_weights_that_are_no_numbers_predict_nothing(kit, store, trained):
    from safetensors.torch import load_file, save_file

    from kit.files import sha256

    run, _ = trained
    folder = run.fold_dir(0)
    path = next(folder.glob("weights-*"))
    tensors = load_file(path)
    tensors[next(key for key in tensors if key.endswith("weight"))][0] = float("nan")
    save_file(tensors, path)
    document = json.loads((folder / "checkpoint.json").read_text())
    for entry in (document["last"], document["best"], *document["kept"]):
        if entry["weights"]["file"] == path.name:
            entry["weights"]["sha256"] = sha256(path)
    rewrite(folder / "checkpoint.json", **document)
    for command in ("predict", "evaluate"):
        assert "are not finite numbers" in kit(command, run.id, code=2).err
    assert not run.has("test.npz")
