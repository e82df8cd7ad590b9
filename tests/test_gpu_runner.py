"""What `make gpu` promises, with stages of a second: a cut loses nothing, a crash stops itself alone, a table."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from importlib import import_module
from pathlib import Path

import pytest

from helpers import ROOT

GPU = ROOT / "benchmarks" / "gpu"
sys.path.append(str(GPU))  # the scripts there are no package
results, run, table, wheels, profile_text = map(import_module, ("results", "run", "table", "wheels", "profile_text"))

CARD = {"gpu": "Card 1", "torch": "2.11"}
FAKES = {
    "cut": """
        stage.note("first", 1)
        stage.note("first", 2)
        stage.note("child", subprocess.Popen(["sleep", "60"]).pid)
        stage.figures.open("a").write('["half", ')
        time.sleep(60)
    """,
    "crash": """
        stage.note("before", 3)
        raise RuntimeError("no such kernel")
    """,
    "mute": "sys.exit(3)",
    "fine": "stage.note('after', {'images/s': 5.0, 'rehearsal': stage.rehearsal})",
}


@pytest.fixture
def specs(tmp_path, monkeypatch):
    monkeypatch.setattr(run, "LEAST", 0.1)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    head = "import subprocess, sys, time\nfrom stage import Stage\nstage = Stage.of_arguments()\n"
    made = []
    for name, body in FAKES.items():
        script = tmp_path / f"{name}.py"
        script.write_text(head + "\n".join(line.strip() for line in body.strip().splitlines()))
        made.append(run.Spec(name, (sys.executable, str(script)), 20))
    return made


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(GPU), os.environ.get("PYTHONPATH", "")])}


def lives(process: int) -> bool:
    """Whether a process still runs; one that nobody has asked for its end does not."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_cut_keeps_figures_and_a_crash_stops_only_itself(specs, tmp_path, capsys):
    path = tmp_path / "out" / "gpu.json"
    made = results.Results(path, CARD, rehearsal=False)
    assert not run.run_stages(specs, made, time.monotonic() + 3 * 20 + 3.4, environment(), [])
    document = json.loads(path.read_text())
    stages = document["stages"]
    assert {name: stage["ended"] for name, stage in stages.items()} == {
        "cut": "cut after 3 s",
        "crash": "died with 1",
        "mute": "died with 3",
        "fine": "done",
    }
    child = stages["cut"]["figures"].pop("child")
    assert {name: stage["figures"] for name, stage in stages.items()} == {
        "cut": {"first": 2},
        "crash": {"before": 3},
        "mute": {},
        "fine": {"after": {"images/s": 5.0, "rehearsal": False}},
    }
    assert stages["crash"]["last lines"][-1] == "RuntimeError: no such kernel"
    assert stages["cut"]["seconds"] < 20, "it would take a minute"
    assert "no such kernel" in path.with_name("gpu-crash.log").read_text()
    assert not lives(child), "what a stage has started ends with it"
    assert "crash: died with 1" in capsys.readouterr().out


def test_no_stage_starts_once_the_time_is_up(specs, tmp_path):
    path = tmp_path / "gpu.json"
    made = results.Results(path, CARD, rehearsal=True)
    assert run.run_stages(specs, made, time.monotonic(), environment(), ["--rehearsal"])
    document = json.loads(path.read_text())
    assert {stage["ended"] for stage in document["stages"].values()} == {"not started: the time was up"}
    assert "no figure is to be quoted" in document["rehearsal"]


def test_all_takes_nine_minutes_and_each_stage_gets_its_share():
    specs = run.stages("python")
    assert [spec.name for spec in specs] == ["right", "fast", "peaks", "whole"]
    assert sum(spec.kept for spec in specs) == run.SECONDS <= 9 * 60 - 15
    assert [spec.name for spec in run.stages("python", only=["whole", "right"])] == ["right", "whole"]


KEPT = {"gpu": "Card 1", "machine": CARD, "stages": {"fast": {"figures": {"a": 1}}, "whole": {"figures": {"b": 2}}}}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (None, {"gpu": None, "not measured": "no GPU"}),
        ({"gpu": None, "not measured": "earlier"}, {"gpu": None, "not measured": "earlier"}),
        ({"gpu": None, "rehearsal": "..."}, {"gpu": None, "not measured": "no GPU"}),
        (KEPT, KEPT),
    ],
)
def test_without_a_gpu_the_file_says_not_measured_unless_a_card_was(before, after, tmp_path):
    path = tmp_path / "gpu.json"
    if before is not None:
        path.write_text(json.dumps(before))
    assert results.not_measured(path, "no GPU").startswith("not measured (no GPU): ")
    assert json.loads(path.read_text()) == after


def test_a_rehearsal_never_replaces_figures_of_a_card(tmp_path):
    path = tmp_path / "gpu.json"
    path.write_text(json.dumps(KEPT))
    with pytest.raises(SystemExit, match="holds figures of a GPU"):
        results.Results(path, {"gpu": None}, rehearsal=True)
    assert json.loads(path.read_text()) == KEPT


def test_figures_of_the_same_card_stay_until_there_are_new_ones(tmp_path):
    path = tmp_path / "gpu.json"
    path.write_text(json.dumps(KEPT))
    made = results.Results(path, CARD, rehearsal=False)
    made.note("fast", {"c": 3})
    made.end("fast", "done", 1, [])
    made.end("whole", "died with 1", 1, ["why"])
    stages = json.loads(path.read_text())["stages"]
    assert stages["fast"]["figures"] == {"c": 3}
    assert stages["whole"]["figures"] == {"b": 2}
    assert stages["whole"]["again"] == {"ended": "died with 1", "seconds": 1, "last lines": ["why"]}


def test_figures_of_another_card_go_to_a_file_of_their_own(tmp_path):
    path = tmp_path / "gpu.json"
    path.write_text(json.dumps(KEPT))
    results.Results(path, {"gpu": "Card 2"}, rehearsal=False)
    assert json.loads(path.read_text()) == {"gpu": "Card 2", "machine": {"gpu": "Card 2"}, "stages": {}}
    assert json.loads((tmp_path / "gpu_card_1.json").read_text()) == KEPT


def test_a_card_that_comes_back_finds_its_figures(tmp_path):
    path = tmp_path / "gpu.json"
    path.write_text(json.dumps(KEPT))
    other = {"gpu": "Card 2"}
    for machine in (other, CARD, other):
        made = results.Results(path, machine, rehearsal=False)
        if machine is CARD:
            made.note("fast", {"c": 3})
    kept = json.loads((tmp_path / "gpu_card_1.json").read_text())["stages"]
    assert {name: stage["figures"] for name, stage in kept.items()} == {"fast": {"c": 3}, "whole": {"b": 2}}


def nowhere(path: Path) -> None:
    path.parent.rmdir()
    path.parent.touch()


FILES = {
    "no folder": (nowhere, "can't be written \\(File exists\\): give another --out FOLDER"),
    "half a file": (lambda path: path.write_text('{"gpu": '), "can't be read .*: move it away, or give another --out"),
}


@pytest.mark.parametrize("what", FILES)
def test_a_file_of_results_that_can_not_be_used_is_named_in_one_line(what, tmp_path):
    make, said = FILES[what]
    path = tmp_path / "out" / "gpu.json"
    path.parent.mkdir()
    make(path)
    with pytest.raises(SystemExit, match=said):
        results.Results(path, CARD, rehearsal=False)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_stage_and_leaves_its_figures_its_log_and_the_table(number, tmp_path):
    (tmp_path / "slow.py").write_text(
        "import os, time\nfrom stage import Stage\nstage = Stage.of_arguments()\n"
        "print('said', flush=True)\nstage.note('process', [os.getpid()])\ntime.sleep(60)\n"
    )
    code = f"""
import run, sys
run.stages = lambda *_: [run.Spec("fast", (sys.executable, "{tmp_path}/slow.py"), 20)]
run.arguments = lambda: run.argparse.Namespace(rehearsal=True, only=None, out=run.Path("{tmp_path}"))
run.add_wheels = lambda *_: ""
run.describe = lambda *_: {{"gpu": None, "processor": "none", "torch": "none"}}
sys.exit(run.main())
"""
    command = [sys.executable, "-c", code]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, **pipes, text=True, env=environment()) as made:
        line = next(line for line in made.stdout if "process" in line)
        made.send_signal(number)
        said, errors = made.communicate(timeout=30)
    assert (made.returncode, errors) == (128 + number, "")
    assert "fast: cut by a signal" in said
    assert table.ROWS[0].title in said
    assert json.loads((tmp_path / "gpu.json").read_text())["stages"]["fast"]["ended"] == "cut by a signal"
    assert (tmp_path / "gpu-fast.log").read_text() == "said\n"
    assert not lives(int(line.split("[")[1].rstrip("]\n")))


def test_the_committed_file_names_a_card_or_says_not_measured():
    document = results.read(ROOT / "benchmarks" / "results" / "gpu.json")
    assert "rehearsal" not in document
    assert document["gpu"] or document == {"gpu": None, "not measured": document["not measured"]}


def document_with(values: dict[str, object]) -> dict:
    stages: dict[str, dict] = {}
    for row in table.ROWS:
        if row.title in values:
            figures = stages.setdefault(row.stage, {"figures": {}})["figures"]
            if row.key:
                figures.setdefault(row.name, {})[row.key] = values[row.title]
            else:
                figures[row.name] = values[row.title]
    return {"gpu": "Card 1", "stages": stages}


@pytest.mark.parametrize("value", [None, 0.0, 123_456_789.123, "compile, graphs"])
def test_the_table_has_every_row_and_fits_eighty_columns(value):
    document = document_with({} if value is None else {row.title: value for row in table.ROWS if row.wanted is None})
    lines = table.table(document)
    assert max(map(len, lines)) <= 80
    assert [line[: table.WIDTH].strip() for line in lines[2:]] == [row.title for row in table.ROWS]


# The numbers of issue 18 on both sides of their bounds.
@pytest.mark.parametrize(
    ("title", "good", "bad"),
    [
        ("resnet18 at 96 px: images/s", 40_000, 39_999),
        ("resnet50 at 224 px: images/s", 2_600, 2_599),
        ("resnet18 at 96 px: / bare loop", 0.9, 0.899),
        ("resnet50 at 224 px: / bare loop", 0.95, 0.949),
        ("resnet18 at 96 px: / DataLoader", 4.0, 3.99),
        ("resnet18 at 96 px: waiting share", 0.0199, 0.02),
        ("ViT-S/16 at 224 px: waiting share", 0.0199, 0.02),
        ("whole competition, seconds", 300, 301),
        ("tests marked gpu: failed", 0, 1),
    ],
)
def test_a_figure_that_misses_is_shown_as_missed(title, good, bad):
    for value, verdict in ((good, "ok"), (bad, "missed")):
        (line,) = (line for line in table.table(document_with({title: value})) if line.startswith(title))
        assert line.endswith(f" {verdict}")
    rehearsed = {**document_with({title: good}), "rehearsal": "..."}
    assert [line.split()[-1] for line in table.table(rehearsed) if line.startswith(title)] == ["rehearsed"]


def test_without_a_gpu_the_command_says_so_in_one_line(tmp_path):
    command = [sys.executable, str(GPU / "run.py"), "--out", str(tmp_path)]
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "TMPDIR": str(tmp_path)}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    assert done.stdout == f"not measured (no GPU on this machine): {tmp_path / 'gpu.json'} says so\n"
    assert json.loads((tmp_path / "gpu.json").read_text()) == {"gpu": None, "not measured": "no GPU on this machine"}


TESTS = """
import pytest
pytestmark = pytest.mark.gpu
def test_good(record_property): record_property("cost", 1.25)
def test_bad(): assert 2 + 2 == 5, "arithmetic"
def test_off(): pytest.skip("no bf16 here")
@pytest.fixture
def broken(): raise OSError("no disk")
def test_setup(broken): pass
"""


def test_outcomes_of_the_tests_become_figures(tmp_path):
    (tmp_path / "test_one.py").write_text(TESTS)
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers = gpu: needs a GPU\n")
    code = "import right, sys; from pathlib import Path; from stage import Stage; right.TESTS = Path(sys.argv.pop(1))\n"
    code += "sys.exit(right.main(Stage.of_arguments()))"
    figures = tmp_path / "figures"
    words = ["--figures", str(figures), "--scratch", str(tmp_path / "scratch"), "--ends", str(time.monotonic() + 300)]
    (tmp_path / "scratch").mkdir()
    command = [sys.executable, "-c", code, str(tmp_path), *words]
    done = subprocess.run(command, capture_output=True, text=True, env=environment(), cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    found = dict(json.loads(line) for line in figures.read_text().splitlines())
    own = "test_one.py"
    assert found == {
        "tests": 4,
        "passed": 1,
        "failures": 2,
        "skips": 1,
        "not reached": 0,
        "failed": {f"{own}::test_bad": "AssertionError: arithmetic", f"{own}::test_setup": "OSError: no disk"},
        "skipped": {f"{own}::test_off": "no bf16 here"},
        "measured": {f"{own}::test_good": {"cost": 1.25}},
    }


def test_gaps_are_where_nothing_runs():
    # Hand-worked: 0-4 and 3-6 overlap, 1-2 lies within, 10-12 comes after a gap of 4, 12-13 touches.
    work_of = profile_text.Work
    work = [
        work_of("a", 0, 4),
        work_of("b", 3, 6),
        work_of("a", 1, 2),
        work_of("Memcpy HtoD", 10, 12),
        work_of("a", 12, 13),
    ]
    assert profile_text.gaps(work) == (9, [(4, "Memcpy HtoD")])
    found = profile_text.summary(
        work, ["cudaLaunchKernel", "cudaLaunchKernelExC", "cudaStreamSynchronize", "aten::add"], 2
    )
    assert found["idle share"] == pytest.approx(4 / 13, abs=1e-4)
    assert found["copying share"] == pytest.approx(2 / 13, abs=1e-4)
    steps = {name: found[f"{name} a step"] for name in ("kernels", "launches", "copies", "synchronisations")}
    assert steps == {"kernels": 2, "launches": 1, "copies": 0.5, "synchronisations": 0.5}
    top = next(line for line in found["lines"] if line.endswith("  a"))
    assert top.split() == [f"{6 / 13:.2%}", "0.0030", "1.5", "a"]


def test_wheels_of_an_earlier_call_stay_until_all_new_ones_are_there(tmp_path, monkeypatch):
    def one(folder: Path) -> dict[str, Path]:
        (folder / "new.whl").touch()
        return {"new": folder / "new.whl"}

    def none(folder: Path) -> dict[str, Path]:
        one(folder)
        raise SystemExit("can't be fetched")

    monkeypatch.setattr(wheels, "FOLDER", tmp_path)
    monkeypatch.setattr(sys, "argv", ["wheels.py"])
    (tmp_path / "old.whl").touch()
    monkeypatch.setattr(wheels, "gather", none)
    with pytest.raises(SystemExit):
        wheels.main()
    assert [path.name for path in tmp_path.iterdir()] == ["old.whl"]
    monkeypatch.setattr(wheels, "gather", one)
    wheels.main()
    assert [path.name for path in tmp_path.iterdir()] == ["new.whl"]


@pytest.mark.parametrize(
    ("words", "said"),
    [("", "arguments are required: CHECKOUT"), ("/dev", "/dev is no checkout of kit"), ("/dev x", "'x'")],
)
def test_host_work_says_what_it_takes(words, said):
    command = [sys.executable, str(ROOT / "benchmarks" / "host_work.py"), *words.split()]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert said in done.stderr.splitlines()[-1]


def test_wheels_are_those_that_the_bare_machine_lacks():
    texts = [
        "numpy>=2",
        "Typing_Extensions>=4",
        "pydantic-core==2.1",
        "kaggle>=2",
        "tomli; python_version < '3.11'",
        "email-validator; extra == 'email'",
        "simsimd>=6; python_version >= '3.12'",
    ]
    assert [one.name for one in wheels.missing(texts)] == ["pydantic-core", "simsimd"]
    assert "/benchmarks/gpu/wheels/" in (ROOT / ".gitignore").read_text().splitlines()
    assert Path(wheels.FOLDER) == GPU / "wheels"
