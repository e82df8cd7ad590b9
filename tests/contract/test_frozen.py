"""Wheels that were built with an earlier kit and must go on working.

`kit_leaves-0.1.0` is the plugin of docs/plugins.md as it was when contracts had no version; 0.1.1 is the same for
contract 1, with a metric of its own under a name that kit took later.
"""

import importlib
import sys
import zipfile
from pathlib import Path

import pytest

from helpers import ROOT

WHEELS = ROOT / "tests" / "contract" / "wheels"
OF_CONTRACT_1 = {"kit_leaves-0.1.0": 0, "kit_leaves-0.1.1": 1}  # each with the number of warnings


@pytest.fixture
def module(request, tmp_path, monkeypatch):
    """The module of a wheel that is installed for one test."""
    (wheel,) = WHEELS.glob(f"{request.param}-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    monkeypatch.setenv("KIT_PLUGINS", "leaves")
    monkeypatch.delitem(sys.modules, "kit_leaves", raising=False)
    yield importlib.import_module("kit_leaves")
    monkeypatch.delitem(sys.modules, "kit_leaves")


def every(names):
    return pytest.mark.parametrize("module", names, indirect=True)


@every(OF_CONTRACT_1)
def test_the_whole_line(kit, module, request):
    done = kit("list", "--json")
    assert {row["name"]: row for row in done.json["competitions"]}["leaves"]["metric"]
    warnings = OF_CONTRACT_1[request.node.callspec.params["module"]]
    assert done.err.count("is written for contract 1") == warnings
    kit("download", "leaves", "--miniature")
    assert kit("check", "leaves", "--json").json["ok"]
    kit("train", "leaves", "--folds", "2", "--epochs", "1")
    kit("predict")
    submission = kit("submit", "leaves", "--dry-run", "--json").json
    assert submission["valid"]
    assert Path(submission["path"]).read_text().startswith("id,birch,maple,oak\n")


@every(OF_CONTRACT_1)
def test_its_own_tests_pass(module, tmp_path):
    """Those that docs/plugins.md had beside it."""
    from kit import testing

    testing.check_plugin(module)
    index = testing.check_dataset(module.kit_datasets()[0], tmp_path / "data")
    testing.check_loss(module.kit_losses()[0], index)
    testing.check_submission(module.kit_submissions()[0], index)
    testing.check_model(module.kit_models()[0], size=32)
