"""Training: equal bytes for equal seeds, resume as if nothing had happened, records that can be trusted."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from kit.config import resolve
from kit.console import Console
from kit.data.store import Store
from kit.errors import KitError
from kit.inference.predictions import Predictions
from kit.model.checkpoint import Checkpoints
from kit.plugin.registry import Registry
from kit.run import Run
from kit.training import loop
from kit.training.interrupt import Interrupt
from kit.training.train import start_run, train

QUICK = ["size=32", "epochs=2", "folds=2", "batch_size=16", "rotate=20", "brightness=0.2"]


@pytest.fixture
def store(kit) -> Store:
    kit("download", "histo", "--sample")
    return Store.of(Registry(), "histo")


def begin(store: Store, *settings: str, only_fold: int | None = None) -> Run:
    config, sources = resolve(store.competition, True, settings=[*QUICK, *settings])
    return start_run(Registry(), store, config, sources, only_fold, Console(json=True))


def go(store: Store, run: Run, only_fold: int | None = None) -> dict:
    return train(Registry(), store, Run.open(run.path), only_fold, Console(json=True))


def learned(run: Run) -> dict[str, str]:
    """Digests of all that a run has learned: weights, optimiser and predictions."""
    files = [*run.path.glob("fold-*/*.safetensors"), *run.path.glob("**/*.npz")]
    assert files
    return {str(f.relative_to(run.path)): hashlib.sha256(f.read_bytes()).hexdigest() for f in files}


def test_the_same_seed_gives_the_same_bytes_and_another_seed_does_not(store):
    runs = [begin(store), begin(store), begin(store, "seed=1")]
    documents = [go(store, run) for run in runs]
    assert learned(runs[0]) == learned(runs[1])
    assert not set(learned(runs[0]).values()) & set(learned(runs[2]).values())
    assert documents[0]["score"] == documents[1]["score"]
    assert runs[0].id != runs[1].id


def test_a_fold_does_not_depend_on_the_folds_before_it(store):
    both, second = begin(store), begin(store, only_fold=1)
    go(store, both)
    go(store, second)
    alone = learned(second)
    assert {name: digest for name, digest in learned(both).items() if name.startswith("fold-1")} == {
        name: digest for name, digest in alone.items() if name.startswith("fold-1")
    }
    go(store, second, only_fold=0)
    assert learned(second) == learned(both)


@pytest.fixture
def stop_after(monkeypatch):
    """Ask to stop after a number of looks at the interrupt, which happens after each batch of any kind."""

    def arm(looks: int) -> None:
        count = [0]
        check = Interrupt.check

        def counting(self: Interrupt) -> None:
            count[0] += 1
            self.requested = self.requested or count[0] == looks
            check(self)

        monkeypatch.setattr(Interrupt, "check", counting)

    return arm


# 120 images a fold: 8 batches of training, 4 of validation an epoch.
@pytest.mark.parametrize("looks", [1, 5, 8, 10, 12, 13, 24, 30], ids=lambda n: f"after-{n}-batches")
def test_resume_equals_uninterrupted(store, stop_after, monkeypatch, looks):
    whole = begin(store, "validate_every=5")
    go(store, whole)
    stopped = begin(store, "validate_every=5")
    stop_after(looks)
    with pytest.raises(KitError, match=f"kit train --resume {stopped.id}") as caught:
        go(store, stopped)
    assert caught.value.code == 130
    assert Run.open(stopped.path).state == "interrupted"
    monkeypatch.undo()
    monkeypatch.setenv("KIT_DATA", str(store.root.parent))
    go(store, stopped)
    assert learned(stopped) == learned(whole)
    columns = [name for name in loop_columns(whole) if name not in ("seconds", "images/s")]
    for fold in (0, 1):
        ours, theirs = (read_history(run, fold) for run in (stopped, whole))
        assert [[row[c] for c in columns] for row in ours] == [[row[c] for c in columns] for row in theirs]


def read_history(run: Run, fold: int) -> list[dict]:
    return Checkpoints(run.fold_dir(fold)).content["progress"]["history"]


def loop_columns(run: Run) -> list[str]:
    return list(read_history(run, 0)[0])


def test_a_killed_process_is_resumed_to_the_same_bytes(store, kit):
    whole = begin(store, "epochs=3")
    go(store, whole)
    killed = begin(store, "epochs=3")
    process = subprocess.Popen(
        [sys.executable, "-m", "kit", "train", "--resume", killed.id], stdout=subprocess.DEVNULL, env=os.environ
    )
    deadline = time.monotonic() + 60
    while not (killed.fold_dir(0) / "checkpoint.json").is_file() and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert Run.open(killed.path).state == "stopped"
    kit("train", "--resume", killed.id)
    assert learned(killed) == learned(whole)
    assert Run.open(killed.path).state == "finished"


def test_ctrl_c_saves_and_says_how_to_go_on(store):
    run = begin(store, "epochs=50")
    process = subprocess.Popen(
        [sys.executable, "-m", "kit", "train", "--resume", run.id], stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE, text=True, env=os.environ,
    )  # fmt: skip
    deadline = time.monotonic() + 60
    while not (run.fold_dir(0) / "checkpoint.json").is_file() and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert f"kit train --resume {run.id}" in said
    assert "Traceback" not in said
    assert Run.open(run.path).state == "interrupted"
    assert Checkpoints(run.fold_dir(0)).weights("last")


def test_the_network_trains_in_train_mode_in_every_fold_and_validates_in_eval_mode(store, monkeypatch):
    modes: list[tuple[bool, bool]] = []
    forward = torch.nn.BatchNorm2d.forward

    def noting(self, images):
        modes.append((self.training, torch.is_inference_mode_enabled()))
        return forward(self, images)

    run = begin(store, "epochs=1")
    monkeypatch.setattr(torch.nn.BatchNorm2d, "forward", noting)
    go(store, run)
    # Inference mode is validation; without it the probe of a new network is in eval mode too, everything else trains.
    assert not any(training for training, inference in modes if inference)
    layers, batches, folds = 8, 8, 2
    assert sum(training for training, _ in modes) == layers * batches * folds


def test_out_of_fold_predictions_cover_every_id_once_and_make_the_score(store):
    run = begin(store)
    document = go(store, run)
    index = store.index()
    joined = Predictions.load(run.reading("oof.npz"))
    assert joined.ids.tolist() == index.train["id"].tolist()
    metric = Registry().metrics.get("roc_auc")
    assert document["score"]["value"] == metric.compute(index.train["target"].to_numpy(), joined.values[:, 0])
    assert document["score"]["low"] <= document["score"]["value"] <= document["score"]["high"]


def test_evaluate_equals_what_training_said_for_last_and_best(store, kit):
    for checkpoint in ("last", "best"):
        run = begin(store, f"checkpoint={checkpoint}", "epochs=3", "lr=0.02")
        score = go(store, run)["score"]["value"]
        document = kit("evaluate", run.id, "--json").json
        assert document["roc_auc"] == pytest.approx(score, abs=1e-12)
        assert document["difference"] == 0
        history = read_history(run, 0)
        wanted = history[-1]["AUC"] if checkpoint == "last" else max(row["AUC"] for row in history)
        assert kit("evaluate", run.id, "--fold", 0, "--json").json["roc_auc"] == pytest.approx(wanted, abs=1e-12)


def test_predictions_are_the_mean_of_folds_and_views(store, kit):
    run = begin(store)
    go(store, run)
    by_hand = []
    for fold in (0, 1):
        single = begin(store, only_fold=fold)
        go(store, single)
        kit("predict", single.id, "--tta", 1)
        by_hand.append(Predictions.load(single.reading("test.npz")).values)
    kit("predict", run.id, "--tta", 1)
    np.testing.assert_allclose(Predictions.load(run.reading("test.npz")).values, np.mean(by_hand, 0), atol=1e-7)
    kit("predict", run.id, "--tta", 8)
    many = Predictions.load(run.reading("test.npz")).values
    assert not np.allclose(many, np.mean(by_hand, 0), atol=1e-6)
    assert Run.open(run.path).record["predictions"] == {"ids": 60, "folds": [0, 1], "tta": 8}


def test_a_flipped_bit_in_the_weights_or_predictions_is_noticed(store, kit):
    run = begin(store, "epochs=1")
    go(store, run)
    for path, command in ((next(run.path.glob("fold-0/weights-*")), "predict"), (run.path / "oof.npz", None)):
        content = bytearray(path.read_bytes())
        content[-20] ^= 1
        path.write_bytes(content)
        if command:
            assert "damaged" in kit(command, run.id, code=2).err
        else:
            with pytest.raises(KitError, match="damaged"):
                run.reading("oof.npz")


def test_another_format_of_run_is_refused(store, kit):
    run = begin(store)
    record = json.loads((run.path / "run.json").read_text())
    (run.path / "run.json").write_text(json.dumps({**record, "format": 2}))
    assert "format 2, this kit reads format 1" in kit("predict", run.id, code=2).err
    (run.path / "run.json").write_text("{")
    assert "can't be read as JSON" in kit("predict", run.id, code=2).err


def test_a_run_in_training_is_locked(store):
    run = begin(store)
    with run.lock(), pytest.raises(KitError, match="another process"):
        go(store, run)


def test_a_loss_that_explodes_ends_with_the_mend(store):
    run = begin(store, "lr=100", "weight_decay=10", "epochs=30")
    real = loop.learning_rate
    try:
        loop.learning_rate = lambda config, step, total: real(config, step, total) * 1e30
        with pytest.raises(KitError, match="smaller --lr"):
            go(store, run)
    finally:
        loop.learning_rate = real
    assert Run.open(run.path).state == "failed"


def test_the_pipeline_of_a_person_is_kept_in_the_run(store, tmp_path):
    import albumentations as A

    A.save(A.Compose([A.HorizontalFlip(p=1)]), tmp_path / "mine.json", data_format="json")
    run = begin(store, f"augment={tmp_path / 'mine.json'}", "epochs=1", only_fold=0)
    assert run.config.augment == "augment.json"
    (tmp_path / "mine.json").unlink()
    go(store, run)
    assert "HorizontalFlip" in run.reading("augment.json").read_text()


def test_wrong_models_losses_and_folds_leave_no_run_behind(store, kit, tmp_path):
    for words in (
        ("--model", "resnet"),
        ("--set", "loss=cross_entropy"),
        ("--set", "head=deep"),
        ("--fold", 7),
        ("--set", "mean=[0.1]"),
        ("--augment", tmp_path / "absent.json"),
        ("--set", "trackers=dashboard"),
        ("--pretrained",),
    ):
        assert kit("train", "histo", *words, code=2).err.count("\n") == 1
    assert not list((tmp_path / "runs").glob("*"))


def test_resume_refuses_another_configuration_and_unknown_runs(store, kit):
    run = begin(store)
    assert "--lr" in kit("train", "--resume", run.id, "--lr", 1, code=2).err
    assert f"did you mean {run.id}" in kit("train", "--resume", run.id[:-1], code=2).err


def test_trackers_receive_every_validation(store, monkeypatch):
    from kit.plugin import TrackerSpec, hookimpl
    from kit.plugin.manager import load_plugins

    received: list[tuple[int, dict]] = []

    class Tracker:
        def log(self, step, values):
            received.append((step, dict(values)))

        def close(self):
            received.append((-1, {}))

    class Plugin:
        @hookimpl
        def kit_trackers(self):
            return [TrackerSpec("memory", open=lambda run, fold: Tracker())]

    plugins = load_plugins()
    plugins.add(Plugin(), "memory", "test", "1")
    registry = Registry(plugins)
    config, sources = resolve(store.competition, True, settings=[*QUICK, "trackers=memory"])
    run = start_run(registry, store, config, sources, 0, Console(json=True))
    train(registry, store, run, None, Console(json=True))
    assert [step for step, _ in received] == [8, 16, -1]
    assert received[1][1]["AUC"] == read_history(run, 0)[1]["AUC"]


def test_a_kill_between_two_files_leaves_a_readable_run(store):
    run = begin(store)
    with run.writing("notes.txt") as path:
        path.write_text("first")

    def fail() -> None:
        with run.writing("notes.txt") as path:
            path.write_text("second, not finished")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert run.reading("notes.txt").read_text() == "first"
    assert not list(Path(run.path).glob(".*.tmp"))
