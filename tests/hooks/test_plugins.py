"""Plugins as real distributions: a broken one stops nothing but itself, and clashes name both sides."""

import importlib
import json
import tomllib

import pytest

from helpers import ROOT
from helpers.distributions import Environment, write_documented_project, write_project
from kit.cli.app import make_app
from kit.hooks.manager import Plugins

HEALTHY = '''
from kit.plugin import ModelSpec, hookimpl

@hookimpl
def kit_models():
    return [ModelSpec("{model}", build=lambda request: None)]

@hookimpl
def kit_commands(app):
    @app.command("hello-{model}")
    def hello():
        """Greet."""
        print("hello from {model}")
'''
HOOK = "from kit.plugin import hookimpl\n@hookimpl\ndef {signature}:\n    {body}\n"
BROKEN = {
    "raises": ("import nothing_like_this", "ModuleNotFoundError: No module named 'nothing_like_this'"),
    "exits": ("import sys; sys.exit('no GPU, no service')", "SystemExit: no GPU, no service"),
    "signature": (HOOK.format(signature="kit_models(colour)", body="return []"), "colour"),
    "unknown": (HOOK.format(signature="kit_modles()", body="return []"), "kit_modles"),
    "types": (HOOK.format(signature="kit_models()", body="return ['resnet']"), "a list with str, not ModelSpec"),
    "nothing": (HOOK.format(signature="kit_losses()", body="pass"), "returned NoneType, not a list of LossSpec"),
    "hook-raises": (HOOK.format(signature="kit_metrics()", body="raise OSError('two\\nlines')"), "OSError: two lines"),
    "hook-exits": (HOOK.format(signature="kit_metrics()", body="raise SystemExit(3)"), "SystemExit: 3"),
    "command-exits": (HOOK.format(signature="kit_commands(app)", body="raise SystemExit(3)"), "SystemExit: 3"),
    "command-thief": (
        HOOK.format(signature="kit_commands(app)", body="app.command('train')(print)"),
        "the command 'train' is already provided by competition-kit",
    ),
    "no-list": (HOOK.format(signature="kit_competitions()", body="yield 1"), "returned generator"),
}
BUILT_IN = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]["kit"])


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    folder = tmp_path_factory.mktemp("plugins")
    projects = [write_project(folder / name, f"kit-{name}", code, name) for name, (code, _) in BROKEN.items()]
    for name, model, entry in (
        ("healthy", "healthy_net", "healthy"),
        ("twin-a", "twin_net", "twin-a"),
        ("twin-b", "twin_net", "twin-b"),
        ("same-a", "same_a", "same"),
        ("same-b", "same_b", "same"),
        ("thief", "resnet18", "thief"),
    ):
        projects.append(write_project(folder / name, f"kit-{name}", HEALTHY.format(model=model), entry, "2.1"))
    environment = Environment.create(folder / "environment")
    environment.install(*projects)
    return environment


@pytest.fixture(scope="module")
def document(environment):
    return environment.kit_json("plugins")


def by_distribution(document):
    return {plugin["distribution"]: plugin for plugin in document["plugins"] if plugin["name"] not in BUILT_IN}


def test_all_are_listed(document):
    assert {plugin["name"] for plugin in document["plugins"]} >= BUILT_IN
    found = by_distribution(document)
    assert len(found) == len(BROKEN) + 6
    assert found["kit-healthy"] == {
        "name": "healthy",
        "version": "2.1",
        "distribution": "kit-healthy",
        "hooks": ["kit_commands", "kit_models"],
        "error": None,
        "contract": None,
    }


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_one_is_listed_with_its_reason(document, name):
    plugin = by_distribution(document)[f"kit-{name}"]
    assert BROKEN[name][1] in plugin["error"]
    assert "\n" not in plugin["error"]
    assert plugin["version"] == "1.0"


def test_two_distributions_with_one_entry_point_name_both_stand(document):
    found = by_distribution(document)
    assert found["kit-same-a"]["name"] == found["kit-same-b"]["name"] == "same"
    assert found["kit-same-a"]["error"] is found["kit-same-b"]["error"] is None


def test_clashes_name_both_distributions(document, environment):
    clashes = {clash["name"]: clash for clash in document["clashes"]}
    assert set(clashes) == {"twin_net", "resnet18"}
    assert clashes["twin_net"]["distributions"] == ["kit-twin-a (twin-a)", "kit-twin-b (twin-b)"]
    assert clashes["resnet18"]["distributions"] == ["competition-kit (torchvision)", "kit-thief (thief)"]
    lines = environment.kit("plugins").stdout.splitlines()
    assert any(line.startswith("clash: model 'twin_net' is provided by kit-twin-a") for line in lines)
    assert any(line.startswith("broken: raises of kit-raises 1.0: ModuleNotFoundError") for line in lines)


def test_everything_else_goes_on_working(environment):
    listed = environment.kit("list")
    assert "histopathology" in listed.stdout
    assert "kit plugins" in listed.stderr
    assert environment.kit("hello-healthy_net").stdout == "hello from healthy_net\n"
    assert "hello-same_b" in environment.kit("--help").stdout
    assert "cross-validated score" in environment.kit("train", "--help").stdout


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [("", set()), ("healthy", {"kit-healthy"}), ("same,kit-raises", {"kit-same-a", "kit-same-b", "kit-raises"})],
)
def test_choosing_third_party_plugins(environment, chosen, expected):
    document = environment.kit_json("plugins", KIT_PLUGINS=chosen)
    assert set(by_distribution(document)) == expected
    assert {plugin["name"] for plugin in document["plugins"]} >= BUILT_IN
    assert document["clashes"] == []


def test_built_ins_alone_are_in_order(kit):
    document = kit("plugins", "--json").json
    assert {plugin["name"] for plugin in document["plugins"]} == BUILT_IN
    assert document["clashes"] == []
    assert all(plugin["error"] is None for plugin in document["plugins"])


def test_the_documented_command(tmp_path, monkeypatch, capsys):
    project = write_documented_project(tmp_path / "project")
    monkeypatch.syspath_prepend(project)
    plugins = Plugins()
    plugins.add(importlib.import_module("kit_count"), "count", "kit-count", "1.0")
    make_app(plugins)(["count-files", str(project), "--json"], standalone_mode=False)
    assert json.loads(capsys.readouterr().out) == {"folder": str(project), "files": len(list(project.glob("*.*")))}


def test_a_package_without_an_entry_point_is_named(tmp_path, monkeypatch, kit):
    info = tmp_path / "site" / "kit_bare-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: kit-bare\nVersion: 1.0\n")
    monkeypatch.syspath_prepend(str(info.parent))
    for words in (("test-plugin", "bare"), ("test-plugin", "kit-bare"), ("train", "bare"), ("info", "kit-bare")):
        error = kit(*words, code=2).err
        assert "the package kit-bare is installed, but has no entry point of the group kit: add [project" in error
        assert error.count("\n") == 1
