"""Stage `peaks`: where a GPU's time and memory go, for the next round of work.

A profile of 20 steps of kit's loop for resnet18 at 96 px, the peak memory of every case's training, and the largest
power of two that fits as a batch of resnet18 at 96 px. On a CPU the profile is of its operations.
"""

import contextlib
import gc
import time
import traceback
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import loops
import torch
from loops import Case, Pixels
from one_fold import history_of
from profile_text import Work, summary
from stage import Stage
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile
from watch import Watch, synchronize

ROUND = 3.0  # seconds that must be left to go on
FIRST, STEPS = 5, 20  # of the second epoch: where the profile begins, and how long it is
LARGEST = 1 << 15


class Profiled:
    """Profiles some steps of the second epoch, from in front of a batch."""

    def __init__(self, first: int, steps: int) -> None:
        activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if torch.cuda.is_available() else [])]
        self.profile, self.first, self.steps, self.on = profile(activities=activities), first, steps, False

    def on_step(self, epoch: int, number: int) -> None:
        if epoch != 1 or number not in (self.first, self.first + self.steps):
            return
        synchronize()
        if number == self.first:
            self.profile.start()
        else:
            self.profile.stop()

    def figures(self) -> dict[str, Any]:
        events = self.profile.events() or ()
        on_gpu = torch.cuda.is_available()
        work = [
            Work(one.name, one.time_range.start, one.time_range.end)
            for one in events
            if (one.device_type == DeviceType.CUDA if on_gpu else one.cpu_parent is None)
            and not (getattr(one, "is_user_annotation", False) or one.name.startswith("Optimizer."))
        ]
        calls = [one.name for one in events if one.device_type == DeviceType.CPU]
        return summary(work, calls, self.steps)


def profiled(case: Case, data: Pixels, rehearsal: bool) -> dict[str, Any]:
    """The profile of some steps of kit's own loop."""
    first, steps = (0, 1) if rehearsal else (FIRST, STEPS)
    config = case.config()
    # One more step, in front of which the profile ends.
    samples, index = data.samples(case.batch * (first + steps + 1))
    watch, profiled = Watch(), Profiled(first, steps)
    watch.on_step = profiled.on_step
    with watch.watching():
        history_of(config, loops.model_of(config, samples, index), samples, index)
    return profiled.figures()


def memory(case: Case, data: Pixels) -> dict[str, Any]:
    """The peak memory of kit's training; packed pixels that lie on the device come on top of it.

    That of the second epoch: in the first, cuDNN tries algorithms with memory of their own.
    """

    def reset(epoch: int, number: int) -> None:
        if torch.cuda.is_available() and (epoch, number) == (1, 0):
            torch.cuda.reset_peak_memory_stats()

    config = case.config(pixels="host")
    samples, index = data.samples(2 * case.batch)
    watch = Watch()
    watch.on_step = reset
    with watch.watching():
        history_of(config, loops.model_of(config, samples, index), samples, index)
    allocated, reserved = (
        (torch.cuda.max_memory_allocated(), torch.cuda.max_memory_reserved()) if torch.cuda.is_available() else (0, 0)
    )
    facts = {"batch": case.batch, "size": case.size}
    return {"allocated GB": round(allocated / 1e9, 3), "reserved GB": round(reserved / 1e9, 3), **facts}


def largest_batch(case: Case, data: Pixels, stage: Stage) -> None:
    """Note ever larger batches with which two bare steps still fit, until one does not."""
    batch, most = case.batch, 4 * case.batch if stage.rehearsal else LARGEST
    model = loops.model_of(case.config(), *data.samples(2))
    while batch <= most and stage.left() > ROUND:
        try:
            step = loops.bare_step(model, batch, case.size)
            step()
            synchronize()
            began = time.perf_counter()
            step()
            synchronize()
            speed = batch / (time.perf_counter() - began)
        except Exception as error:  # out of memory, or more numbers than a kernel can count
            why = " ".join(str(error).split())[:200]
            stage.note("next batch", {"batch": batch, "failed": f"{type(error).__name__}: {why}"})
            return
        finally:
            step = None
            with contextlib.suppress(Exception):  # after some errors a card does nothing more
                free()
        stage.note("largest batch", {"batch": batch, "bare images/s": round(speed, 1)})
        batch *= 2


def free() -> None:
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def noted(stage: Stage, name: str, measure: Callable[[], dict[str, Any]]) -> None:
    """Note what is measured; what fails costs the others nothing."""
    try:
        stage.note(name, measure())
    except Exception as error:
        traceback.print_exc()
        stage.note(name, {"failed": " ".join(str(error).split())[:200] or type(error).__name__})
    free()


def main(stage: Stage) -> None:
    all_cases, data = loops.cases(stage.rehearsal), {}
    small = all_cases[0]
    for case in all_cases:
        if case.size not in data:
            rows = case.batch * (FIRST + STEPS + 1 if case is small else 2)
            data[case.size] = Pixels.make(stage.scratch / f"{case.size}", case.size, rows, 0)
        if case is small:
            noted(stage, "profile", partial(profiled, case, data[case.size], stage.rehearsal))
        if stage.left() < ROUND:
            return
        noted(stage, f"{case.title}: memory", partial(memory, case, data[case.size]))
    largest_batch(replace(small, images=2), data[small.size], stage)


if __name__ == "__main__":
    main(Stage.of_arguments())
