"""Small trainings on a device and in a precision of the test's choice, on pixels that can be learned."""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from unittest import mock

import numpy as np
import pandas as pd
import torch

from kit.config import TrainConfig, validate
from kit.data.index import Index
from kit.hooks.registry import Registry
from kit.hooks.specs import DatasetSpec
from kit.model.build import Model, build_model, seed_everything
from kit.model.device import Runtime
from kit.pixels.batches import Batch, Loader, Normalize
from kit.pixels.pack import Packed
from kit.pixels.pack_workers import Layout
from kit.pixels.sampler import training_plan
from kit.pixels.samples import Samples
from kit.pixels.statistics import ChannelStatistics
from kit.pixels.warp import Steps
from kit.training.ema import Ema
from kit.training.stepper import Stepper

CPU = torch.device("cpu")


@dataclass(frozen=True)
class Made:
    """Packed pixels and their index: the class is where an image is bright."""

    samples: Samples
    index: Index
    spec: DatasetSpec


def made(folder: Path, count: int = 128, side: int = 32, channels: int = 3, task: str = "multiclass") -> Made:
    """Make images of three classes or grades, of two classes for a binary task, or of as many pairs of numbers."""
    random, classes = np.random.default_rng(0), ("no", "yes") if task in ("binary", "regression") else ("a", "b", "c")
    pixels = random.integers(0, 120, (count, side, side, channels), np.uint8)
    target = np.arange(count) % len(classes)
    for image, number in zip(pixels, target, strict=True):
        image[:, number * side // len(classes) : (number + 1) * side // len(classes)] += 100
    folder.mkdir(parents=True, exist_ok=True)
    pixels.tofile(folder / "pixels")
    frame = pd.DataFrame({"id": [str(n) for n in range(count)], "files": [(str(n),) for n in range(count)]})
    frame["target"] = [(10.0 * n, -5.0 * n) for n in target] if task == "regression" else target
    index = Index(folder, task, classes, frame, frame[["id", "files"]].iloc[:0])
    spec = DatasetSpec("made", channels, lambda root: index, lambda files: pixels[int(files[0].name)])
    pack = Packed(folder / "pixels", "train", Layout(count, side, channels), "")
    return Made(Samples.of(index, frame, spec, side, {side: pack}), index, spec)


def with_own_statistics(samples: Samples) -> Samples:
    """Each row normalised by numbers of its own."""
    random, shape = np.random.default_rng(1), (len(samples), samples.dataset.channels)
    mean, std = random.uniform(0.2, 0.6, shape), random.uniform(0.1, 0.4, shape)
    return replace(samples, statistics=ChannelStatistics(mean.astype(np.float32), std.astype(np.float32)))


def config_of(**values: object) -> TrainConfig:
    base = {"competition": "c", "dataset": "made", "loss": "cross_entropy", "model": "small_cnn", "size": 32}
    return validate({**base, "batch_size": 32, "flip": False, "pretrained": False} | values)


@contextlib.contextmanager
def on(device: torch.device, amp: torch.dtype | None = None) -> Iterator[Runtime]:
    """Let all that kit builds within the block compute there, in this precision."""
    runtime = Runtime(device, amp)
    with mock.patch.object(Runtime, "choose", classmethod(lambda cls, amp: runtime)):
        yield runtime


def loader_of(samples: Samples, config: TrainConfig | None, device: torch.device, normalize: Normalize) -> Loader:
    """The loader of a device; in a rehearsal its code too, on the CPU."""
    loader = Loader(samples, Steps(config) if config else None, 0, device, normalize)
    loader.on_device = True
    return loader


PRECISIONS = {"float32": None, "bf16": torch.bfloat16, "fp16": torch.float16}


class Learner:
    """A network that learns step by step.

    On the CPU, where float16 is a hundred times slower, "fp16" is bfloat16 with float16's scaler.
    """

    def __init__(self, data: Made, config: TrainConfig, device: torch.device, precision: str = "float32") -> None:
        self.data, self.config = data, config
        amp = PRECISIONS[precision if device.type == "cuda" or precision != "fp16" else "bf16"]
        normalization = {"mean": [0.4] * data.spec.channels, "std": [0.2] * data.spec.channels}
        seed_everything(0)
        with on(device, amp):
            self.model: Model = build_model(config, Registry(), data.spec, data.index, normalization, False)
        self.model.network.train()
        self.stepper = Stepper(config, self.model, len(data.index.classes))
        if precision == "fp16":  # begun where it would soon be: each step before would be passed over
            self.stepper.scaler = torch.amp.GradScaler(device.type, init_scale=2.0**10)
        self.ema = Ema(self.model, config.ema) if config.ema is not None else None
        self.loader = loader_of(data.samples, config, device, self.model.normalize)
        self.done, self.start = 0, self.state()

    def batches(self, epoch: int = 0) -> Iterator[Batch]:
        plan = training_plan(len(self.data.samples), self.config.batch_size, (epoch,), self.config.accumulate)
        yield from self.loader.batches([batch for step in plan for batch in step])

    def steps(self, count: int, after: Callable[[], None] = lambda: None) -> list[float]:
        """Take steps, epoch by epoch; return the mean loss of each. Nothing is read before the last."""
        losses: list[torch.Tensor] = []
        last = self.done + count
        while self.done < last:
            plan = training_plan(len(self.data.samples), self.config.batch_size, (self.done,), self.config.accumulate)
            batches = self.loader.batches([batch for step in plan for batch in step])
            for step in plan[: last - self.done]:
                images = sum(len(rows) for rows, _ in step)
                torch.manual_seed(self.done)
                losses.append(self.stepper.step(batches, len(step), images, self.config.lr) / images)
                self.done += 1
                if self.ema is not None:
                    self.ema.update(self.done)
                after()
        return torch.stack(losses).tolist()

    def state(self) -> dict[str, torch.Tensor]:
        """All weights and statistics, of the average too, on the CPU."""
        models = [self.model] if self.ema is None else [self.model, self.ema.model]
        modules = [module for model in models for module in (model.network, model.loss)]
        return {
            f"{n}.{k}": v.detach().cpu().clone() for n, each in enumerate(modules) for k, v in each.state_dict().items()
        }


def apart(ours: Learner, theirs: Learner) -> float:
    """How far two networks that began alike have come apart, as a share of how far they have come; counters agree."""
    found, expected = ours.state(), theirs.state()
    counters = [name for name, value in expected.items() if not value.is_floating_point()]
    assert {name: int(found[name]) for name in counters} == {name: int(expected[name]) for name in counters}
    names = [name for name in expected if name not in counters]
    way = sum(float((expected[name] - theirs.start[name]).double().square().sum()) for name in names)
    return (sum(float((found[name] - expected[name]).double().square().sum()) for name in names) / way) ** 0.5
