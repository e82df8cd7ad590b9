"""Contracts with versions: the current one and the last are served, the last through a shim, with one warning."""

import pytest

from helpers import strangers
from kit.hooks.registry import Registry
from kit.plugin import CONTRACT

LOSSES = """
from kit.plugin import LossSpec, MetricSpec, hookimpl
{line}
@hookimpl
def kit_losses():
    return [LossSpec("all", build=build), LossSpec("one", build=build, tasks=("multilabel",))]

@hookimpl
def kit_metrics():
    return [MetricSpec("any", True, build), MetricSpec("{metric}", True, build)]

def build(request):
    return None

{more}
"""
OLD = ("binary", "multiclass", "multilabel")


def plugins_with(tmp_path, line, metric="mine", more=""):
    return strangers.loaded(tmp_path, LOSSES.format(line=line, metric=metric, more=more), "old", "kit_old")


def record(plugins):
    return next(plugin for plugin in plugins.records if plugin.name == "old")


@pytest.mark.parametrize(
    ("line", "contract", "says"),
    [
        ("", None, ""),
        ("KIT_CONTRACT = 2", 2, ""),
        ("KIT_CONTRACT = 1", 1, ""),
        ("KIT_CONTRACT = 0", None, "written for contract 0, and this kit serves 1 and 2: install a newer version of"),
        ("KIT_CONTRACT = -1", None, "written for contract -1"),
        ("KIT_CONTRACT = 3", None, "written for contract 3, and this kit serves 1 and 2: install a newer competition-"),
        ("KIT_CONTRACT = '2'", None, "KIT_CONTRACT is '2', not a whole number"),
        ("KIT_CONTRACT = True", None, "KIT_CONTRACT is True, not a whole number"),
    ],
)
def test_which_contracts_are_served(tmp_path, capsys, line, contract, says):
    plugin = record(plugins_with(tmp_path, line))
    warned = capsys.readouterr().err
    if says:
        assert says in plugin.error
        assert warned == ""
    else:
        assert (plugin.error, plugin.contract) == (None, contract)
        text = "warning: the plugin old of kit-old is written for contract 1"
        assert warned.count("\n") == warned.count(text) == (contract == 1)


def test_one_warning_however_much_is_used(kit, tmp_path, monkeypatch):
    strangers.use(
        monkeypatch, tmp_path, LOSSES.format(line="KIT_CONTRACT = 1", metric="mine", more=""), "old", "kit_old"
    )
    assert kit("plugins", "--json").err.count("warning") == 1


def test_the_current_contract_is_the_public_one():
    assert CONTRACT == 2


def test_tasks_left_out_are_those_that_there_were(tmp_path):
    old = Registry(plugins_with(tmp_path, "KIT_CONTRACT = 1"))
    assert old.losses.get("all").tasks == OLD
    assert old.losses.get("one").tasks == ("multilabel",)
    assert old.metrics.get("any").tasks == OLD
    new = Registry(plugins_with(tmp_path / "new", ""))
    assert new.losses.get("all").tasks == (*OLD, "ordinal", "regression")


def test_functions_called_like_later_hooks_are_its_own(tmp_path):
    more = "def kit_heads(image, box):\n    return image"
    assert record(plugins_with(tmp_path, "KIT_CONTRACT = 1", more=more)).error is None
    assert "kit_heads has no @hookimpl" in record(plugins_with(tmp_path / "new", "", more=more)).error


def test_names_that_kit_took_later_stay_its_own(tmp_path, monkeypatch):
    monkeypatch.setattr("kit.hooks.contract.NAMES_1", {"metric": frozenset({"accuracy"}), "loss": frozenset()})
    for number, line in enumerate(("KIT_CONTRACT = 1", "")):
        old = Registry(plugins_with(tmp_path / str(number), line, metric="roc_auc"))
        assert "old" in old.metrics.get("roc_auc").compute.plugin
        (first,) = old.before_kit()
        assert (first.name, first.distributions) == ("roc_auc", ("competition-kit (metrics)", "kit-old (old)"))
        both = Registry(plugins_with(tmp_path / f"both{number}", line, metric="accuracy"))
        assert "accuracy" in both.metrics.clashes
        assert both.before_kit() == []
    new = Registry(plugins_with(tmp_path / "new", "KIT_CONTRACT = 2", metric="roc_auc"))
    assert "roc_auc" in new.metrics.clashes


def test_names_of_kinds_that_came_later_clash(tmp_path):
    """A plugin that has such a hook can't be of contract 1."""
    code = "from kit.plugin import HeadSpec, hookimpl\n\n@hookimpl\ndef kit_heads():\n    return [HeadSpec('x', len)]\n"
    first = strangers.loaded(tmp_path, code, "old", "kit_old")
    registry = Registry(first)
    assert registry.heads.get("x")
    assert registry.before_kit() == []
