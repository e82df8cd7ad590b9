"""The wall time of a training epoch: kit beside fastai with the same network and data, a ratio of seconds.

`mobilenet_v3_small` as kit builds it, new weights, 96 px, batches of 64, mirrored, turned, zoomed and brightened alike.
Each side runs as its users run it: kit by its training loop on packed pixels (made once before, for the seconds in the
result), fastai by `fit_one_cycle` with `aug_transforms` and the fastest number of workers among 0, 1 and 2, found in
the same run. Every turn is a process of its own that trains two epochs; the second counts, without validation. The
sides take turns; the ratio is the median over the pairs.

    pip install -e '.[benchmarks]'
    python benchmarks/fastai_epoch.py [ARCHIVE.zip]        patches of the real archive, otherwise generated; 4 minutes
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import machine
import patches
import torch
from one_fold import history_of

from kit.config import TrainConfig
from kit.hooks.learning import ModelRequest
from kit.hooks.registry import Registry
from kit.model.build import build_model, seed_everything

MODEL, COUNT, SIZE, BATCH, PAIRS = "mobilenet_v3_small", 2048, 96, 64, 3
MEAN, STD = [0.7, 0.54, 0.69], [0.24, 0.28, 0.22]
STEPS = {"flip": True, "rot90": True, "rotate": 10, "zoom": 0.1, "brightness": 0.1, "contrast": 0.1}


def kit(folder: Path, names: list[str]) -> float:
    """Seconds of the second epoch, as kit's history has them."""
    store, index = patches.store_of(folder, names)
    samples = patches.samples_of(store, index, SIZE)
    config = TrainConfig(
        competition="c", dataset="patches", loss="bce", model=MODEL, epochs=2, size=SIZE, batch_size=BATCH, **STEPS
    )
    seed_everything(0)
    model = build_model(config, Registry(), store.dataset, index, {"mean": MEAN, "std": STD}, pretrained=False)
    return float(history_of(config, model, samples, index)[1]["seconds"] or 0)


def fastai(folder: Path, names: list[str], workers: int) -> float:
    """Seconds of the second epoch, from its first batch asked for to its last step."""
    warnings.filterwarnings("ignore")
    from fastai.vision import all as f

    class Net(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = Registry().models.get(MODEL).build(ModelRequest(MODEL, 3, 2, "linear", 0, False))

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return self.net(images, images.new_zeros(len(images), 0)).logits

    seconds: list[float] = []

    class Clock(f.Callback):
        def before_train(self) -> None:
            self.began = time.monotonic()

        def after_train(self) -> None:
            seconds.append(time.monotonic() - self.began)

    f.set_seed(0)
    loaders = f.ImageDataLoaders.from_lists(
        folder,
        [folder / name for name in names],
        [number % 2 for number in range(len(names))],
        valid_pct=0,
        bs=BATCH,
        item_tfms=f.Resize(SIZE),
        num_workers=workers,
        device=torch.device("cpu"),
        drop_last=False,
        batch_tfms=[
            *f.aug_transforms(flip_vert=True, max_rotate=10, max_zoom=1.1, max_lighting=0.1, max_warp=0),
            f.Normalize.from_stats(MEAN, STD),
        ],
    )
    learner = f.Learner(loaders, Net(), loss_func=f.CrossEntropyLossFlat(), cbs=Clock())
    with learner.no_bar(), learner.no_logging():
        learner.fit_one_cycle(2, 1e-3)
    return seconds[1]


def turn(folder: Path, *words: object) -> float:
    command = [sys.executable, __file__, "--side", str(folder), *map(str, words)]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True)
    return float(json.loads(done.stdout.splitlines()[-1]))


def main() -> None:
    if sys.argv[1:2] == ["--side"]:
        folder = Path(sys.argv[2])
        names = sorted(path.name for path in folder.glob("*.tif"))
        print(json.dumps(kit(folder, names) if sys.argv[3] == "kit" else fastai(folder, names, int(sys.argv[4]))))
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve()
        archive = Path(sys.argv[1]) if len(sys.argv) > 1 else None
        names = patches.unpack(archive, folder, COUNT) if archive else patches.write(folder, COUNT)
        began = time.monotonic()
        patches.packs(*patches.store_of(folder, sorted(names)), SIZE)
        packing = time.monotonic() - began
        trials = {workers: turn(folder, "fastai", workers) for workers in (0, 1, 2)}
        workers = min(trials, key=lambda count: trials[count])
        ours, theirs = [], []
        for pair in range(PAIRS):
            for side in ("kit", "fastai") if pair % 2 else ("fastai", "kit"):
                (ours if side == "kit" else theirs).append(turn(folder, side, workers))
    machine.write(
        "fastai_epoch",
        {
            "network": MODEL,
            "images": len(names),
            "from": archive.name if archive else "generated",
            "size": SIZE,
            "batch": BATCH,
            "ratio": round(statistics.median(a / b for a, b in zip(ours, theirs, strict=True)), 3),
            "kit_seconds": [round(s, 2) for s in ours],
            "fastai_seconds": [round(s, 2) for s in theirs],
            "fastai_workers": workers,
            "fastai_trials": {n: round(s, 2) for n, s in trials.items()},
            "packing_seconds_once": round(packing, 2),
        },
    )


if __name__ == "__main__":
    main()
