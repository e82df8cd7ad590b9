"""How checks are run: hanging and crashing plugins, expected failures, one line for pytest, and what is printed."""

import importlib
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from helpers import ROOT
from helpers.planted import INDEX, LOSS, MODULE, READ, WHOLE
from helpers.strangers import registry_of, use
from kit import testing
from kit.cli.app import main
from kit.errors import BAD_INPUT, KitError
from kit.hooks.manager import BUILT_IN_MODULES
from kit.testing import running
from kit.testing.check import KINDS, all_checks
from kit.testing.running import plan_of, results_of
from kit.testing.subject import find_plugins

QUICK = ("kit_augmentations", "kit_small_networks", "kit_split_files", "kit_tensorboard")


def results(folder: Path, code: str, *kinds: str) -> dict[str, testing.Result]:
    registry = registry_of(folder / "plugin", code)
    (plugin,) = find_plugins(None, registry)
    (folder / "work").mkdir()
    plan = [pair for pair in plan_of(plugin, registry, folder / "work") if pair[1].kind in kinds]
    return {result.name: result for result in results_of(plan, lambda number, text: None)}


def test_the_page_lists_every_check():
    text = (ROOT / "docs" / "testing-plugins.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([^`]+)` \| (\w+) \|", text, re.MULTILINE)
    assert dict(rows) == {check.name: check.group for check in all_checks()}


def only(monkeypatch: pytest.MonkeyPatch, *kinds: str) -> None:
    """Make the checks of some kinds alone."""
    whole = running.plan_of
    few = lambda *given: [pair for pair in whole(*given) if pair[1].kind in kinds]  # noqa: E731
    monkeypatch.setattr(running, "plan_of", few)


def test_there_are_enough_checks_each_with_what_to_do():
    checks = all_checks()
    assert len(checks) >= 60
    assert len({check.name for check in checks}) == len(checks)
    assert {check.kind for check in checks} == {*KINDS}
    for check in checks:
        assert check.mend
        assert (check.function.__doc__ or "").strip().endswith("."), check.name


@pytest.mark.parametrize(
    "plugin",
    [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in BUILT_IN_MODULES],
)
def test_built_in_plugins_pass_the_suite(plugin):
    bad = [(result.name, result.subject, result.text) for result in testing.run(plugin) if result.bad]
    assert bad == []


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ("            while True:\n                pass\n", "does not end"),
        ("            import os\n            os._exit(7)\n", "exit status 7"),
        ("            import os\n            os.kill(os.getpid(), 11)\n", "SIGSEGV"),
    ],
)
def test_what_hangs_or_crashes_ends_its_check_alone(tmp_path, monkeypatch, body, text):
    monkeypatch.setattr(running, "LIMIT", 1.0)
    found = results(tmp_path, WHOLE.replace(LOSS, body + LOSS), "loss", "tracker")
    assert text in found["loss/every-task"].text
    assert found["loss/every-task"].bad
    assert found["loss/same-from-a-seed"].status == "skipped"
    assert {result.status for name, result in found.items() if name.startswith("tracker/")} <= {"passed", "skipped"}


DECLARED = 'EXPECTED_FAILURES = {{"dataset/reads-rgb": "the microscope gives blue first"}}\n'


def test_expected_failures_are_told_and_must_fail(tmp_path):
    code = WHOLE.replace(MODULE, DECLARED.format() + MODULE)
    turned = code.replace(READ, "    return read_rgb(files[0])[..., ::-1].copy()")
    found = results(tmp_path / "turned", turned, "dataset")["dataset/reads-rgb"]
    assert (found.status, found.bad) == ("expected", False)
    assert found.text.startswith("the microscope gives blue first (")
    plain = results(tmp_path / "plain", code, "dataset")["dataset/reads-rgb"]
    assert (plain.status, plain.bad) == ("unexpected", True)


@pytest.mark.parametrize("name", ["retina", "biomass"])
def test_competitions_of_grades_and_of_numbers_keep_the_contract(tmp_path, name):
    code = (ROOT / "examples" / f"kit-{name}" / f"kit_{name}.py").read_text(encoding="utf-8")
    found = results(tmp_path, code, "competition", "dataset", "submission")
    assert [(each.name, each.text) for each in found.values() if each.status == "failed"] == []
    assert found["submission/check-passes-own"].status == "passed"


def test_without_a_miniature_the_data_is_not_checked_and_that_is_advice(tmp_path):
    found = results(tmp_path, WHOLE.replace(", miniature=miniature", ""), "dataset", "miniature", "submission")
    assert found["miniature/exists"].status == "failed"
    assert not found["miniature/exists"].bad
    assert {found[name].status for name in ("dataset/index", "submission/writes")} == {"skipped"}
    assert "not on this disk" in found["dataset/index"].text


def test_without_a_miniature_the_data_on_this_disk_is_checked(tmp_path, monkeypatch):
    monkeypatch.setenv("KIT_DATA", str(tmp_path / "data"))
    registry = registry_of(tmp_path / "whole", WHOLE)
    (tmp_path / "data" / "leaves").mkdir(parents=True)
    registry.datasets.get("leaves").miniature(tmp_path / "data" / "leaves", 0)
    found = results(tmp_path, WHOLE.replace(", miniature=miniature", ""), "dataset", "submission")
    assert found["dataset/index"].status == "passed"
    assert found["submission/check-finds-missing-row"].status == "passed"
    assert found["dataset/any-place"].status == "skipped"


@pytest.fixture
def importable(tmp_path, monkeypatch):
    """The plugin as a module of its own, not installed."""
    (tmp_path / "kit_leaves.py").write_text(WHOLE.replace(INDEX, "    train = train.sample(frac=1)\n" + INDEX))
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "kit_leaves", raising=False)
    yield importlib.import_module("kit_leaves")
    sys.modules.pop("kit_leaves", None)


def test_one_line_makes_a_test_of_each_check(importable, monkeypatch):
    only(monkeypatch, "package", "competition", "miniature", "dataset")
    contract = testing.suite("kit_leaves")
    (mark,) = contract.pytestmark
    cases = {case.partition(" ")[0]: case for case in mark.args[1]}
    assert len(cases) > 40
    contract(cases["dataset/unique-ids"])
    with pytest.raises(pytest.fail.Exception, match="differs from call to call"):
        contract(cases["dataset/same-again"])
    with pytest.raises(pytest.skip.Exception):
        contract(cases["dataset/statistics"])


def test_the_command_names_what_is_wrong(tmp_path, monkeypatch, capsys):
    code = WHOLE.replace('MetricSpec("share", True', 'MetricSpec("share", False')
    only(monkeypatch, "package", "metric")
    use(monkeypatch, tmp_path, code)
    with pytest.raises(SystemExit) as ended:
        main(["test-plugin", "leaves"])
    out, error = capsys.readouterr()
    assert ended.value.code == BAD_INPUT
    assert "WRONG    metric/polarity of share\n" in out
    assert max(map(len, out.splitlines())) <= 80
    assert error.splitlines()[-1] == "error: 1 check fails: correct what is WRONG above"
    with pytest.raises(SystemExit):
        main(["test-plugin", "leaves", "--json"])
    document = json.loads(capsys.readouterr().out)
    assert document["ok"] is False
    assert {"name", "group", "status", "text", "mend", "subject", "plugin"} <= {*document["results"][0]}


def test_a_name_that_nothing_has(tmp_path):
    with pytest.raises(KitError, match=r"no plugin is called 'leafs'.*did you mean leaves"):
        testing.run("leafs", registry_of(tmp_path, WHOLE))


def test_an_installed_package_without_the_entry_point_is_told():
    with pytest.raises(
        KitError, match=r"pluggy is installed, but has no entry point of the group kit: .*entry-points\.kit"
    ):
        testing.run("pluggy")


AFTER_TRAINING = """
import torch
from kit.testing import running
from kit.testing.apart import run_apart

torch.set_num_threads(2)
network, images = torch.nn.Conv2d(3, 32, 3), torch.randn(8, 3, 128, 128)


def work():
    network(images).sum().backward()
    return {"status": "passed"}


work()
print([answer for _, answer in run_apart([work], [20.0], running._ready, lambda number: True, lambda number: None)])
"""


def test_checks_end_in_a_process_that_has_trained_with_several_threads():
    """The threads of OpenMP do not live on in a forked process, which would wait for them."""
    done = subprocess.run([sys.executable, "-c", AFTER_TRAINING], capture_output=True, text=True, check=True)
    assert "passed" in done.stdout
