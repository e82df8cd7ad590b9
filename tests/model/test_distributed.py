"""Several processes train one network: the same gradients, every image once, one writer, and an end when one dies."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from helpers import little_memory, shared_training
from kit.errors import KitError
from kit.model import distributed
from kit.pixels.sampler import training_plan

SCRIPT = Path(shared_training.__file__)
TORCHRUN = [sys.executable, "-m", "torch.distributed.run"]
TRAIN = ["-m", "kit", "train", "histo", "--folds", "2", "--size", "32", "--batch-size", "16"]


def free_port() -> str:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return str(found.getsockname()[1])


def torchrun(*arguments: object, nodes: int = 1, node: int = 0, port: str = "", **options) -> subprocess.Popen:
    here = [
        "--nnodes",
        nodes,
        "--node-rank",
        node,
        "--nproc-per-node",
        2 // nodes,
        "--master-addr",
        "127.0.0.1",
        "--master-port",
        port or free_port(),
    ]
    command = [*TORCHRUN, *map(str, here), *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)


def finish(process: subprocess.Popen, code: int = 0) -> tuple[str, str]:
    out, err = process.communicate(timeout=120)
    assert (process.returncode == 0) == (code == 0), err
    return out, err


@pytest.mark.parametrize("count", [1, 2, 3, 8])
@pytest.mark.parametrize("balanced", [False, True])
def test_every_image_belongs_to_one_process(monkeypatch, count, balanced):
    weights = np.full(50, 1 / 50) if balanced else None
    plan = [batch for step in training_plan(50, 16, (0,), 2, weights, 2 * count) for batch in step]
    monkeypatch.setattr(distributed, "world_size", lambda: count)
    shares = []
    for rank in range(count):
        monkeypatch.setattr(distributed, "rank", lambda rank=rank: rank)
        shares.append([(distributed.shard(rows), distributed.shard(seeds)) for rows, seeds in plan])
    for number, (rows, seeds) in enumerate(plan):
        parts = [mine[number] for mine in shares]
        assert np.concatenate([part[0] for part in parts]).tolist() == rows.tolist()
        assert np.concatenate([part[1] for part in parts]).tolist() == seeds.tolist()
        assert min(len(part[0]) for part in parts) >= 2, "batch normalisation can't work on one image"
    if not balanced:
        assert sorted(np.concatenate([rows for rows, _ in plan]).tolist()) == list(range(50))


SETTINGS = {
    "plain": {},
    "accumulated": {"accumulate": 3},
    "balanced": {"sampler": "balanced"},
    "average": {"ema": 0.9},
    "frozen": {"freeze_epochs": 1},
    "sum": {"loss": "0.5*bce+0.5*focal", "clip": 0.5},
    "numbers": {"task": "regression", "loss": "mse", "ema": 0.9},
    "grades": {"task": "ordinal", "loss": "coral"},
}


@pytest.mark.parametrize("name", ["plain", *(pytest.param(n, marks=pytest.mark.slow) for n in list(SETTINGS)[1:])])
def test_two_processes_learn_what_one_learns(tmp_path, name):
    alone, shared = tmp_path / "alone", tmp_path / "shared"
    alone.mkdir()
    shared.mkdir()
    settings = json.dumps(SETTINGS[name])
    subprocess.run([sys.executable, SCRIPT, alone, settings], check=True)
    finish(torchrun(SCRIPT, shared, settings))
    expected = load_file(alone / "0.safetensors")
    for rank in range(2):
        found = load_file(shared / f"{rank}.safetensors")
        assert expected.keys() == found.keys()
        for key, value in expected.items():
            torch.testing.assert_close(found[key], value, rtol=1e-5, atol=1e-5)


@pytest.mark.slow
def test_processes_settle_batch_norm_together(tmp_path):
    """Each sees half of every batch; all end with the mean of both halves' statistics."""
    (tmp_path / "alone").mkdir()
    settings = json.dumps({"norm": True})
    subprocess.run([sys.executable, SCRIPT, tmp_path / "alone", settings], check=True)
    finish(torchrun(SCRIPT, tmp_path, settings))
    first, second, alone = (load_file(tmp_path / f"{name}.safetensors") for name in ("0", "1", "alone/0"))
    for name in ("norm.running_mean", "norm.running_var"):
        assert torch.equal(first[name], second[name])
        torch.testing.assert_close(first[name], alone[name], rtol=0.02, atol=0.02)


@pytest.fixture
def sample(kit, tmp_path) -> dict[str, str]:
    kit("download", "histo", "--miniature")
    return {**os.environ, "OMP_NUM_THREADS": "1"}


def test_a_run_of_two_processes_is_a_run_like_any(kit, sample):
    out, err = finish(torchrun(*TRAIN, "--epochs", 3, "--set", 'trackers=["tensorboard"]', "--json", env=sample))
    document = json.loads(out)
    assert err.count("fold 0 of 2") == 1
    assert document["score"]["ids"] == 240
    assert document["score"]["value"] > 0.8
    assert kit("evaluate", "--json").json["difference"] < 1e-5
    result = json.loads(Path(document["path"], "fold-0/result.json").read_text())
    assert result["world_size"] == 2
    assert len(list(Path(document["path"]).rglob("*.tfevents*"))) == 2, "one writer a fold"
    (run,) = kit("runs", "--json").json["runs"]
    assert run["state"] == "finished"


def test_a_batch_too_small_to_share_is_refused_once(sample):
    _, err = finish(torchrun(*TRAIN, "--batch-size", 3, env=sample), code=2)
    assert err.count("error: 2 processes can't share 3 images: --batch-size 4 or more") == 1


@pytest.mark.parametrize("count", [1, 2])
def test_of_an_error_in_one_process_one_line_is_told(tmp_path, monkeypatch, count):
    monkeypatch.setattr(distributed, "world_size", lambda: count)
    monkeypatch.setattr(distributed, "GRACE", 0)
    errors = [KitError("first", 5), KitError("second", 5)]
    raised = [distributed.first_to_end(error, tmp_path / "marker") for error in errors]
    assert raised[0] is errors[0]
    assert (raised[1] is errors[1]) == (count == 1)
    assert count == 1 or (isinstance(raised[1], SystemExit) and raised[1].code == 5)
    assert distributed.first_to_end(errors[0], tmp_path / "none" / "marker") is errors[0], "nowhere to write"


@pytest.mark.slow
def test_one_process_out_of_memory_ends_all_with_one_line_and_they_can_go_on_in_parts(kit, sample):
    tiny = ["--epochs", 1, "--model", "small_cnn", "--no-pretrained", "--fold", 0]
    with_little = [Path(little_memory.__file__), 1, 4, *TRAIN[2:]]
    _, err = finish(torchrun(*with_little, *tiny, env=sample), code=5)
    # Where torchrun is quicker than the other process, that one is ended by its signal.
    lines = [line for line in err.splitlines() if line.startswith("error: ")]
    (line,) = [line for line in lines if line != "error: ended by SIGTERM"]
    (run,) = Path(os.environ["KIT_RUNS"]).iterdir()
    assert line.startswith(f"error: process 1 of 2: {little_memory.SAID} for 8 images at once, its share of a batch: ")
    assert line.endswith(f"; let all processes end, then kit train --resume {run.name} goes on")
    assert "OutOfMemoryError" not in err
    kit("train", "--resume", run.name)
    result = json.loads((run / "fold-0/result.json").read_text().rpartition("\n")[0])
    assert result["parts"] == 2


def worker(torchrun: subprocess.Popen, rank: int) -> int:
    for path in Path(f"/proc/{torchrun.pid}/task/{torchrun.pid}/children").read_text().split():
        if f"\0RANK={rank}\0".encode() in Path(f"/proc/{path}/environ").read_bytes():
            return int(path)
    raise AssertionError("no such worker")


def start_and_wait_for_a_checkpoint(sample: dict[str, str]) -> tuple[subprocess.Popen, Path]:
    process = torchrun(*TRAIN, "--epochs", 200, "--set", "save_every=5", env=sample, start_new_session=True)
    runs = Path(os.environ["KIT_RUNS"])
    while not list(runs.glob("*/fold-0/checkpoint.json")):
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    return process, next(runs.iterdir())


@pytest.mark.slow
@pytest.mark.parametrize("dies", [0, 1])
def test_a_dying_worker_ends_the_run_with_one_line_and_it_can_be_resumed(kit, sample, dies):
    process, run = start_and_wait_for_a_checkpoint(sample)
    os.kill(worker(process, dies), signal.SIGKILL)
    _, err = finish(process, code=1)
    lines = [line for line in err.splitlines() if "error:" in line and "lost another one" in line]
    assert len(lines) == 1
    assert f"kit train --resume {run.name}" in lines[0]
    (row,) = kit("runs", "--json").json["runs"]
    assert row["state"] in ("failed", "stopped")
    step = json.loads((run / "fold-0/checkpoint.json").read_text())["last"]["step"]
    assert step >= 5
    again = torchrun("-m", "kit", "train", "--resume", run.name, env=sample, start_new_session=True)
    assert "interrupted; everything so far is saved" in stop_soon(again, run, step)


def stop_soon(process: subprocess.Popen, run: Path, step: int) -> str:
    """Wait until it has gone on from that step, ask it to stop, and give what it says."""
    while json.loads((run / "fold-0/checkpoint.json").read_text())["last"]["step"] <= step:
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGTERM)
    return finish(process, code=130)[1]


@pytest.mark.slow
def test_stopping_saves_first(kit, sample):
    process, run = start_and_wait_for_a_checkpoint(sample)
    err = stop_soon(process, run, 0)
    assert err.count("interrupted; everything so far is saved") == 1
    assert kit("runs", "--json").json["runs"][0]["state"] == "interrupted"


@pytest.mark.slow
def test_two_nodes(kit, sample):
    port = free_port()
    both = [torchrun(*TRAIN, "--epochs", 2, "--json", nodes=2, node=node, port=port, env=sample) for node in range(2)]
    outs = [finish(process)[0] for process in both]
    assert sorted(bool(out) for out in outs) == [False, True]
    assert json.loads(max(outs))["score"]["ids"] == 240
