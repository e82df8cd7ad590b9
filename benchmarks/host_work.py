"""What the host does for a batch beside a GPU: microseconds of it, and launches, of this kit and of another checkout.

The path of a GPU runs on the CPU with images of 8 x 8 pixels and layers of four channels, so small that little is left
but the work of the host: drawing, gathering, copying, launching. Measured are the making of a batch of 128 from packed
pixels with full augmentation, the pixels copied, and an update of the weight average (EMA) of a network with as many
layers as resnet50. What pinned memory costs is not in it. Both checkouts run in turn, in processes of their own; the
ratio is the median over the rounds.

    git worktree add /tmp/before REVISION
    python benchmarks/host_work.py /tmp/before [ROUNDS]        5 rounds: a minute
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


IMAGES, SIZE, BATCH, LAYERS = 8192, 8, 128, 53
STEPS = {"flip": True, "rot90": True, "rotate": 20, "zoom": 0.1, "shift": 0.05, "brightness": 0.15, "contrast": 0.15}
ROOT = Path(__file__).resolve().parents[1]


def batches(folder: Path) -> Callable[[], int]:
    """Return what makes all batches of an epoch by the path of a GPU, and returns their number."""
    import torch
    from loop_overhead import make

    from kit.config import TrainConfig
    from kit.pixels.batches import Loader, Normalize
    from kit.pixels.sampler import training_plan
    from kit.pixels.warp import Steps

    config = TrainConfig(competition="c", dataset="memory", loss="bce", size=SIZE, batch_size=BATCH, **STEPS)
    samples, _ = make(config, IMAGES, folder)
    loader = Loader(samples, Steps(config), 0, torch.device("cpu"), Normalize([0.5] * 3, [0.25] * 3))
    loader.on_device = True
    plan = [step[0] for step in training_plan(IMAGES, BATCH, (0,))]
    return lambda: sum(1 for _ in loader.batches(plan))


def average() -> Callable[[], int]:
    """Return what updates a network's weight average ten times, and returns 10."""
    import inspect

    import torch
    from torch import nn

    from kit.model.build import Model
    from kit.training.ema import Ema

    layers = [nn.Sequential(nn.Conv2d(4, 4, 1, bias=False), nn.BatchNorm2d(4), nn.ReLU()) for _ in range(LAYERS)]
    model = Model(nn.Sequential(*layers), nn.Identity(), None, None, None)
    ema = Ema(model, 0.99)
    given = (model,) if "model" in inspect.signature(ema.update).parameters else ()

    def ten() -> int:
        with torch.no_grad():
            for step in range(1, 11):
                ema.update(*given, step)
        return 10

    return ten


def launches(work: Callable[[], int]) -> float:
    """Return how many operations on the device one unit of the work has."""
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode

    class Counting(TorchDispatchMode):
        count = 0

        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            result = func(*args, **(kwargs or {}))
            Counting.count += not func.is_view and func is not torch.ops.aten.empty.memory_format
            return result

    with Counting():
        units = work()
    return Counting.count / units


def measure() -> dict[str, dict[str, float]]:
    """Return microseconds of the host and launches by what is measured."""
    results = {}
    with tempfile.TemporaryDirectory() as name:
        works = {"batch": batches(Path(name)), "weight average": average()}
        for what, work in works.items():
            work()
            times = []
            for _ in range(3):
                began = time.perf_counter()
                units = work()
                times.append((time.perf_counter() - began) / units)
            results[what] = {"microseconds": 1e6 * min(times), "launches": launches(work)}
    return results


def run(checkout: Path) -> dict[str, dict[str, float]]:
    """Measure a checkout in a process of its own."""
    folders = [checkout, checkout / "plugins", checkout / "competitions", Path(__file__).parent]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, folders)), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-P", __file__, "--measure"]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True, cwd=checkout)
    return json.loads(done.stdout)


def main(before: Path, rounds: int) -> None:
    import machine

    taken = [(run(before), run(ROOT)) for _ in range(rounds)]
    result = {}
    for what in taken[0][1]:
        sides = [(old[what]["microseconds"], new[what]["microseconds"]) for old, new in taken]
        result[what] = {
            "before / now": round(statistics.median(old / new for old, new in sides), 2),
            "microseconds before": round(statistics.median(old for old, _ in sides)),
            "microseconds now": round(statistics.median(new for _, new in sides)),
            "launches before": round(taken[0][0][what]["launches"], 1),
            "launches now": round(taken[0][1][what]["launches"], 1),
        }
    machine.write("host_work", {"images": BATCH, "size": SIZE, "steps": STEPS, "rounds": rounds, **result})


if __name__ == "__main__":
    if sys.argv[1:] == ["--measure"]:
        print(json.dumps(measure()))
        sys.exit()
    parser = argparse.ArgumentParser(description="What the host does for a batch beside a GPU, before and now.")
    parser.add_argument("before", type=Path, metavar="CHECKOUT", help="another checkout of kit")
    parser.add_argument("rounds", type=int, nargs="?", default=5, metavar="ROUNDS", help="default: 5, a minute")
    given = parser.parse_args()
    if not (given.before / "kit" / "__init__.py").is_file():
        parser.error(f"{given.before} is no checkout of kit: git worktree add /tmp/before REVISION makes one")
    main(given.before.resolve(), given.rounds)
