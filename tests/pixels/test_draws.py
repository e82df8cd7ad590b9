"""The random numbers of a warp: their ranges, their distribution, their independence."""

import json

import numpy as np
import pytest

from helpers.reference_steps import standard_steps
from helpers.warp_cases import config, fixed
from kit.config import validate
from kit.pixels.draw import draw_steps
from kit.pixels.warp import GROUP, draw
from kit.resolve import parse_settings


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
    [
        ({"flip": True, "rot90": True}, GROUP),
        ({"rot90": True}, GROUP[:4]),
        ({"flip": True}, ("e", "h")),
        ({"flip_vertical": True}, ("e", "v")),
        ({"flip": True, "flip_vertical": True}, ("e", "h", "v", "r180")),
        ({"flip_vertical": True, "rot90": True}, GROUP),
        ({"flip": True, "flip_vertical": True, "rot90": True}, GROUP),
        ({"flip": True, "rot90": True, "probabilities": {"flip": 0.5, "rot90": 1}}, GROUP),
        ({"flip_vertical": True, "rot90": True, "probabilities": {"flip_vertical": 1}}, GROUP[4:]),
        ({"flip": True, "probabilities": {"flip": 1}}, ("h",)),
        ({"flip": True, "probabilities": {"flip": 0}}, ("e",)),
        ({}, ("e",)),
    ],
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


def elements(**values) -> dict[str, float]:
    """How often each flip and turn is drawn."""
    drawn = draw_steps(config(**values), np.arange(20_000) * 31, 9).element
    return {GROUP[number]: count / 20_000 for number, count in enumerate(np.bincount(drawn, minlength=8)) if count}


def test_flips_and_turns_are_as_frequent_as_asked():
    """An image is mirrored, mirrored up-down and turned (by each quarter as often) apart from one another."""
    chances = {"flip": 0.3, "flip_vertical": 0.6, "rot90": 0.8}
    quarters = {"e": 0.2 + 0.8 / 4, "r90": 0.2, "r180": 0.2, "r270": 0.2}
    assert elements(rot90=True, probabilities=chances) == pytest.approx(quarters, abs=0.012)
    assert elements(flip_vertical=True, probabilities=chances) == pytest.approx({"e": 0.4, "v": 0.6}, abs=0.012)
    expected = {"e": 0.7 * 0.4, "h": 0.3 * 0.4, "v": 0.7 * 0.6, "r180": 0.3 * 0.6}
    assert elements(flip=True, flip_vertical=True, probabilities=chances) == pytest.approx(expected, abs=0.012)
    both = elements(flip=True, rot90=True, probabilities=chances)
    assert sum(both.get(name, 0) for name in GROUP[4:]) == pytest.approx(0.3, abs=0.012)
    assert both["e"] == pytest.approx(0.7 * 0.4, abs=0.012)
    # Mirrored and then turned: the image itself is mirrored left-right as often as the turn leaves it.
    assert both["h"] == pytest.approx(0.3 * 0.4, abs=0.012)


@pytest.mark.parametrize(
    ("step", "field", "still"),
    [
        ("rotate", "degrees", 0),
        ("zoom", "scale", 1),
        ("shift", "shift", 0),
        ("shear", "shear", 0),
        ("brightness", "light", 0),
        ("brightness_range", "factor", 1),
        ("contrast", "contrast", 1),
    ],
)
def test_a_step_is_applied_as_often_as_asked_and_leaves_the_others_alone(step, field, still):
    every = {"rotate": 30, "zoom": 0.2, "shift": 0.4, "shear": 8, "brightness": 0.2, "contrast": 0.3}
    every |= {"brightness_range": (0.2, 0.9), "flip": True, "rot90": True}
    always, seldom = (
        draw_steps(config(**every, probabilities=chances), np.arange(20_000), 1000) for chances in ({}, {step: 0.25})
    )
    for name in vars(always):
        one, other = getattr(always, name), getattr(seldom, name)
        assert name == field or (one == other).all()
    was, now = (getattr(drawn, field).reshape(20_000, -1) for drawn in (always, seldom))
    applied = (now == was).all(1)
    assert applied.mean() == pytest.approx(0.25, abs=0.012)
    assert (now[~applied] == still).all()


def test_factors_of_brightness_are_spread_evenly_over_their_range():
    drawn = draw(config(brightness_range="0.2..1.2"), np.arange(40_000), (9, 9), 9)
    assert (drawn.beta == 0).all()
    shares = np.histogram(drawn.alpha, 10, (0.2, 1.2))[0] / 40_000
    np.testing.assert_allclose(shares, 0.1, atol=0.008)


def test_what_was_drawn_before_there_were_more_steps_is_drawn_still():
    """Runs of earlier versions resume to the same bytes."""
    values = {
        "rot90": True,
        "rotate": 45,
        "zoom": 0.13,
        "shift": 0.03,
        "shear": 5,
        "brightness": 0.15,
        "contrast": 0.15,
    }
    drawn = draw(config(**{**values, "flip": True}), np.array([0, 1, 2**31 - 1]), (96, 96), 96).packed()
    then = [
        [-0.2607, -0.9260, 102.2774, -0.9904, 0.2720, 83.1555, 1.0206, -9.5441],
        [-0.9011, 0.7079, 55.0650, -0.5664, -0.7278, 109.1362, 0.9232, -24.7165],
        [0.7793, 0.5619, -14.6522, -0.5375, 0.7665, 35.5436, 1.0505, -22.7475],
    ]
    np.testing.assert_allclose(drawn, then, atol=1e-4)


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("brightness_range", "0.2..1.2", (0.2, 1.2)),
        ("brightness_range", "0.2,1.2", (0.2, 1.2)),
        ("brightness_range", "[0.2, 1.2]", (0.2, 1.2)),
        ("probabilities", "rotate=0.5", {"rotate": 0.5}),
        ("probabilities", "rotate=0.5,flip_vertical=1", {"rotate": 0.5, "flip_vertical": 1}),
        ("probabilities", "{ rotate = 0.5, zoom = 0 }", {"rotate": 0.5, "zoom": 0}),
        ("steps", "stain=0.1,blur=2", {"stain": 0.1, "blur": 2}),
        ("steps", "{ hue = 0.1 }", {"hue": 0.1}),
        ("steps", "{}", {}),
        ("crop", "0.5", 0.5),
    ],
)
def test_forms_of_the_keys(key, text, value):
    settings = validate({"competition": "c", "dataset": "d", "loss": "bce"} | parse_settings([f"{key}={text}"]))
    assert getattr(settings, key) == value
    assert validate(json.loads(settings.model_dump_json())) == settings
