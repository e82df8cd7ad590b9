"""`kit test-plugin` names each fault that is planted in a stranger's plugin, and finds none in it as it was."""

import os
from pathlib import Path

import pytest

from helpers import planted_data, planted_network
from helpers.planted import WHOLE
from helpers.strangers import registry_of
from kit.testing.check import KINDS, Result
from kit.testing.running import plan_of, results_of
from kit.testing.subject import find_plugins

QUICK = {
    "dataset/decodes-no-image",
    "metric/polarity",
    "loss/gradient",
    "model/every-channel",
    "dataset/unique-ids",
    "submission/row-order",
    "package/light-import",
    "package/free-names",
    "augmentation/forms-agree",
    "optimizer/keeps-scale",
}
FAULTS = [*planted_data.FAULTS, *planted_network.FAULTS]
pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="checks run in forked processes")


def found(folder: Path, code: str, kinds: tuple[str, ...]) -> list[Result]:
    """What the checks of some kinds find of a plugin."""
    registry = registry_of(folder / "plugin", code)
    (plugin,) = find_plugins(None, registry)
    (folder / "work").mkdir()
    plan = [pair for pair in plan_of(plugin, registry, folder / "work") if pair[1].kind in kinds]
    return results_of(plan, lambda number, text: None)


def test_the_plugin_has_no_fault(tmp_path):
    results = found(tmp_path, WHOLE, KINDS)
    assert {result.name.partition("/")[0] for result in results} == {*KINDS}
    assert [result for result in results if result.bad] == []
    advice = {result.name for result in results if result.status == "failed"}
    assert advice <= {"dataset/names-what-is-missing"}


def cases():
    """Those that the issue of strangers names, and more than a hundred slow ones."""
    for number, (name, change) in enumerate(FAULTS):
        first = name not in {earlier for earlier, _ in FAULTS[:number]}
        marks = () if first and name in QUICK else pytest.mark.slow
        yield pytest.param(name, change, marks=marks, id=f"{name}-{number}")


@pytest.mark.parametrize(("name", "change"), list(cases()))
def test_each_fault_is_named(tmp_path, name, change):
    old, new = change
    assert old in WHOLE, old
    results = found(tmp_path, WHOLE.replace(old, new), (name.partition("/")[0],))
    failed = [result for result in results if result.status == "failed"]
    assert name in {result.name for result in failed}, [(result.name, result.text) for result in failed]
    named = next(result for result in failed if result.name == name)
    assert named.text
    assert named.mend
