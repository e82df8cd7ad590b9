"""Checks of a tracker: what it does with the numbers of a fold."""

import os
from pathlib import Path
from typing import Any

import numpy as np

from kit.config import validate
from kit.errors import KitError
from kit.hooks.trackers import Preview
from kit.run import Run
from kit.testing.check import Skipped, check, need, suppose
from kit.testing.subject import Subject

CONFIG = {"competition": "conformance", "dataset": "conformance", "loss": "bce"}
ROW = {"epoch": 0.0, "train_loss": 0.7, "valid_loss": 0.6, "accuracy": 0.5, "lr": 1e-3, "seconds": 1.5}


@check("tracker/opens", "return an object with log(step, values) and close()")
def opens(subject: Subject) -> None:
    """`open` gives an object with `log` and `close`."""
    tracker = _opened(subject, 0)
    absent = [name for name in ("log", "close") if not callable(getattr(tracker, name, None))]
    need(not absent, f"what open() returns has no {' and no '.join(f'{name}()' for name in absent)}")
    tracker.close()


@check("tracker/logs", "take any number of rows: one per validation")
def logs(subject: Subject) -> None:
    """It takes one row after another."""
    tracker = _whole(subject, 0)
    for step in (10, 20, 30):
        tracker.log(step, dict(ROW))
    tracker.close()


@check("tracker/takes-a-step-again", "let the later numbers count: a fold that resumes sends some steps again")
def takes_again(subject: Subject) -> None:
    """A step may come a second time, in a new tracker of the same fold."""
    run = _run(subject)
    for _ in range(2):
        tracker = _whole(subject, 0, run)
        tracker.log(10, dict(ROW))
        tracker.log(20, dict(ROW))
        tracker.log(20, dict(ROW))
        tracker.close()


@check("tracker/takes-any-values", "take numbers of any name, NaN too, and columns that come later")
def takes_any(subject: Subject) -> None:
    """It takes NaN, numbers of numpy and columns that come later."""
    tracker = _whole(subject, 0)
    tracker.log(10, dict(ROW))
    tracker.log(20, {**ROW, "roc_auc": float("nan"), "macro_f1": np.float32(0.5)})
    tracker.close()


@check("tracker/several-folds", "give each fold a file or a name of its own: open(folder, fold)")
def several_folds(subject: Subject) -> None:
    """Several folds follow each other, and may be open at once."""
    run = _run(subject)
    first, second = _whole(subject, 0, run), _whole(subject, 1, run)
    for tracker in (first, second):
        tracker.log(10, dict(ROW))
    first.close()
    second.log(20, dict(ROW))
    second.close()


@check("tracker/closes-at-once", "let close() work before any log(): a fold may stop early")
def closes_at_once(subject: Subject) -> None:
    """It can be closed before anything was logged."""
    _whole(subject, 0).close()


@check("tracker/leaves-values", "copy before changing: history.csv has the same numbers")
def leaves_values(subject: Subject) -> None:
    """It leaves the numbers that it is given as they are."""
    tracker, values = _whole(subject, 0), dict(ROW)
    tracker.log(10, values)
    tracker.close()
    need(values == ROW, "log() changes the values that it is given")


@check("tracker/inside-the-run", "write into the folder that open() is given")
def inside(subject: Subject) -> None:
    """It writes nowhere but into the run's folder."""
    from kit.testing import watch

    run, before = _run(subject), len(watch.written)
    tracker = _whole(subject, 0, run)
    tracker.log(10, dict(ROW))
    tracker.close()
    outside = [path for path in watch.written[before:] if not Path(path).resolve().is_relative_to(run.resolve())]
    need(not outside, f"it writes {outside[0] if outside else ''}, which is outside the run's folder")


@check("tracker/images", "take a list of Preview(image HxWx3 uint8, caption)")
def images(subject: Subject) -> None:
    """One with `images` takes previews."""
    tracker = _whole(subject, 0)
    if not callable(getattr(tracker, "images", None)):
        tracker.close()
        raise Skipped("it takes numbers only")
    tracker.log(10, dict(ROW))
    tracker.images(10, [Preview(np.zeros((16, 16, 3), np.uint8), "a\nb 0.5") for _ in range(3)])
    tracker.close()


@check("tracker/check", "raise KitError: one line, what is missing and how to get it")
def check_of_needs(subject: Subject) -> None:
    """`check` raises nothing but `KitError`."""
    suppose(subject.spec.check is not None, "it needs nothing")
    try:
        subject.spec.check()
    except KitError as error:
        raise Skipped(str(error)) from None


def _run(subject: Subject) -> Path:
    """Return the folder of a new run: each check has one, so that none meets what another left."""
    os.environ["KIT_RUNS"] = str(subject.folder / "runs")
    return Run.create(validate(CONFIG), {}).path


def _opened(subject: Subject, fold: int, run: Path | None = None) -> Any:
    """Open it in the folder of a run; raise `Skipped` if what it needs is not installed."""
    if subject.spec.check is not None:
        try:
            subject.spec.check()
        except KitError as error:
            raise Skipped(str(error)) from None
    return subject.spec.open(_run(subject) if run is None else run, fold)


def _whole(subject: Subject, fold: int, run: Path | None = None) -> Any:
    tracker = _opened(subject, fold, run)
    whole = all(callable(getattr(tracker, name, None)) for name in ("log", "close"))
    suppose(whole, "it is no tracker: see tracker/opens")
    return tracker
