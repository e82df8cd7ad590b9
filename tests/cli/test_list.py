"""`kit list KIND`: every name that a key of the configuration takes is found, with what it is."""

import pytest

from kit.cli.list_ import Kind
from kit.hooks.learning import FUSED_STEPS

KNOWN = {
    "heads": {"linear", "mlp", "concat_pool", "gem", "attention", "vgg"},
    "losses": {"bce", "cross_entropy", "arcface"},
    "metrics": {"roc_auc", "macro_f1"},
    "optimizers": {"adamw", "adam", "sgd", "nadam", "radam", "rmsprop"},
    "steps": {*FUSED_STEPS, "hue", "saturation", "stain", "cutout", "blur", "noise"},
    "submissions": {"histopathology"},
    "trackers": {"tensorboard"},
    "datasets": {"histopathology"},
    "competitions": {"histopathology"},
}


@pytest.mark.parametrize("kind", Kind)
def test_all_names_are_listed_with_what_they_are(kit, kind):
    rows = {row["name"]: row for row in kit("list", kind, "--json").json[kind]}
    assert rows.keys() >= KNOWN[kind]
    if kind in ("heads", "losses", "optimizers", "steps"):
        assert all(row["description"] and row["plugin"] for row in rows.values())
    shown = kit("list", kind).out
    assert all(name in shown for name in KNOWN[kind])


def test_a_step_says_what_to_write(kit):
    rows = {row["name"]: row["set"] for row in kit("list", "steps", "--json").json["steps"]}
    assert rows["hue"] == "steps=hue=0..0.5"
    assert rows["rotate"] == "rotate=..."


def test_another_kind_is_refused(kit):
    assert "heads" in kit("list", "hads", code=2).err
