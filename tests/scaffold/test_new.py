"""`kit new`: each kind is a package that works at once, with nothing dead in it."""

import re
import subprocess
import sys

import pytest

from helpers.distributions import Environment
from kit.scaffold.new import KINDS

RULES = "E,F,W,I,B,UP,SIM,RUF,PT,C4,PIE,RET,D1,ARG"
PLURALS = {kind: f"kit_{plural}" for kind, plural in KINDS.items()} | {"command": "kit_commands"}


def made(kit, kind, name, folder):
    done = kit("new", kind, name, folder, "--json")
    return done.json["module"]


@pytest.mark.parametrize("name", ["leafy", "leaf-net_2"])
@pytest.mark.parametrize("kind", KINDS)
def test_its_files_are_clean_and_load(kit, tmp_path, kind, name):
    folder = tmp_path / "package"
    module = made(kit, kind, name, folder)
    names = sorted(path.name for path in folder.iterdir())
    assert names == ["README.md", f"{module}.py", "pyproject.toml", f"test_{module.removeprefix('kit_')}.py"]
    text = "".join(path.read_text() for path in folder.iterdir())
    assert not re.search(r"your.name|TODO|FIXME|XXX|\bpass\b", text)
    for command in (("check", "--select", RULES, "--ignore", "D107,ARG001,ARG002"), ("format", "--check")):
        done = subprocess.run(
            [
                sys.executable,
                "-m",
                "ruff",
                command[0],
                "--isolated",
                "--no-cache",
                "--line-length",
                "120",
                *command[1:],
                ".",
            ],
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
    document = kit("--plugin", folder / f"{module}.py", "plugins", "--json").json
    (plugin,) = [each for each in document["plugins"] if each["version"] == "file"]
    assert plugin["error"] is None
    assert PLURALS[kind] in plugin["hooks"]
    assert document["clashes"] == []


def install_and_test(environment, kit, folder, kinds):
    packages = {kind: made(kit, kind, f"my-{kind}", folder / kind) for kind in kinds}
    environment.install(*(folder / kind for kind in kinds))
    for kind in packages:
        environment.run("-m", "pytest", "-q", "-p", "no:cacheprovider", str(folder / kind))
        results = environment.kit_json("test-plugin", f"my-{kind}")["results"]
        assert [each for each in results if each["status"] not in ("passed", "skipped")] == []


def test_one_as_a_file_keeps_the_contract(kit, tmp_path):
    module = made(kit, "metric", "my-metric", tmp_path / "package")
    results = kit("--plugin", tmp_path / "package" / f"{module}.py", "test-plugin", module, "--json").json["results"]
    assert {"metric/polarity", "package/light-import"} <= {each["name"] for each in results}
    assert [each for each in results if each["status"] not in ("passed", "skipped")] == []


@pytest.mark.slow
def test_all_installed_pass_their_own_tests_and_those_of_kit(kit, tmp_path):
    install_and_test(Environment.create(tmp_path / "environment"), kit, tmp_path, list(KINDS))


def test_the_folder_has_a_default(kit, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "next: pip install -e kit-brier, then kit test-plugin brier" in kit("new", "metric", "brier").out
    assert (tmp_path / "kit-brier" / "kit_brier.py").is_file()
    assert "is there already" in kit("new", "metric", "brier", code=2).err


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("metric", "roc_auc"), "a metric 'roc_auc' is there already, provided by competition-kit (metrics)"),
        (("competition", "histo"), "a competition 'histo' is there already, provided by competition-kit (histopathol"),
        (("command", "train"), "a command 'train' is there already, provided by kit"),
        (("model", "timm"), "kit_timm is a plugin that kit has built in: give another name than timm"),
        (("modle", "leafy"), "'modle' is no kind of plugin: did you mean model?"),
        (("metric", "Brier Score"), "'Brier Score' is no name for a plugin"),
        (("metric", "../brier"), "'../brier' is no name for a plugin"),
    ],
)
def test_what_can_not_be_made_is_one_line(kit, tmp_path, monkeypatch, words, says):
    monkeypatch.chdir(tmp_path)
    done = kit("new", *words, code=2)
    assert says in done.err
    assert done.err.count("\n") == 1
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(("kit-", "."))]


def test_both_spellings(kit, tmp_path):
    assert kit("new", "optimizer", "lion", tmp_path / "a", "--json").json["kind"] == "optimiser"
