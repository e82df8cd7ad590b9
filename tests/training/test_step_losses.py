"""The loss by step: kept beside the history, read back by a resumed training, drawn."""

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from helpers.training_runs import begin, go, read_history
from kit.errors import KitError
from kit.record import read_steps
from kit.reports.loss_picture import draw_losses, running_mean
from kit.run import Run
from kit.training.history import StepLosses


def test_the_losses_of_the_steps_make_the_training_loss_of_their_epoch(store):
    run = begin(store, "epochs=3", "schedule=constant", "lr=2e-3", "decay=0.1", only_fold=0)
    go(store, run)
    rows = read_steps(run.fold_dir(0) / "steps.csv")
    assert [row["step"] for row in rows] == list(range(1, 25))
    images = np.array([16] * 7 + [8])  # of 120
    for number, row in enumerate(read_history(run, 0)):
        own = [step["loss"] for step in rows[8 * number : 8 * number + 8]]
        assert np.average(own, weights=images) == pytest.approx(row["train loss"], rel=1e-5)
    assert [row["lr"] for row in rows] == pytest.approx([2e-3 / (1 + 0.1 * step) for step in range(24)], rel=1e-5)


def test_a_resumed_training_keeps_the_steps_it_had_taken_and_drops_later_ones(tmp_path):
    history = tmp_path / "history.csv"
    first = StepLosses(history, 0)
    first.add([0.5, 0.4, 0.3], [1e-3] * 3)
    first.write()
    resumed = StepLosses(history, 2)
    resumed.add([0.25], [1e-4])
    resumed.write()
    with (tmp_path / "steps.csv").open() as file:
        assert list(csv.reader(file)) == [
            ["step", "loss", "lr"],
            ["1", "0.5", "0.001"],
            ["2", "0.4", "0.001"],
            ["3", "0.25", "0.0001"],
        ]
    again = StepLosses(history, 0)
    assert again.rows == [], "a fold that starts anew has no steps"


@pytest.mark.parametrize("content", ["", "step,loss\n1,2\n", "step,loss,lr\n1,x,1\n", "step,loss,lr\n1\n", "\x00"])
def test_a_damaged_file_of_steps_stops_no_training(tmp_path, content):
    (tmp_path / "steps.csv").write_text(content)
    losses = StepLosses(tmp_path / "history.csv", 5)
    losses.add([0.5], [1e-3])
    losses.write()
    assert [row["step"] for row in read_steps(tmp_path / "steps.csv")] == [6]


def test_a_damaged_file_is_named(tmp_path):
    (tmp_path / "steps.csv").write_text("step,loss,lr\n1,x,1\n")
    with pytest.raises(KitError, match=r"steps\.csv can't be read"):
        read_steps(tmp_path / "steps.csv")


def test_training_draws_the_loss_of_every_fold(kit, store):
    quick = ("--folds", 2, "--size", 32, "--model", "small_cnn", "--no-pretrained", "--epochs", 2)
    path = Path(kit("train", "histo", *quick, "--json").json["path"])
    for fold in (0, 1):
        with Image.open(path / f"fold-{fold}" / "loss.png") as picture:
            assert picture.size[0] > 600
            assert len(picture.convert("RGB").getcolors(1 << 20)) > 20, "it is not blank"
    kit("verify", path.name)
    (path / "fold-0/loss.png").write_bytes(b"damaged")
    assert f"kit train --resume {path.name}" in kit("verify", path.name, code=2).out
    kit("train", "--resume", path.name)
    kit("verify", path.name)
    # A run of before has no losses by step: nothing to draw.
    (path / "fold-0/steps.csv").unlink()
    assert draw_losses(Run.open(path), [0, 1]) == [path / "fold-1/loss.png"]


def test_the_running_mean_is_that_of_the_values_around():
    values = np.random.default_rng(0).normal(size=200)
    wanted = [values[max(at - 5, 0) : at + 6].mean() for at in range(200)]
    np.testing.assert_allclose(running_mean(values), wanted)
    np.testing.assert_allclose(running_mean(np.array([3.0])), [3.0])
