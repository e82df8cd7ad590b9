"""Notice numbers that are no longer finite, find the rows and the cause, and say what to look at first."""

from pathlib import Path

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
    """Remembers the losses of the steps since the last check; reading one waits for the device.

    `losses` has those of all steps that were checked.

    Args:
        job: the fold's training.
        step: steps taken so far.
    """

    def __init__(self, job: FoldJob, step: int) -> None:
        self.job, self.losses = job, StepLosses(job.history, step)
        self._recent: list[tuple[int, Plan, Tensor, float]] = []

    def note(self, step: int, batches: Plan, total: Tensor, rate: float) -> None:
        """Remember a step.

        Args:
            step: its number in the epoch.
            batches: those of all processes.
            total: this process's sum of loss times images.
            rate: the learning rate.
        """
        self._recent.append((step, batches, total, rate))

    def check(self, mean: float) -> str:
        """Return the mean loss of the epoch so far as text; all processes must call this.

        Raises:
            InUnison: it is not finite. The rows of the first step that made it so are written into the fold's folder.
        """
        recent, self._recent = self._recent, []
        if np.isfinite(mean):
            if recent:
                totals = distributed.all_reduce_each(torch.stack([total for _, _, total, _ in recent]))
                images = [sum(len(rows) for rows, _ in batches) for _, batches, _, _ in recent]
                losses = [total / count for total, count in zip(totals, images, strict=True)]
                self.losses.add(losses, [rate for *_, rate in recent])
            return f"loss {mean:.4f}"
        for step, batches, total, _ in recent:
            if not np.isfinite(loss := distributed.all_reduce(total)):
                rows = np.concatenate([own for own, _ in batches])
                raise _error(self.job, f"the loss is {loss:g} at step {step + 1} of an epoch", rows)
        raise _error(self.job, f"the loss is {mean:g}", np.empty(0, np.int64))


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
