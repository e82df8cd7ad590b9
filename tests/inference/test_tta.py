"""Test-time augmentation: ordered crops at several scales."""

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch

from kit.errors import KitError
from kit.hooks.registry import Registry
from kit.inference.tta import corners, flip, views_of
from kit.resolve import resolve


@pytest.fixture
def config():
    competition = Registry().competitions.get("ham10000")
    return resolve(competition, False, flags={"size": 64}, settings=["tta=1"])[0]


@pytest.mark.parametrize(("scale", "across"), [(1, 1), (1.25, 2), (1.5, 2), (1.6, 3), (2, 3), (2.5, 4)])
def test_crops_reach_from_edge_to_edge_and_overlap_by_half(scale, across):
    side, size = round(64 * scale), 64
    found = corners(side, size)
    assert len(found) == across**2
    tops = sorted({top for top, _ in found})
    assert (tops[0], tops[-1]) == (0, side - size)
    assert all(after - before <= size / 2 for before, after in itertools.pairwise(tops))
    assert found == [(top, left) for top in tops for left in tops], "row by row"


def test_views_are_crops_of_the_enlarged_image_in_each_flip(config):
    plain, large = views_of(config, 2, "1,1.5")
    assert (plain.side, large.side, len(plain.views), len(large.views)) == (64, 96, 2, 8)
    images = torch.arange(2 * 96 * 96, dtype=torch.float32).view(2, 1, 96, 96)
    expected = [
        flip(images[:, :, top : top + 64, left : left + 64], n) for top in (0, 32) for left in (0, 32) for n in range(2)
    ]
    assert all(torch.equal(view(images), crop) for view, crop in zip(large.views, expected, strict=True))
    assert torch.equal(plain.views[0](images[:, :, :64, :64]), images[:, :, :64, :64])


def test_36_crops_as_in_the_best_entry(config):
    assert sum(len(scale.views) for scale in views_of(config, 2, "1,1.25,1.5,2")) == 36


def test_the_configuration_gives_what_is_not_given(config):
    assert [len(scale.views) for scale in views_of(config)] == [1]
    chosen = config.model_copy(update={"scales": (1.0, 1.25), "tta": 4})
    assert [(scale.side, len(scale.views)) for scale in views_of(chosen)] == [(64, 4), (80, 16)]


@pytest.mark.parametrize("scales", ["0.5", "1,5", "", "wide"])
def test_scales_that_are_none_are_a_line(config, scales):
    with pytest.raises(KitError):
        views_of(config, None, scales)


def test_predictions_are_the_mean_of_all_views_at_all_scales(kit):
    """A run predicted at two scales is the weighted mean of predictions at each."""
    from kit.scoring.predictions import Predictions

    kit("download", "histo", "--miniature")
    run = kit("train", "histo", "--folds", 3, "--fold", 0, "--epochs", 1, "--json").json
    values = {}
    for scales in ("1", "1.25", "1,1.25"):
        done = kit("predict", run["run"], "--tta", 2, "--scales", scales, "--json").json
        values[scales] = Predictions.load(Path(done["path"])).values
    assert done["tta"] == 2 + 8
    assert np.allclose(values["1,1.25"], values["1"] * 0.2 + values["1.25"] * 0.8, atol=1e-6)
    assert not np.allclose(values["1"], values["1.25"], atol=1e-4)
    plain = kit("evaluate", run["run"], "--json").json
    viewed = kit("evaluate", run["run"], "--tta", 8, "--scales", "1,1.25", "--json").json
    assert plain["difference"] is not None
    assert viewed["difference"] is None
    assert viewed["roc_auc"] != plain["roc_auc"]
