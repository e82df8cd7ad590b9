"""A run's predictions as the competition's csv, checked before anybody sees it."""

from pathlib import Path

from kit.errors import KitError
from kit.inference.predictions import Predictions
from kit.inference.trained import store_of_run
from kit.plugin.registry import Registry
from kit.plugin.specs import Finding
from kit.run import Run


def write_submission(registry: Registry, run: Run) -> tuple[Path, list[Finding]]:
    """Write `submission.csv` into a run and check it against the sample submission alone.

    Returns:
        The csv's path and what the check found; a csv with an `error` must not be sent.
    """
    if not run.has("test.npz"):
        raise KitError(f"run {run.id} has no predictions: kit predict {run.id}")
    store = store_of_run(registry, run)
    spec = registry.submissions.get(store.competition.submission)
    predictions, index = Predictions.load(run.reading("test.npz")), store.index()
    if spec.postprocess is not None:
        predictions = spec.postprocess(predictions, index)
    with run.writing("submission.csv") as path:
        spec.write(predictions, index, path)
    path = run.reading("submission.csv")
    return path, spec.check(path, store.root)
