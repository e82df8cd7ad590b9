"""Train folds in parallel on Ray: a task trains a fold, with the bytes of a sequential run on as many threads.

Only the driver, the process of `kit train`, holds the run's lock and writes `run.json`. A task writes only
into `fold-<k>/`, its log into `fold-<k>/log.txt`. If a worker dies, its fold is retried from its last checkpoint.
All nodes must see the folders of data and runs at the same absolute paths, on a file system that they share.
"""

import contextlib
import importlib.util
import os
import platform
import secrets
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from kit import __version__
from kit.config import TrainConfig
from kit.console import Console, Waiting, duration, logged_text
from kit.data.index import Index
from kit.data.open_run import OpenRun
from kit.errors import DISK, MEMORY, KitError, out_of_memory, too_little_memory
from kit.files import locked
from kit.hooks.manager import load_plugins
from kit.hooks.registry import Registry
from kit.model.checkpoint import Checkpoints
from kit.model.preflight import need_card
from kit.paths import cache_dir, data_dir, data_root
from kit.pixels.pack import Split, packs_for
from kit.run import Run
from kit.training.interrupt import Interrupt
from kit.training.start import training_index
from kit.training.train import forecast_of, train_one

# How often a fold is retried after its worker has died; when memory runs out, Ray itself retries without limit.
RETRIES = 3
# Seconds: between two looks at the folds; for the tasks to save when told to stop; to wait for a dead worker's lock.
LOOK, SAVE, LOCK = 1.0, 120.0, 60.0
# Bytes of Ray's store for results: its minimum; the default is a third of the memory. Our results are a few bytes.
OBJECT_STORE = 100 * 2**20
# The variables that decide about plugins and downloads here are passed on to the workers.
HANDED_OVER = ("KIT_PLUGINS", "KIT_PLUGIN_FILES", "HF_HUB_OFFLINE", "NO_ALBUMENTATIONS_UPDATE")


def need_ray() -> None:
    """Raise a `KitError` if Ray, which is optional, is not installed."""
    if importlib.util.find_spec("ray") is None:
        raise KitError("--on ray needs Ray, which is not installed: pip install 'competition-kit[ray]'")


def _import_ray(own: bool) -> Any:
    need_ray()
    # Ray reads these at its import. The first: nothing is reported to Ray's makers.
    settings = {"RAY_USAGE_STATS_ENABLED": "0"}
    if own:
        # Ray listens on all addresses of the machine: without this secret nobody can run anything there.
        settings |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    for name, value in settings.items():
        os.environ.setdefault(name, value)
    return importlib.import_module("ray")


def train_on_ray(
    opened: OpenRun,
    index: Index,
    missing: list[int],
    interrupt: Interrupt,
    console: Console,
    *,
    address: str | None = None,
    gpus_per_fold: float | None = None,
) -> None:
    """Train these folds of a run that the caller has locked, as many at once as the cluster has room for.

    A fold takes one core per thread of this process (OMP_NUM_THREADS sets them), or its GPUs' share of them.

    Args:
        opened: the run; all nodes see its folder.
        index: index of its data, with external images.
        missing: the folds to train.
        interrupt: checked while the tasks run; when the user stops the run, each fold saves a checkpoint.
        console: shows progress.
        address: address of the cluster, `auto` for one on this machine; None: $RAY_ADDRESS, else a Ray of our own.
        gpus_per_fold: GPUs per fold, or the share of one; None: 1 if this process sees a GPU, otherwise 0.

    Raises:
        KitError: no Ray, no cluster, no room; an error in a fold's training; a worker that died again and again.
        Interrupted: the user asked to stop.
    """
    if not missing:
        return
    run, store = opened.run, opened.store
    # Decode once, here, so that the workers only open the packs.
    splits: tuple[Split, ...] = ("train", "external") if len(index.external) else ("train",)
    for split in splits:
        packs_for(store, index, split, opened.config, (opened.config.size, *opened.config.sizes), console)
    gpus = float(torch.cuda.is_available()) if gpus_per_fold is None else gpus_per_fold
    threads = _threads(gpus)
    with _connected(address or os.environ.get("RAY_ADDRESS") or "local", threads, gpus, console) as ray:
        console.say(
            f"folds on Ray: {len(missing)}, threads per fold: {threads}{f', GPUs per fold: {gpus:g}' if gpus else ''}"
        )
        task = ray.remote(_task).options(
            num_cpus=threads, num_gpus=gpus, max_retries=RETRIES, runtime_env={"env_vars": _environment(threads, gpus)}
        )
        logs = {fold: _Log(run.fold_dir(fold) / "log.txt", fold) for fold in missing}
        path, versions = str(run.path.resolve()), _versions()
        tasks = {task.remote(path, fold, threads, gpus, versions, sys.argv, opened.config): fold for fold in missing}
        try:
            with console.waiting("folds on Ray") as waiting:
                while tasks:
                    done, _ = ray.wait(list(tasks), num_returns=1, timeout=LOOK)
                    _tell(logs, tasks, waiting, console)
                    for each in done:
                        fold = tasks.pop(each)
                        _end(ray, each, fold, run)
                        _say_result(run, fold, console)
                    interrupt.check()
        except BaseException:
            _stop(ray, list(tasks), console)
            raise


def _threads(gpus: float) -> int:
    """Return the threads per fold: all of this process on a CPU (the count changes the bytes), a share beside a GPU."""
    share = min(1.0, gpus / max(1, torch.cuda.device_count())) if gpus else 1.0
    return max(1, int(torch.get_num_threads() * share))


def _environment(threads: int, gpus: float) -> dict[str, str]:
    environment = {name: os.environ[name] for name in HANDED_OVER if name in os.environ}
    environment |= {"KIT_DATA": str(data_root().resolve()), "KIT_CACHE": str(cache_dir().resolve())}
    environment |= {"OMP_NUM_THREADS": str(threads), "OMP_WAIT_POLICY": "PASSIVE"}
    return environment if gpus else environment | {"CUDA_VISIBLE_DEVICES": ""}


def _versions() -> str:
    return f"kit {__version__}, torch {torch.__version__}"


@contextlib.contextmanager
def _connected(address: str, threads: int, gpus: float, console: Console) -> Iterator[Any]:
    """Yield Ray, connected to a cluster or started on this machine, until the end of the block."""
    own = {}
    if address == "local":
        if gpus > torch.cuda.device_count():
            raise KitError(f"--gpus-per-fold {gpus:g}: torch sees fewer GPUs here: drop it, or give --address")
        cores = max(len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1, threads)
        own = {"include_dashboard": False, "num_cpus": cores, "object_store_memory": OBJECT_STORE}
    ray = _import_ray(bool(own))
    try:
        _reach(address)
        ray.init(address=address, log_to_driver=False, logging_level="ERROR", **own)
    except Exception as error:
        if "AF_UNIX path" in str(error):
            variable = next((name for name in ("RAY_TMPDIR", "TMPDIR") if os.environ.get(name)), "RAY_TMPDIR")
            where = f"{variable} names {os.environ.get(variable)}, too long a path for the sockets of Ray"
            raise KitError(f"{where}: set RAY_TMPDIR to a short one, e.g. RAY_TMPDIR=/tmp") from None
        mend = (
            "it needs a folder for its files (RAY_TMPDIR, by default TMPDIR or /tmp) and some shared memory"
            if own
            else "give the HOST:PORT that `ray start --head` printed"
        )
        raise KitError(f"no Ray at {address} ({_first_line(error)}): {mend}") from None
    try:
        room = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        if not any(node.get("CPU", 0) >= threads and node.get("GPU", 0) >= gpus for node in room):
            needed = f"{threads} cores" + (f" and {gpus:g} GPU" if gpus else "")
            console.warn(
                f"no node has {needed} for a fold now: waiting for one (OMP_NUM_THREADS=N gives a fold fewer cores)"
            )
        yield ray
    finally:
        ray.shutdown()


def _reach(address: str) -> None:
    """Raise an `OSError` at once if nothing listens there; Ray itself tries for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdecimal():
        socket.create_connection((host, int(port)), timeout=10).close()


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


class _Log:
    """The log that the workers of a fold write, read as it grows."""

    def __init__(self, path: Path, fold: int) -> None:
        self.path, self.fold = path, fold
        self.offset = path.stat().st_size if path.is_file() else 0
        self.state = ""

    def news(self) -> list[str]:
        """Return the log lines of the fold's starts since the last call; keep the last line of progress in `state`."""
        if not self.path.is_file():
            return []
        with self.path.open("rb") as file:
            file.seek(self.offset)
            content = file.read()
        whole = content[: content.rfind(b"\n") + 1]
        self.offset += len(whole)
        lines = [logged_text(line) for line in whole.decode(errors="replace").splitlines()]
        about = [line for line in lines if line.startswith(f"fold {self.fold} ")]
        self.state = about[-1] if about else self.state
        return [line for line in about if line.startswith(f"fold {self.fold} of ")]


def _tell(logs: dict[int, _Log], tasks: dict[Any, int], waiting: Waiting, console: Console) -> None:
    for log in logs.values():
        for line in log.news():
            console.say(line)
    running = [logs[fold].state for fold in tasks.values() if logs[fold].state]
    idle = [str(fold) for fold in tasks.values() if not logs[fold].state]
    waiting.tell("; ".join([*running, *([f"not started: fold {', '.join(idle)}"] if idle else [])]))


def _say_result(run: Run, fold: int, console: Console) -> None:
    result = run.result(fold)
    if result is None:
        raise KitError(f"fold {fold} ended on Ray, but {run.path} has no result for it: {_SHARED}")
    score = "undefined" if result["score"] is None else f"{result['score']:.4f}"
    console.say(f"fold {fold}: {result['metric']} {score} after {duration(result['seconds'])} on {result['device']}")


def _end(ray: Any, done: Any, fold: int, run: Run) -> None:
    """Raise the error that ended the task of a fold, if there was one."""
    again = f"kit train --resume {run.id} --on ray resumes from its checkpoint"
    try:
        failure = ray.get(done)
    except ray.exceptions.RayTaskError as error:
        if "failed to import" in str(error) or "No module named 'kit" in str(error):
            raise KitError("a worker can't import kit: install the same competition-kit on every node") from None
        raise
    except ray.exceptions.RayError as error:
        # Ray has retried the fold: its worker died each time, while the training itself raised nothing.
        raise KitError(
            f"the worker of fold {fold} died {RETRIES + 1} times ({type(error).__name__}), see "
            f"{run.fold_dir(fold) / 'log.txt'}: {again}"
        ) from None
    if failure is not None:
        raise KitError(failure["text"], failure["code"], tuple(failure["ways"]))


def _stop(ray: Any, tasks: list[Any], console: Console) -> None:
    """Ask the tasks to stop as Ctrl-C does and wait until each has saved a checkpoint, at most `SAVE` seconds."""
    for task in tasks:
        ray.cancel(task, force=False)
    if tasks:
        console.say("stopping the folds on Ray: each saves a checkpoint")
        ray.wait(tasks, num_returns=len(tasks), timeout=SAVE)


_SHARED = "KIT_DATA and KIT_RUNS must be on a file system that all nodes see at the same paths"


def _task(
    path: str, fold: int, threads: int, gpus: float, versions: str, command: list[str], config: TrainConfig
) -> dict[str, Any] | None:
    """Train a fold on a worker; return what is told in one line as a document and leave other errors to Ray."""
    try:
        _train(Path(path), fold, threads, gpus, versions, command, config)
    except KitError as error:
        return {"text": str(error), "code": error.code, "ways": error.ways}
    except OSError as error:
        return {"text": f"{error}: check that path on {platform.node()}", "code": DISK, "ways": ()}
    except Exception as error:
        if full := too_little_memory(error):
            return {"text": str(out_of_memory(full)), "code": MEMORY, "ways": ()}
        foreign = load_plugins().behind(error)
        if foreign is None:
            raise
        return {"text": str(foreign), "code": foreign.code, "ways": ()}
    return None


def _need_folder(folder: Path) -> None:
    if not folder.is_dir():
        raise KitError(f"the worker on {platform.node()} does not see {folder}: {_SHARED}")


def _train(
    path: Path, fold: int, threads: int, gpus: float, versions: str, command: list[str], config: TrainConfig
) -> None:
    """Do what a sequential run does for one fold."""
    node = platform.node()
    _need_folder(path)
    run = Run.open(path)
    _need_folder(data_dir(run.record.get("slug", "")))
    if _versions() != versions:
        raise KitError(
            f"the worker on {node} has {_versions()}, this process {versions}: install the same versions everywhere"
        )
    if gpus and not torch.cuda.is_available():
        raise KitError(
            f"Ray gave the worker on {node} a GPU, but torch sees none: install the torch build for it there"
        )
    need_card(command[1:])
    sys.argv = command
    torch.set_num_threads(threads)
    registry, console = Registry(), Console()
    run.fold_dir(fold).mkdir(exist_ok=True)
    # A worker that Ray believes dead may still be writing, and so may the children of a killed one.
    busy = f"fold {fold} of run {run.id} is still being trained by another worker: wait for it or stop it"
    with locked(run.fold_dir(fold) / ".lock", busy, LOCK), console.log_to(run.fold_dir(fold) / "log.txt"):
        if run.result(fold) is None:
            content = Checkpoints(run.fold_dir(fold)).content
            start = f"from step {content['state']['step']}" if content else "from the start"
            console.say(
                f"fold {fold} of {run.config.folds}: on {node}, process {os.getpid()}, threads: {threads}, {start}"
            )
            with Interrupt(f"kit train --resume {run.id}") as interrupt:
                opened = OpenRun(registry, run, config)
                index = training_index(opened, console)
                train_one(opened, index, fold, forecast_of(opened, index, [fold], console), interrupt, console)
