"""Notice numbers that are no longer finite, find the rows and the cause, and say what to look at first."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from kit.files import write_json
from kit.inference.forward import Forward
from kit.model import distributed
from kit.pixels.sampler import Plan
from kit.pixels.samples import Samples
from kit.training.history import StepLosses
from kit.training.interrupt import InUnison
from kit.training.job import FoldJob

FILE = "not-finite.json"
NAMED = 3  # ids in the message; the file has all


class LossWatch:
    """Reads the losses of the steps some steps later, so that the host does not wait for the device.

    `losses` has those of all steps that were read.

    Args:
        job: the fold's training.
        step: steps taken so far.
    """

    def __init__(self, job: FoldJob, step: int) -> None:
        self.job, self.losses = job, StepLosses(job.history, step)
        self._recent: list[_Step] = []
        self._under_way: list[_Reading] = []

    def note(self, step: int, batches: Plan, total: Tensor, rate: float) -> None:
        """Remember a step.

        Args:
            step: its number in the epoch.
            batches: those of all processes.
            total: this process's sum of loss times images.
            rate: the learning rate.
        """
        self._recent.append(_Step(step, batches, total, rate))

    def check(self, loss_sum: Tensor, images: int, wait: bool = True) -> str:
        """Return the mean loss of the epoch as text; all processes must call this.

        Args:
            loss_sum: this process's sum of loss times images of the epoch so far.
            images: number of images of the epoch so far, of all processes.
            wait: read the steps noted so far. Otherwise, beside a GPU, those of the call before, which it has done.

        Raises:
            InUnison: the loss is not finite. The rows of the first step that made it so are written into the fold's
                folder.
        """
        self._under_way.append(_Reading.start(loss_sum, images, self._recent))
        self._recent = []
        text = ""
        while self._under_way and (wait or len(self._under_way) > 1 or self._under_way[0].done is None):
            text = self._read(self._under_way.pop(0))
        return text

    def _read(self, reading: "_Reading") -> str:
        loss_sum, *totals = reading.numbers()
        mean = loss_sum / max(reading.images, 1)
        counts = [sum(len(rows) for rows, _ in step.batches) for step in reading.steps]
        losses = [total / count for total, count in zip(totals, counts, strict=True)]
        if np.isfinite(mean):
            self.losses.add(losses, [step.rate for step in reading.steps])
            return f"loss {mean:.4f}"
        for step, loss, total in zip(reading.steps, losses, totals, strict=True):
            if not np.isfinite(loss):
                rows = np.concatenate([own for own, _ in step.batches])
                raise _error(self.job, f"the loss is {total:g} at step {step.number + 1} of an epoch", rows)
        raise _error(self.job, f"the loss is {mean:g}", np.empty(0, np.int64))


class _Step(NamedTuple):
    number: int
    batches: Plan
    total: Tensor
    rate: float


class _Reading(NamedTuple):
    """Losses on their way from the device; `done` tells when they are there, None: they are."""

    values: Tensor
    done: torch.cuda.Event | None
    images: int
    steps: list[_Step]

    @classmethod
    def start(cls, loss_sum: Tensor, images: int, steps: list[_Step]) -> "_Reading":
        found = distributed.sum_each(torch.stack([loss_sum, *(step.total for step in steps)]))
        values = found.to("cpu", non_blocking=True)
        return cls(values, torch.cuda.current_stream().record_event() if found.is_cuda else None, images, steps)

    def numbers(self) -> list[float]:
        if self.done is not None:
            self.done.synchronize()
        numbers: list[float] = self.values.tolist()
        return numbers


def need_finite_output(job: FoldJob, result: Forward) -> None:
    """Raise `InUnison` if a network's output for a validation image is not finite."""
    bad = np.flatnonzero(~np.isfinite(result.probabilities).all(1))
    if len(bad):
        what = f"the network's output for {len(bad)} of {len(result.probabilities)} validation images is not a number"
        raise _error(job, what, bad, job.valid, job.valid_ids)


def _error(
    job: FoldJob, what: str, rows: np.ndarray, samples: Samples | None = None, ids: np.ndarray | None = None
) -> InUnison:
    """Write the ids of the rows into the fold's folder; return the error that says what to look at first."""
    samples, ids = samples or job.train, job.ids if ids is None else ids
    cause = _cause(job, samples, ids, rows)
    named = list(dict.fromkeys(str(ids[row]) for row in rows.tolist()))
    path: Path = job.history.with_name(FILE)
    if distributed.is_main():
        document = {"fold": job.fold, "what": what, "cause": cause or "unknown", "ids": named}
        write_json(path, document)
    rate = f"{job.config.lr:g}"
    mend = cause or f"train again with a smaller --lr than {rate}; if that does not help, look at the images"
    shown = f" (ids {', '.join(named[:NAMED])}{', ...' if len(named) > NAMED else ''}, all in {path})" if named else ""
    return InUnison(f"fold {job.fold}: {what}{shown}: {mend}")


def _cause(job: FoldJob, samples: Samples, ids: np.ndarray, rows: np.ndarray) -> str:
    """Say what of the input itself is not finite, and what mends it; empty if nothing is."""
    for name, values in (("target", samples.targets), ("metadata", samples.metadata)):
        bad = [row for row in rows.tolist() if not np.isfinite(values[row]).all()]
        if bad:
            return f"the {name} of id {ids[bad[0]]} is not a finite number: mend that row of the data (kit check)"
    std, mean = (values.detach().cpu().numpy() for values in (job.model.normalize.std, job.model.normalize.mean))
    if not (np.isfinite(mean).all() and np.isfinite(std).all() and (std > 0).all()):
        return "the images are divided by a std that is 0 or not finite: give another --set std=[...] or --set std=data"
    if samples.statistics is not None:
        for values in (samples.statistics.mean, samples.statistics.std):
            if not np.isfinite(values[rows]).all():
                return "the statistics that normalise these images are not finite: give another --set normalize=NAME"
    return ""
