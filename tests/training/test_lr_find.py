"""The range test: a known curve, and a suggestion that trains."""

import numpy as np
import pytest

from kit.errors import KitError
from kit.training.lr_find import steepest


def test_the_steepest_fall_of_a_known_curve():
    rates = np.geomspace(1e-6, 1, 61)
    # A logistic fall around 1e-3, then a wall: its steepest point is its middle.
    losses = 1 - 1 / (1 + np.exp(-4 * (np.log10(rates) + 3))) + (rates > 0.05) * rates * 100
    assert steepest(rates.tolist(), losses.tolist()) == pytest.approx(1e-3, rel=0.01)


def test_a_loss_that_never_falls_is_said():
    with pytest.raises(KitError, match="never fell"):
        steepest([1e-3, 1e-2, 1e-1], [1.0, 2.0, 3.0])


def test_the_suggestion_learns_faster_than_a_hundredth_of_it(kit, store):
    quick = ("--set", "size=32", "--set", "batch_size=16", "--set", "folds=2")
    found = kit("lr-find", "histo", *quick, "--json").json
    assert 1e-5 < found["suggestion"] < 1
    assert found["path"].endswith("lr-find-coord_cnn.png")
    assert len(found["rates"]) == len(found["losses"]) > 20
    scores = []
    for rate in (found["suggestion"], found["suggestion"] / 100):
        run = kit("train", "histo", *quick, "--epochs", 2, "--fold", 0, "--lr", rate, "--json").json
        scores.append(run["score"]["value"])
    assert scores[0] > scores[1]
