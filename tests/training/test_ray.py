"""Folds on Ray: the bytes of a run in turn, workers that die, errors of one line."""

import importlib.util
import multiprocessing
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
import torch

from helpers.training_runs import begin, go, learned, loop_columns, read_history
from kit.files import read_json
from kit.run import Run

needs_ray = pytest.mark.skipif(
    importlib.util.find_spec("ray") is None, reason="Ray is not installed: pip install 'competition-kit[ray]'"
)


@pytest.fixture
def on_ray(monkeypatch):
    """Start `kit train --resume RUN --on ray` with a Ray of its own, in a folder short enough for its sockets."""
    folder = Path(tempfile.mkdtemp(prefix="ray"))
    monkeypatch.setenv("RAY_TMPDIR", str(folder))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    started = []

    def start(run: Run, *arguments: str) -> subprocess.Popen:
        command = [sys.executable, "-m", "kit", "train", "--resume", run.id, "--on", "ray", *arguments]
        pipe = subprocess.PIPE
        started.append(subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, start_new_session=True))
        return started[-1]

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
            process.communicate()
    torch.set_num_threads(threads)
    shutil.rmtree(folder, ignore_errors=True)


def end(process: subprocess.Popen, code: int = 0) -> str:
    out, err = process.communicate(timeout=240)
    assert process.returncode == code, f"{process.returncode}\n{out}\n{err}"
    assert "Traceback" not in err
    return out + err


def wait_for(process: subprocess.Popen, seen) -> None:
    until = time.monotonic() + 180
    while not seen():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < until
        time.sleep(0.005)


def starts(run: Run, fold: int) -> list[tuple[int, str]]:
    """The tries of a fold, from its log: the worker's process and where it began."""
    log = run.fold_dir(fold) / "log.txt"
    text = log.read_text(encoding="utf-8") if log.is_file() else ""
    return [
        (int(m[1]), m[2]) for m in re.finditer(r" fold \d+ of .* process (\d+), .* from (the start|step \d+)\n", text)
    ]


def step(run: Run, fold: int) -> int:
    path = run.fold_dir(fold) / "checkpoint.json"
    return read_json(path)["state"]["step"] if path.is_file() else 0


def course(run: Run, fold: int) -> list[list]:
    columns = [name for name in loop_columns(run) if name not in ("seconds", "images/s")]
    return [[row[name] for name in columns] for row in read_history(run, fold)]


@needs_ray
@pytest.mark.slow
@pytest.mark.parametrize("variable", ["RAY_TMPDIR", "TMPDIR"])
def test_too_long_a_path_for_the_sockets_of_ray_is_named(store, on_ray, monkeypatch, tmp_path, variable):
    folder = tmp_path / ("long" * 25)
    folder.mkdir()
    monkeypatch.delenv("RAY_TMPDIR")
    monkeypatch.setenv(variable, str(folder))
    said = end(on_ray(begin(store)), 2)
    assert f"{variable} names {folder}" in said
    assert "RAY_TMPDIR=/tmp" in said


@needs_ray
@pytest.mark.slow
def test_the_bytes_are_those_of_a_run_in_turn(store, on_ray):
    in_turn, spread = begin(store, "folds=3"), begin(store, "folds=3")
    go(store, in_turn)
    said = end(on_ray(spread))
    assert learned(spread) == learned(in_turn)
    ours, theirs = Run.open(spread.path), Run.open(in_turn.path)
    assert ours.state == "finished"
    assert ours.record["score"] == theirs.record["score"]
    assert all(f"fold {fold}: roc_auc" in said for fold in range(3))
    for fold in range(3):
        assert course(ours, fold) == course(theirs, fold)
        assert read_json(ours.fold_dir(fold) / "result.json")["threads"] == 1
        assert starts(ours, fold)[0][1] == "the start"
        ours.reading(f"fold-{fold}/oof.npz")


@needs_ray
@pytest.mark.slow
def test_a_killed_worker_has_its_fold_tried_again_from_its_checkpoint(store, on_ray):
    recipe = ["epochs=30", "save_every=2"]
    whole, killed = begin(store, *recipe), begin(store, *recipe)
    go(store, whole)
    process = on_ray(killed)
    for tries, least in ((1, 10), (2, 60)):
        wait_for(process, lambda n=tries, s=least: len(starts(killed, 0)) == n and step(killed, 0) >= s)
        os.kill(starts(killed, 0)[-1][0], signal.SIGKILL)
    said = end(process)
    assert learned(killed) == learned(whole)
    assert course(killed, 0) == course(whole, 0)
    first, second, third = starts(killed, 0)
    assert len({first[0], second[0], third[0]}) == 3
    assert first[1] == "the start"
    assert int(second[1].removeprefix("step ")) >= 10
    assert int(third[1].removeprefix("step ")) >= 60
    assert second[1] in said
    assert len(starts(killed, 1)) == 1


@needs_ray
@pytest.mark.slow
def test_ctrl_c_saves_every_fold_and_the_run_goes_on(store, on_ray):
    recipe = ["epochs=40", "folds=3"]
    whole, stopped = begin(store, *recipe), begin(store, *recipe)
    go(store, whole)
    process = on_ray(stopped)
    wait_for(process, lambda: step(stopped, 0) >= 10)
    os.killpg(process.pid, signal.SIGINT)
    said = end(process, 130)
    assert f"kit train --resume {stopped.id}" in said
    assert Run.open(stopped.path).state == "interrupted"
    assert 0 < step(stopped, 0) < step(whole, 0)
    end(on_ray(stopped))
    assert learned(stopped) == learned(whole)
    assert all(course(stopped, fold) == course(whole, fold) for fold in range(3))
    assert starts(stopped, 0)[-1][1].startswith("step")


@needs_ray
@pytest.mark.slow
def test_only_missing_folds_are_trained_and_an_error_in_a_task_is_one_line(store, on_ray):
    run = begin(store, only_fold=1)
    go(store, run)
    trained = learned(run)
    Run.open(run.path).update(planned=[0, 1])
    (pixels,) = store.root.glob(".kit/packed/*-train-*.pixels")
    whole = pixels.read_bytes()
    pixels.write_bytes(bytes([whole[0] ^ 1]) + whole[1:])  # which only a task reads
    said = end(on_ray(run), 2)
    errors = [line for line in said.splitlines() if "error" in line.lower()]
    assert len(errors) == 1
    assert errors[0].startswith("error: ")
    assert "are damaged on this disk: kit pack" in errors[0]
    assert Run.open(run.path).state == "failed"
    pixels.write_bytes(whole)
    end(on_ray(run))
    assert Run.open(run.path).state == "finished"
    assert starts(run, 1) == []
    own = {name: digest for name, digest in trained.items() if name != "oof.npz"}
    assert own.items() <= learned(run).items()


@needs_ray
@pytest.mark.slow
def test_a_cluster_that_is_not_there_is_one_line(store, on_ray):
    said = end(on_ray(begin(store), "--address", "127.0.0.1:1"), 2)
    assert "error: no Ray at 127.0.0.1:1" in said


def test_without_ray_it_says_how_to_install_it(kit, store, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    done = kit("train", "histo", "--on", "ray", code=2)
    assert done.err.count("\n") == 1
    assert "pip install 'competition-kit[ray]'" in done.err
    assert not os.path.exists(os.environ["KIT_RUNS"])


@pytest.mark.parametrize(
    ("options", "advice"),
    [
        (["--on", "dask"], "--on ray"),
        (["--address", "10.0.0.1:6379"], "give --on ray too"),
        (["--gpus-per-fold", "1"], "give --on ray too"),
    ],
)
def test_options_that_make_no_sense_are_refused(kit, store, options, advice):
    assert advice in kit("train", "histo", *options, code=2).err
    assert not os.path.exists(os.environ["KIT_RUNS"])


def test_ray_beside_torchrun_is_refused(kit, store, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert "without torchrun" in kit("train", "histo", "--on", "ray", code=2).err


def enter_many(path: Path, worker: int) -> None:
    run = Run.open(path)
    for number in range(40):
        with run.writing(f"fold-{worker}/{number}.txt") as file:
            file.write_text(f"{worker} {number}", encoding="utf-8")


def test_processes_that_write_files_of_one_run_lose_no_entry_of_its_manifest(store):
    run = begin(store)
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=enter_many, args=(run.path, worker)) for worker in range(3)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert [writer.exitcode for writer in writers] == [0, 0, 0]
    for worker in range(3):
        for number in range(40):
            run.reading(f"fold-{worker}/{number}.txt")
