"""Commands that run no network never import torch, which takes seconds."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from helpers.hand_made_runs import hand_made_run
from kit_ham10000 import miniature

HEAVY = {"torch", "torchvision", "timm", "albumentations"}
CODE = """
import json, sys
from kit.cli.app import main
try:
    main(sys.argv[1:])
except SystemExit as end:
    assert not end.code, end.code
print("loaded", json.dumps(sorted({name.split(".")[0] for name in sys.modules})))
"""


def loaded_by(*arguments: str) -> set[str]:
    """The packages that a command loads."""
    done = subprocess.run([sys.executable, "-c", CODE, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return set(json.loads(done.stdout.splitlines()[-1].removeprefix("loaded ")))


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """The miniature of HAM10000 with four runs: two of all ids, two of one half each."""
    folder = tmp_path_factory.mktemp("world")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KIT_DATA", str(folder / "data"))
        patch.setenv("KIT_RUNS", str(folder / "runs"))
        patch.setenv("KIT_PLUGINS", "")
        assert loaded_by("download", "ham10000", "--miniature") & HEAVY == set()
        runs = [hand_made_run("ham10000", seed, half).id for seed, half in ((0, None), (1, None), (2, 0), (3, 1))]
        yield folder, *runs


COMMANDS = {
    "list": ["list"],
    "info": ["info", "ham10000"],
    "check": ["check", "ham10000"],
    "explore": ["explore", "ham10000"],
    "folds": ["folds", "ham10000", "--folds", "3", "--verify"],
    "split-files": ["split-files", "{images}", "{out}", "--splits", "2"],
    "runs": ["runs"],
    "log": ["log", "ham10000"],
    "thresholds": ["thresholds", "{one}"],
    "submit": ["submit", "{one}", "--dry-run"],
    "grade": ["grade", "ham10000", "--truth", "{truth}", "--run", "{one}"],
    "pseudo-label": ["pseudo-label", "{one}", "--min-confidence", "0.5"],
    "report": ["report", "{one}", "--text"],
    "blend": ["blend", "{one}", "{two}"],
    "join": ["join", "{first}", "{second}"],
}


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_that_runs_no_network_loads_no_torch(world, command, monkeypatch, tmp_path):
    folder, one, two, first, second = world
    monkeypatch.setenv("KIT_DATA", str(folder / "data"))
    monkeypatch.setenv("KIT_RUNS", str(folder / "runs"))
    data = folder / "data" / os.listdir(folder / "data")[0]
    truth = tmp_path / "truth.csv"
    if command == "grade":
        assert loaded_by("submit", one, "--dry-run") & HEAVY == set()
        miniature.test_truth(0).to_csv(truth, index=False)
    names = {"images": images_of(data), "out": tmp_path / "out", "truth": truth}
    names |= {"one": one, "two": two, "first": first, "second": second}
    loaded = loaded_by(*[word.format(**names) for word in COMMANDS[command]])
    assert "kit" in loaded
    assert loaded & HEAVY == set()


def images_of(data: Path) -> Path:
    return next(path.parent for path in sorted(data.rglob("*.jpg")))


def test_help_of_every_command_loads_nothing_heavy():
    from kit.cli.app import COMMANDS as BUILT_IN

    code = "from kit.cli.app import main, COMMANDS\nimport contextlib, io\n" + (
        "for name in COMMANDS:\n"
        "    with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):\n"
        "        main([name, '--help'])\n"
        "import sys; print(*{name.split('.')[0] for name in sys.modules})\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) & (HEAVY | {"numpy", "pandas", "sklearn", "matplotlib"}) == set()
    assert len(BUILT_IN) > 25
