"""All of `make gpu` on the CPU with tiny sizes, so that the first second on a card is not spent on a typing error."""

import json
import os
import subprocess
import sys
from importlib import import_module

import pytest

from helpers import ROOT

sys.path.append(str(ROOT / "benchmarks" / "gpu"))  # the scripts there are no package
table = import_module("table")

COMMITTED = ROOT / "benchmarks" / "results" / "gpu.json"


@pytest.mark.slow
def test_every_stage_of_make_gpu_runs_to_its_end(tmp_path):
    before = COMMITTED.read_bytes()
    command = [sys.executable, str(ROOT / "benchmarks" / "gpu" / "run.py"), "--rehearsal", "--out", str(tmp_path)]
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    document = json.loads((tmp_path / "gpu.json").read_text())
    assert document["gpu"] is None
    assert "no figure is to be quoted" in document["rehearsal"]
    stages = document["stages"]
    assert {name: stage["ended"] for name, stage in stages.items()} == dict.fromkeys(
        ("right", "fast", "peaks", "whole"), "done"
    )
    figures = {name: value for stage in stages.values() for name, value in stage["figures"].items()}
    failed = {name: value for name, value in figures.items() if isinstance(value, dict) and "failed" in value}
    assert failed == {}
    assert figures.get("failures", 0) == 0, figures["failed"]

    lines = done.stdout.split("\n\n")[-2].splitlines()
    assert max(map(len, lines)) <= 80
    assert [line[: table.WIDTH].strip() for line in lines[2:]] == [row.title for row in table.ROWS]
    absent = {row.title for row in table.ROWS if row.value(document) is None}
    # Lightning, and the tests of the first stage, may not be there.
    assert {title for title in absent if "Lightning" not in title and "tests marked" not in title} == set()
    assert COMMITTED.read_bytes() == before, "a rehearsal leaves the figures alone"
