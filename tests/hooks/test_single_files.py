"""Plugins that are one file: named by the person, loaded like any other, found by processes that are started."""

import json
import multiprocessing
import os
import subprocess
import sys

import pytest

from helpers.strangers import leaves
from kit.hooks.registry import Registry
from kit.hooks.single_files import VARIABLE

METRIC = """
from kit.plugin import MetricSpec, hookimpl

@hookimpl
def kit_metrics():
    return [MetricSpec("{name}", True, compute)]

def compute(target, prediction):
    return 1.0
"""


def written(folder, name, code):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(code)
    return folder / name


@pytest.fixture
def file(tmp_path, request):
    """A plugin file whose name no other test has: what is imported stays in this process."""
    name = f"one_{abs(hash(request.node.nodeid)) % 10**9}"
    return written(tmp_path / "notes", f"{name}.py", METRIC.format(name="leafy"))


def listed(kit, *words):
    return {row["name"]: row for row in kit(*words, "plugins", "--json").json["plugins"]}


def test_the_option_and_the_variable_load_a_file(kit, file, monkeypatch):
    assert listed(kit, "--plugin", file)[file.stem] | {"hooks": None} == {
        "name": file.stem,
        "distribution": str(file),
        "version": "file",
        "hooks": None,
        "error": None,
        "contract": None,
    }
    assert VARIABLE not in os.environ, "the option is for one command"
    assert file.stem not in listed(kit)
    monkeypatch.setenv(VARIABLE, str(file))
    assert file.stem in listed(kit)
    assert [name for name in listed(kit, f"--plugin={file}") if name == file.stem], "twice the same file is one"
    assert [path.name for path in file.parent.iterdir()] == [file.name], "nothing is written beside it"


def test_nothing_is_loaded_from_the_working_folder_unasked(kit, file, monkeypatch):
    monkeypatch.chdir(file.parent)
    assert file.stem not in listed(kit)
    monkeypatch.setenv("PYTHONPATH", str(file.parent))
    assert file.stem not in listed(kit)


def test_several_files_and_relative_paths(kit, file, monkeypatch):
    other = written(file.parent / "deep", f"{file.stem}_b.py", METRIC.format(name="bushy"))
    monkeypatch.chdir(file.parent)
    found = listed(kit, "--plugin", file.name, "--plugin", f"deep/{other.name}")
    assert {file.stem, other.stem} <= set(found)
    monkeypatch.setenv(VARIABLE, f"{file.name}{os.pathsep}deep/{other.name}")
    assert {file.stem, other.stem} <= set(listed(kit))


HOOK = "from kit.plugin import hookimpl\n\n\n@hookimpl\ndef "


@pytest.mark.parametrize(
    ("name", "code", "says"),
    [
        ("bad_syntax.py", "import os\ndef f(:\n", "SyntaxError: invalid syntax (bad_syntax.py, line 2) at {path}:2"),
        ("bad_import.py", "\nimport nothing_like_this", "No module named 'nothing_like_this' at {path}:2"),
        ("bad_exit.py", "raise SystemExit(3)", "SystemExit: 3 at {path}:1"),
        (
            "bad_nul.py",
            "a = 1\0",
            "it is no source of Python (source code string cannot contain null bytes): give a text",
        ),
        ("bad_hook.py", "def kit_metrics():\n    return []", "kit_metrics has no @hookimpl above it at {path}:1"),
        ("typed_wrong.py", f"{HOOK}kit_loses():\n    return []", "kit_loses is no hook: did you mean kit_losses"),
        ("no_hook.py", "from kit.plugin import hookimpl\n", "it has none of the hooks, with @hookimpl above: kit_"),
        ("numpy.py", "", "numpy.py is called like a module that can be imported"),
        ("kit.py", "", "kit.py is called like a module that can be imported"),
        ("two words.py", "", "two words.py is no name of a module"),
        ("notes.ipynb", "{{}}", "notes.ipynb is no name of a module"),
        ("gone.py", None, "is not there: check its path"),
        ("folder.py", "folder", "is a folder: give the .py file in it"),
    ],
)
def test_a_file_that_can_not_be_used_is_one_line(kit, tmp_path, monkeypatch, name, code, says):
    path = tmp_path / name
    if code == "folder":
        path.mkdir()
    elif code is not None:
        path.write_text(code)
    done = kit("--plugin", path, "list", code=2)
    assert done.out == ""
    assert done.err.startswith("error: the plugin file ")
    assert says.format(path=path) in done.err
    assert done.err.count("\n") == 1
    monkeypatch.setenv(VARIABLE, str(path))
    assert "histopathology" in kit("list").out, "one that the environment names stops only itself"
    listed = kit("plugins").out
    assert str(path) in listed
    assert says.format(path=path) in listed


def test_where_the_option_stands(kit, file):
    for words in (("list", "--plugin", file), ("plugins", "--plugin", file)):
        done = kit(*words, code=2)
        assert "--plugin" in done.err
        assert done.err.count("\n") == 1
    assert "kit --plugin FILE.py" in kit("list", "--plugin", file, code=2).err
    kit("--plugin", code=2)
    assert "--plugin" in kit("--help").out


def test_two_files_of_one_name(kit, file):
    other = written(file.parent / "deep", file.name, METRIC.format(name="bushy"))
    done = kit("--plugin", file, "--plugin", other, "list", code=2)
    assert "is called like another plugin file: rename it" in done.err


def test_a_clash_names_both(kit, file):
    file.write_text(METRIC.format(name="roc_auc"))
    (clash,) = kit("--plugin", file, "plugins", "--json").json["clashes"]
    assert clash["distributions"] == [f"{file} ({file.stem})", "competition-kit (metrics)"]


def test_an_error_in_a_function_names_file_and_line(file, monkeypatch):
    file.write_text(METRIC.format(name="leafy").replace("return 1.0", "return target + nothing"))
    monkeypatch.setenv(VARIABLE, str(file))
    with pytest.raises(Exception, match=f"failed at {file}:9 .NameError"):
        Registry().metrics.get("leafy").compute(0, 0)


def _computed(pipe, function):
    pipe.put(function(None, None))


def test_a_spawned_process_finds_what_it_is_given(file, monkeypatch):
    """By name, as pickle does it: the file's folder is on no path."""
    monkeypatch.setenv(VARIABLE, str(file))
    function = Registry().metrics.get("leafy").compute
    context = multiprocessing.get_context("spawn")
    pipe = context.SimpleQueue()
    process = context.Process(target=_computed, args=(pipe, function))
    process.start()
    assert pipe.get() == 1.0
    process.join()


def test_a_started_kit_finds_it_from_another_folder(file, tmp_path, monkeypatch):
    """The option is handed to processes that a command starts: here by a command of the plugin itself."""
    file.write_text(
        "import json, subprocess, sys\n"
        "from kit.plugin import hookimpl\n\n"
        "@hookimpl\n"
        "def kit_commands(app):\n"
        "    app.command('again')(again)\n\n"
        "def again():\n"
        "    done = subprocess.run([sys.executable, '-m', 'kit', 'plugins', '--json'], cwd='/', capture_output=True)\n"
        "    print([p['distribution'] for p in json.loads(done.stdout)['plugins'] if p['version'] == 'file'])\n"
    )
    monkeypatch.chdir(file.parent)
    command = [sys.executable, "-m", "kit", "--plugin", file.name, "again"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str([str(file)])


def test_a_run_says_which_file_it_needs(kit, tmp_path, monkeypatch):
    file = written(tmp_path / "notes", "one_leaves.py", leaves())
    plugin = ("--plugin", file)
    kit(*plugin, "download", "leaves", "--miniature")
    kit(*plugin, "train", "leaves", "--folds", "2", "--epochs", "1")
    kit(*plugin, "predict")
    assert kit(*plugin, "submit", "--dry-run", "--json").json["valid"]
    error = kit("predict", code=2).err
    assert f"the run was made with a plugin file: give it first, kit --plugin {file} ..." in error
    monkeypatch.setenv(VARIABLE, str(file))
    kit("predict")
    (run,) = (tmp_path / "runs").iterdir()
    assert json.loads((run / "run.json").read_text())["plugin_files"] == [str(file)]


def test_ray_hands_it_over(monkeypatch):
    from kit.training import on_ray

    monkeypatch.setenv(VARIABLE, "/somewhere/leaves.py")
    assert on_ray._environment(1, 0)[VARIABLE] == "/somewhere/leaves.py"
