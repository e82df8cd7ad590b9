"""A plugin stops only itself, whatever it raises, prints, or never ends, and whatever it calls itself or its things."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import tomllib
from importlib.metadata import EntryPoint
from pathlib import Path
from types import SimpleNamespace

import pytest
import typer

from helpers import ROOT
from kit.cli.app import make_app
from kit.errors import Ended
from kit.hooks import leash, manager
from kit.hooks.learning import ModelSpec
from kit.hooks.manager import Plugins
from kit.hooks.names import wrong_name
from kit.hooks.registry import Registry
from kit.hooks.specs import Competition, DatasetSpec
from kit.plugin import hookimpl

FACTS = {"name": "x", "title": "X", "slug": "x", "task": "binary", "metric": "m", "dataset": "d", "submission": "s"}


def distribution(folder: Path, name: str, entries: str, code: str, module: str = "stranger") -> Path:
    """What pip would have installed: a module and its metadata."""
    info = folder / f"{name.replace('-', '_')}-9.9.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 9.9\n")
    (info / "entry_points.txt").write_text(entries)
    (folder / f"{module}.py").write_text(code)
    return folder


def kit(folder: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(folder), *(str(ROOT / part) for part in ("", "plugins", "competitions"))])
    given = {key: value for key, value in os.environ.items() if key != "KIT_PLUGINS"} | {"PYTHONPATH": path}
    return subprocess.run(
        [sys.executable, "-m", "kit", *arguments], env=given | variables, capture_output=True, text=True, timeout=60
    )


def test_the_list_of_built_ins_is_that_of_the_entry_points():
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]["kit"]
    assert sorted(declared.values()) == list(manager.BUILT_IN_MODULES)
    assert {module.removeprefix("kit_").replace("_", "-") for module in declared.values()} == set(declared)


def test_a_thread_that_a_plugin_left_does_not_keep_kit_from_ending(tmp_path):
    code = "import threading, time\nthreading.Thread(target=time.sleep, args=(600,)).start()\n"
    done = kit(distribution(tmp_path, "sleeper", "[kit]\nsleeper = stranger\n", code), "list", "--json")
    assert done.returncode == 0
    assert len(json.loads(done.stdout)["competitions"]) == 4


@pytest.mark.parametrize("name", ["competition-kit", "Competition_Kit"])
def test_a_package_that_calls_itself_like_kit_is_a_stranger(tmp_path, name):
    folder = distribution(tmp_path, name, "[kit]\ntimm = stranger\n", "print('I run')\n")
    none = kit(folder, "plugins", "--json", KIT_PLUGINS="")
    assert "I run" not in none.stdout + none.stderr
    assert {plugin["distribution"] for plugin in json.loads(none.stdout)["plugins"]} == {"competition-kit"}
    assert len(json.loads(none.stdout)["plugins"]) == len(manager.BUILT_IN_MODULES)
    both = kit(folder, "plugins", "--json")
    assert "I run" in both.stderr, "what is printed at import goes to stderr"
    assert str(folder) in "".join(plugin["distribution"] for plugin in json.loads(both.stdout)["plugins"])
    assert all(plugin["error"] is None for plugin in json.loads(both.stdout)["plugins"])


@pytest.mark.parametrize("entries", ["[kit]\nnonsense\n", "[kit]\n= \n", "[kit]\nx = \n", "[kit]\nx = a b:c d\n"])
def test_entry_points_that_can_not_be_read_stop_nothing_else(tmp_path, entries):
    done = kit(distribution(tmp_path, "broken-one", entries, ""), "list", "--json")
    assert done.returncode == 0, done.stderr
    assert len(json.loads(done.stdout)["competitions"]) == 4
    said = json.loads(kit(tmp_path, "plugins", "--json").stdout)["plugins"]
    assert [plugin["error"] for plugin in said if plugin["distribution"] == "broken-one"] != [None]


@pytest.mark.parametrize(
    "code",
    [
        "raise KeyboardInterrupt",
        "raise GeneratorExit",
        "raise SystemExit(3)",
        "class Own(BaseException): pass\nraise Own('x')",
        "class Mute(Exception):\n    def __str__(self): raise ValueError\nraise Mute",
        "class Own(BaseException):\n    def __str__(self): raise self\nraise Own",
        "import sys; sys.setrecursionlimit(60)",
        "import os; os.write(1, b'C code'); os.system('echo a program'); raise MemoryError",
        "def f(): f()\nf()",
        "def __getattr__(name): raise BaseException(name)\n__path__ = 3\nraise BaseException",
    ],
)
def test_what_an_import_raises_or_prints_stops_only_it(tmp_path, code):
    done = kit(distribution(tmp_path, "bad", "[kit]\nbad = stranger\n", code), "list", "--json")
    assert done.returncode == 0, done.stderr
    assert len(json.loads(done.stdout)["competitions"]) == 4
    assert "Traceback" not in done.stderr


def sleeps():
    time.sleep(100)


def loops():
    while True:
        pass


def swallows():
    for _ in range(2):
        with contextlib.suppress(BaseException):
            time.sleep(100)
    time.sleep(100)


class Describes(Exception):
    """An error whose description takes for ever."""

    def __str__(self) -> str:
        loops()
        return ""


def raises():
    raise Describes


@pytest.mark.parametrize("hang", [sleeps, loops, swallows, raises])
def test_a_hook_that_hangs_is_named_and_the_rest_goes_on(monkeypatch, hang):
    monkeypatch.setattr(leash, "LIMIT", 0.2)
    monkeypatch.setattr(leash, "AGAIN", 0.1)
    plugins = Plugins()
    plugins.add(SimpleNamespace(kit_models=hookimpl(lambda: hang())), "slow", "kit-slow", "1")
    good = SimpleNamespace(kit_models=hookimpl(lambda: [ModelSpec("good", build=print)]))
    plugins.add(good, "good", "kit-good", "1")
    assert [spec.name for spec in Registry(plugins).models] == ["good"]
    errors = {record.name: record.error for record in plugins.records}
    assert errors["good"] is None
    assert "it does not end" in errors["slow"]
    assert signal.getitimer(signal.ITIMER_REAL)[0] == 0


def test_one_that_can_not_be_stopped_ends_kit_with_one_line(tmp_path):
    stubborn = "import time\nwhile True:\n    try: time.sleep(100)\n    except BaseException: pass\n"
    folder = distribution(tmp_path, "stubborn", "[kit]\nstubborn = stranger\n", stubborn)
    code = (
        "import sys; from kit.hooks import leash; leash.LIMIT, leash.AGAIN = 0.3, 0.1\n"
        "from kit.cli.app import main; main(['list'])"
    )
    path = os.pathsep.join([str(folder), *(str(ROOT / part) for part in ("", "plugins", "competitions"))])
    given = {key: value for key, value in os.environ.items() if key != "KIT_PLUGINS"} | {"PYTHONPATH": path}
    done = subprocess.run([sys.executable, "-c", code], env=given, capture_output=True, text=True, timeout=30)
    assert done.returncode == 2
    assert done.stderr.startswith("error: the plugin 'stubborn' of stubborn does not end")
    assert done.stderr.count("\n") == 1


def test_the_persons_ctrl_c_passes():
    def press():
        raise Ended(signal.SIGINT)

    with pytest.raises(Ended):
        leash.leashed("a", press)


NAMES = [
    "../x",
    "/etc",
    "a/../../b",
    "",
    " ",
    "a\nb",
    "a\0b",
    "\x1b[2J",
    "a\u202eb",
    ".kit",
    "-x",
    "~",
    "a\\b",
    "x" * 300,
]
NOT_NAMES = [None, 3, b"x", ["x"], ("x",)]


@pytest.mark.parametrize("name", [*NAMES, *NOT_NAMES], ids=ascii)
@pytest.mark.parametrize("field", ["name", "slug", "aliases", "dataset", "metric", "submission"])
def test_names_that_would_leave_their_folder_are_refused(name, field):
    value = (name,) if field == "aliases" else name
    facts = SimpleNamespace(kit_competitions=hookimpl(lambda: [Competition(**{**FACTS, field: value})]))
    plugins = Plugins()
    plugins.add(facts, "bad", "kit-bad", "1")
    assert list(Registry(plugins).competitions) == []
    (record,) = plugins.records
    assert ("alias" if field == "aliases" else f"the {field} ") in record.error
    assert record.error.isprintable()


@pytest.mark.parametrize("name", [*NAMES, *NOT_NAMES, "a/b/c"], ids=ascii)
def test_names_of_other_specs_are_held_to_the_same(name):
    specs = SimpleNamespace(
        kit_datasets=hookimpl(lambda: [DatasetSpec(name, 3, print, print)]),
        kit_models=hookimpl(lambda: [ModelSpec(name, print)]),
    )
    plugins = Plugins()
    plugins.add(specs, "bad", "kit-bad", "1")
    registry = Registry(plugins)
    assert list(registry.models) == list(registry.datasets) == []


@pytest.mark.parametrize("name", ["timm/*", "owner/name", "resnet50", "My net (2)", "größe", "a.b+c"])
def test_ordinary_names_are_taken(name):
    assert wrong_name(name, 1) == ""


@pytest.mark.parametrize("value", ["ab", 3, {"a"}, (3,)])
def test_aliases_must_be_a_tuple_of_names(value):
    plugins = Plugins()
    facts = hookimpl(lambda: [Competition(**FACTS, aliases=value)])
    plugins.add(SimpleNamespace(kit_competitions=facts), "bad", "kit-bad", "1")
    assert list(Registry(plugins).competitions) == []


def group(app, name):
    inner = typer.Typer()
    inner.command("train")(lambda: None)
    inner.command("other")(lambda: None)
    app.add_typer(inner, name=name)


def odd(app):
    def command(value: int | str) -> None:
        """Take what typer can't parse."""

    app.command("odd")(command)


@pytest.mark.parametrize(
    ("add", "said"),
    [
        (lambda app: app.command("train")(lambda: None), "'train' is already provided by competition-kit"),
        (lambda app: group(app, "train"), "'train' is already provided by competition-kit"),
        (lambda app: group(app, None), "'train' is already provided by competition-kit"),
        (lambda app: group(app, "split-files"), "'split-files' is already provided by competition-kit"),
        (lambda app: app.command("../x")(lambda: None), "has a slash"),
        (lambda app: app.command("--json")(lambda: None), "begins with one of"),
        (lambda app: app.command("\x1b[2J")(lambda: None), "no name may have"),
        (odd, "Union"),
    ],
)
def test_a_command_or_group_that_can_not_be_added(add, said):
    plugins = manager.load_plugins()
    plugins.add(SimpleNamespace(kit_commands=hookimpl(lambda app: add(app))), "thief", "kit-thief", "1")
    app = make_app(plugins)
    assert [said in (record.error or "") for record in plugins.records if record.name == "thief"] == [True]
    command = typer.main.get_command(app)
    assert "cross-validated score" in command.commands["train"].get_help(typer.Context(command.commands["train"]))


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("no_such_module", "'odd = no_such_module' names nothing (ModuleNotFoundError: No module named"),
        ("there.nothing", "'odd = there.nothing' names nothing (ModuleNotFoundError: "),
        ("there:nothing", "'odd = there:nothing' names nothing (AttributeError: "),
        ("needs", "ModuleNotFoundError: No module named 'no_such_module' at {folder}/needs.py:1"),
    ],
)
def test_an_entry_point_that_names_nothing_is_told_from_a_module_that_fails(tmp_path, monkeypatch, value, said):
    (tmp_path / "there.py").touch()
    (tmp_path / "needs.py").write_text("import no_such_module")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("KIT_PLUGINS", "odd")
    monkeypatch.setattr("kit.hooks.manager.entry_points", lambda group: [EntryPoint("odd", value, group)])
    (error,) = [plugin.error for plugin in manager.load_plugins().records if plugin.name == "odd"]
    assert said.format(folder=tmp_path) in error
