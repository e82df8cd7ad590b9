"""The random numbers of a warp: their ranges, their distribution, their independence."""

import numpy as np
import pytest

from helpers.reference_steps import standard_steps
from helpers.warp_cases import config, fixed
from kit.pixels.warp import GROUP, draw


def test_draws_lie_in_their_ranges_evenly():
    count, side, shear = 40_000, 100, 10
    still = {
        "flip": False,
        "rot90": False,
        "rotate": 0,
        "zoom": 0,
        "shift": 0,
        "shear": 0,
        "brightness": 0,
        "contrast": 0,
    }

    def drawn(**values):
        return draw(config(**still | values), np.arange(count), (side, side), side)

    def even(values, low, high):
        assert low <= values.min() < low + 0.01 * (high - low)
        assert high - 0.01 * (high - low) < values.max() <= high
        assert values.mean() == pytest.approx((low + high) / 2, abs=0.01 * (high - low))
        assert values.std() == pytest.approx((high - low) / 12**0.5, rel=0.02)

    turned = drawn(rotate=30).matrices
    even(np.degrees(np.arctan2(turned[:, 1, 0], turned[:, 0, 0])), -30, 30)
    zoomed = drawn(zoom=0.3).matrices
    even(1 / zoomed[:, 0, 0], 0.7, 1.3)
    even(1 / zoomed[:, 1, 1], 0.7, 1.3)
    # albumentations draws the two factors apart.
    assert abs(np.corrcoef(zoomed[:, 0, 0], zoomed[:, 1, 1])[0, 1]) < 0.02
    shifted = drawn(shift=0.2).matrices[:, :, 2]
    assert (shifted == np.trunc(shifted)).all()
    assert (shifted.min(0) == -19).all()
    assert (shifted.max(0) == 19).all()
    assert (np.abs(shifted.mean(0)) < 0.2).all()
    assert np.mean(shifted == 0) == pytest.approx(2 / 40, abs=0.005)
    sheared = np.linalg.inv(drawn(shear=shear).matrices[:, :, :2])
    even(np.degrees(np.arctan(sheared[:, 0, 1])), -shear, shear)
    even(np.degrees(np.arctan(sheared[:, 1, 0])), -shear, shear)
    even(drawn(brightness=0.2).beta, -51, 51)
    even(drawn(contrast=0.2).alpha, 0.8, 1.2)


def test_draws_are_distributed_as_those_of_albumentations():
    count, shape = 4000, (60, 60, 3)
    settings = config(rotate=40, zoom=0.3, shift=0.15, shear=12, brightness=0.2, contrast=0.4)
    warp, shade = standard_steps(settings)
    warp.set_random_seed(0)
    shade.set_random_seed(0)
    theirs = [warp.get_params_dependent_on_data({"shape": shape}, {})["matrix"][:2].ravel() for _ in range(count)]
    image = {"image": np.zeros(shape, np.uint8)}
    shades = [[*shade.get_params_dependent_on_data({}, image).values()] for _ in range(count)]
    drawn = draw(settings, np.arange(count), shape[:2], 60)
    matrices = np.concatenate([drawn.matrices, np.tile([[[0.0, 0.0, 1.0]]], (count, 1, 1))], 1)
    ours = np.column_stack([np.linalg.inv(matrices)[:, :2].reshape(count, 6), drawn.alpha, drawn.beta])
    pairs = [(ours, np.column_stack([theirs, shades]))]
    # Their products too, by which draws that hang together would show.
    for shift in (1, 2, 4):
        pairs.append(tuple((a - a.mean(0)) * np.roll(a - a.mean(0), shift, 1) for a in pairs[0]))
    for a, b in pairs:
        for one_of_ours, one_of_theirs in zip(a.T, b.T, strict=True):
            levels = np.quantile(one_of_theirs, np.linspace(0.02, 0.98, 49))
            shares = [np.searchsorted(np.sort(values), levels) / count for values in (one_of_ours, one_of_theirs)]
            # Kolmogorov and Smirnov's distance; by chance above 0.044 once in a thousand.
            assert np.abs(shares[0] - shares[1]).max() < 0.05


@pytest.mark.parametrize(
    ("values", "expected"),
    [({"flip": True, "rot90": True}, GROUP), ({"rot90": True}, GROUP[:4]), ({"flip": True}, ("e", "h")), ({}, ("e",))],
)
def test_flips_and_turns_are_equally_frequent(values, expected):
    matrices = draw(config(**values), np.arange(8000) * 7919, (9, 9), 9).matrices
    found, counts = np.unique(matrices, axis=0, return_counts=True)
    known = {fixed(9, 9, element).matrices.tobytes() for element in expected}
    assert {(matrix + 0.0)[None].tobytes() for matrix in found} <= known
    assert len(found) == len(expected)
    assert (np.abs(counts / 8000 - 1 / len(expected)) < 0.02).all()


def test_a_step_more_leaves_the_others_draws_alone():
    less, more = (draw(config(rotate=r, brightness=0.2), np.arange(9), (9, 9), 9) for r in (0, 20))
    assert (less.beta == more.beta).all()
    assert (less.matrices != more.matrices).any()
