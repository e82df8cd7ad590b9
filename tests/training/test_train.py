"""Training: equal bytes for equal seeds, resume as if nothing had happened, records that can be trusted."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from helpers.training_runs import QUICK, begin, go, learned, read_history
from kit.console import Console
from kit.data.open_run import OpenRun
from kit.errors import KitError
from kit.hooks.registry import Registry
from kit.model.checkpoint import Checkpoints
from kit.resolve import resolve
from kit.run import Run
from kit.scoring.predictions import Predictions
from kit.training import loop
from kit.training.start import start_run
from kit.training.train import train


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


def test_accumulated_gradients_are_those_of_the_large_batch(store):
    """For a network without batch norm: its statistics would see the small batches."""
    from torch import nn

    from kit.hooks.manager import load_plugins
    from kit.model.network import Network
    from kit.plugin import ModelSpec, hookimpl

    class Plain:
        @hookimpl
        def kit_models(self):
            def build(request):
                body = nn.Sequential(nn.Conv2d(3, 8, 4, 4), nn.GELU(), nn.Conv2d(8, 8, 2, 2), nn.GELU())
                return Network(body, 8, request.outputs, request.head, request.metadata)

            return [ModelSpec("plain", build)]

    plugins = load_plugins()
    plugins.add(Plain(), "plain", "test", "1")
    registry = Registry(plugins)
    weights = []
    for batch_size, accumulate in ((24, 1), (8, 3)):
        settings = [*QUICK, "model=plain", "optimizer=sgd", f"batch_size={batch_size}", f"accumulate={accumulate}"]
        config, sources = resolve(store.competition, True, settings=settings)
        run = start_run(registry, store, config, sources, 0, Console(json=True))
        train(OpenRun(registry, run), None, Console(json=True))
        weights.append(Checkpoints(run.fold_dir(0)).weights("last"))
    for name, value in weights[0].items():
        torch.testing.assert_close(weights[1][name], value, rtol=1e-4, atol=1e-6)


def test_patience_ends_a_fold_early(store):
    run = begin(store, "epochs=30", "patience=2", "lr=1e-9", "schedule=constant", only_fold=0)
    go(store, run)
    assert len(read_history(run, 0)) < 30
    assert Run.open(run.path).state == "finished"


def test_the_newest_checkpoints_are_kept_and_the_best(store):
    run = begin(store, "epochs=6", "keep=2", "save_every=3", only_fold=0)
    go(store, run)
    content = Checkpoints(run.fold_dir(0)).content
    assert [entry["step"] for entry in content["kept"]] == [45, 48]
    files = {path.name for path in run.fold_dir(0).glob("weights-*")}
    assert files == {entry["weights"]["file"] for entry in (*content["kept"], content["best"])}


def test_stages_of_growing_size_end_at_the_size_that_predicts(store, kit):
    run = begin(store, 'size="16,32"', "epochs=4", only_fold=0)
    score = go(store, run)["score"]["value"]
    assert kit("evaluate", run.id, "--json").json["roc_auc"] == pytest.approx(score, abs=1e-12)


def test_the_network_trains_in_train_mode_in_every_fold_and_validates_in_eval_mode(store, monkeypatch):
    modes: list[tuple[bool, bool, bool]] = []
    forward = torch.nn.BatchNorm2d.forward

    def noting(self, images):
        modes.append((self.training, torch.is_inference_mode_enabled(), torch.is_grad_enabled()))
        return forward(self, images)

    run = begin(store, "epochs=1")
    monkeypatch.setattr(torch.nn.BatchNorm2d, "forward", noting)
    go(store, run)
    # Inference mode is validation; without it the probe of a new network is in eval mode too, everything else trains,
    # or settles the statistics of batch norm before the validation, without gradients.
    assert not any(training for training, inference, _ in modes if inference)
    layers, batches, folds = 8, 8, 2
    assert sum(training and learns for training, _, learns in modes) == layers * batches * folds
    assert sum(training and not learns for training, _, learns in modes) == layers * batches * folds


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
    for checkpoint in ("last", "best", "best_loss"):
        run = begin(store, f"checkpoint={checkpoint}", "epochs=3", "lr=0.02")
        score = go(store, run)["score"]["value"]
        document = kit("evaluate", run.id, "--json").json
        assert document["roc_auc"] == pytest.approx(score, abs=1e-12)
        assert document["difference"] == 0
        history = read_history(run, 0)
        wanted = {
            "last": history[-1]["AUC"],
            "best": max(row["AUC"] for row in history),
            "best_loss": min(history, key=lambda row: row["valid loss"])["AUC"],
        }[checkpoint]
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
    assert Run.open(run.path).record["predictions"] == {"ids": 60, "folds": [0, 1], "tta": 8, "sides": [32]}


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
    for number, mend in ((2, "make it again, or use the kit that wrote it"), (4, "use the kit that wrote it")):
        (run.path / "run.json").write_text(json.dumps({**record, "format": number}))
        said = kit("predict", run.id, code=2).err
        assert f"format {number}, this kit reads format 3: {mend}" in said
    (run.path / "run.json").write_text("{")
    assert "can't be read (it is no JSON" in kit("predict", run.id, code=2).err


def test_a_run_in_training_is_locked(store):
    run = begin(store)
    with run.lock(), pytest.raises(KitError, match="another process"):
        go(store, run)


def test_a_loss_that_explodes_ends_with_the_mend(store):
    run = begin(store, "lr=100", "weight_decay=10", "epochs=30")
    real = loop.learning_rate
    try:
        loop.learning_rate = lambda *arguments: real(*arguments) * 1e30
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
    from kit.hooks.manager import load_plugins
    from kit.plugin import TrackerSpec, hookimpl

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
    train(OpenRun(registry, run), None, Console(json=True))
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
