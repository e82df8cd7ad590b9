"""The configuration: which source wins, and the errors for wrong input."""

import pytest

from kit.config import TrainConfig, describe
from kit.errors import KitError
from kit.hooks.specs import Competition
from kit.resolve import parse_settings, resolve

LEAVES = Competition(
    name="leaves",
    title="Leaves",
    slug="leaves",
    task="binary",
    metric="roc_auc",
    dataset="leaves",
    submission="leaves",
    defaults={"loss": "bce", "size": 128, "lr": 0.01},
    miniature_defaults={"size": 32},
)


def test_later_sources_win_and_are_named(tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text("epochs = 7\nlr = 0.5\nbatch_size = 4\n")
    config, sources = resolve(LEAVES, True, file, {"lr": 0.25, "seed": None}, ["batch_size=8", "rotate=45"])
    assert (config.size, config.epochs, config.lr, config.batch_size, config.rotate) == (32, 7, 0.25, 8, 45)
    assert {key: sources[key] for key in ("size", "epochs", "lr", "batch_size", "loss", "seed")} == {
        "size": "miniature defaults",
        "epochs": str(file),
        "lr": "flag",
        "batch_size": "--set",
        "loss": "competition",
        "seed": "default",
    }


def test_miniature_defaults_hold_for_miniatures_only():
    assert resolve(LEAVES, False)[0].size == 128
    assert resolve(LEAVES, True)[0].size == 32


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        (["epoch=3"], "did you mean epochs"),
        (["size=abc"], "size = 'abc' (from --set)"),
        (["size=0"], "size = 0 (from --set)"),
        (["size"], "--set key=value"),
        (["schedule=cyclic"], "one_cycle"),
        (["tta=3"], "tta = 3 (from --set)"),
        (["lr=1e-3..1e-5"], "lr_low = 0.001 is above lr = 1e-05: give --lr LOW..HIGH"),
        (["size=4,96"], "sizes = 4,96 must be 8 or more"),
        (["sizes=[32,64]"], "end at size = 128: give --size A,B"),
    ],
)
def test_wrong_settings_are_named(settings, says):
    with pytest.raises(KitError, match=r".") as caught:
        resolve(LEAVES, False, settings=settings)
    assert says in str(caught.value)


def test_settings_take_toml_values_bare_words_and_none():
    words = ["a=1", "b=0.5", "c=true", "d=word", "e=none", "f=[0.1, 0.2]", 'g="x y"', "trackers=a,b"]
    assert parse_settings(words) == {
        "a": 1,
        "b": 0.5,
        "c": True,
        "d": "word",
        "e": None,
        "f": [0.1, 0.2],
        "g": "x y",
        "trackers": ("a", "b"),
    }


def test_config_of_another_competition_is_refused(tmp_path):
    file = tmp_path / "other.toml"
    file.write_text('competition = "flowers"\n')
    with pytest.raises(KitError, match="configures flowers"):
        resolve(LEAVES, False, file)


def test_every_field_is_described_and_round_trips():
    config, _ = resolve(LEAVES, False, settings=["mean=[0.1]", "trackers=a"])
    assert all(describe()[name] for name in TrainConfig.model_fields)
    assert TrainConfig.model_validate(config.model_dump(mode="json")) == config
