"""`kit test-plugin` names each fault that is planted in a stranger's plugin, and finds none in it as it was."""

import os
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

from helpers import planted_data, planted_network
from helpers.planted import DRAW, WHOLE
from helpers.strangers import registry_of
from kit.testing.causes import BEHIND, left_to_causes
from kit.testing.check import KINDS, Result, all_checks
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


# What fails together, and which line is left.
TOGETHER = [
    (("dataset/reads-uint8", "dataset/reads-rgb", "miniature/passes-check"), ("dataset/reads-uint8",)),
    (("dataset/index", "dataset/text-ids"), ("dataset/text-ids",)),
    (("dataset/same-again", "dataset/any-place"), ("dataset/same-again",)),
    (("package/light-import", "package/quick-import", "package/import-starts-nothing"), ("package/light-import",)),
    (("package/hooks", "package/imports-anew", "competition/loss"), ("package/hooks",)),
    (("submission/writes", "submission/digits", "submission/check-finds-nan"), ("submission/writes",)),
    (("submission/row-order", "submission/check-passes-own"), ("submission/row-order",)),
    (("metric/polarity", "metric/perfect-is-best"), ("metric/polarity",)),
    (("model/eval-mode", "model/images-apart"), ("model/eval-mode",)),
    (("dataset/unique-ids", "metric/polarity"), ("dataset/unique-ids", "metric/polarity")),
]


@pytest.mark.parametrize(("names", "left"), TOGETHER)
def test_a_fault_has_one_line(names, left):
    given = [
        Result("p", "p" if name.startswith("package/") else "leaves", name, "contract", "failed", "it fails", "mend it")
        for name in names
    ]
    results = left_to_causes(given)
    assert tuple(result.name for result in results if result.bad) == left
    assert all(result.text.startswith(f"see {left[0]}: ") for result in results if result.status == "skipped")


def test_a_fault_of_one_spec_is_not_left_to_another():
    given = [
        Result("p", subject, name, "contract", "failed", "it fails", "mend it")
        for subject, name in (("one", "model/eval-mode"), ("other", "model/images-apart"))
    ]
    assert left_to_causes(given) == given


def test_causes_are_checks():
    known = {check.name for check in all_checks()}
    assert {cause for causes in BEHIND.values() for cause in causes} <= known
    assert all(any(fnmatchcase(name, pattern) for name in known) for pattern in BEHIND)


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
    several = name.startswith("submission/check-finds-")  # a check that looks at nothing finds nothing
    assert several or {result.name for result in failed if result.group == "contract"} <= {name}


def test_a_miniature_is_watched_though_a_competition_reads_it(tmp_path):
    code = WHOLE.replace(DRAW, "    np.random.seed(seed)\n    (root.parent / 'leaf.txt').touch()\n" + DRAW)
    results = found(tmp_path, code, ("competition", "miniature", "dataset"))
    assert {result.name for result in results if result.bad} == {"miniature/leaves-random-state", "miniature/inside"}
