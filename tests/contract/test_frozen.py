"""Wheels that were built with an earlier kit and must go on working.

`kit_leaves-0.1.0` is the plugin of docs/plugins.md as it was when contracts had no version; 0.1.1 is the same for
contract 1, with a metric of its own under a name that kit took later. The others are examples of contract 2, which
`make freeze` builds from `examples/` where there is no wheel of them yet.
"""

import importlib
import sys
from pathlib import Path

import pytest

from helpers import ROOT
from helpers.distributions import put_on_path
from helpers.example_uses import example_names, mlflow_double, use

WHEELS = ROOT / "tests" / "contract" / "wheels"
OF_CONTRACT_1 = {"kit_leaves-0.1.0": 0, "kit_leaves-0.1.1": 1}  # each with the number of warnings
EXAMPLES = sorted({"-".join(path.stem.split("-")[:2]) for path in WHEELS.glob("*.whl")} - OF_CONTRACT_1.keys())


@pytest.fixture
def module(request, tmp_path, monkeypatch):
    """The module of a wheel that is installed for one test."""
    (wheel,) = WHEELS.glob(f"{request.param}-*.whl")
    put_on_path(wheel, tmp_path / "site", monkeypatch)
    name = request.param.partition("-")[0]
    monkeypatch.delitem(sys.modules, name, raising=False)
    yield importlib.import_module(name)
    monkeypatch.delitem(sys.modules, name)


def every(names):
    return pytest.mark.parametrize("module", names, indirect=True)


@every([pytest.param("kit_leaves-0.1.0", marks=pytest.mark.slow), "kit_leaves-0.1.1"])
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


def test_each_example_has_a_wheel():
    frozen = {name.partition("-")[0] for name in EXAMPLES}
    assert {name.replace("-", "_") for name in example_names()} <= frozen, "make freeze builds those that are missing"


@pytest.mark.slow
@every(EXAMPLES)
def test_an_example_goes_on_working(kit, module, tmp_path, monkeypatch):
    (tmp_path / "drawn").mkdir()
    with mlflow_double() as (address, _):
        monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
        use(lambda *words: kit(*words, "--json").json, module, tmp_path / "drawn")
