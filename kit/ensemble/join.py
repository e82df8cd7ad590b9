"""Join runs that each predict rows of their own (`--set only=cell_type=HUVEC`) into one run."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from kit.console import Console
from kit.data.open_run import OpenRun
from kit.ensemble.members import BlendBasis, check_run, write_run
from kit.errors import KitError
from kit.files import sha256
from kit.hooks.registry import Registry
from kit.run import Run
from kit.scoring.predictions import Predictions


def join(registry: Registry, runs: Sequence[Run], console: Console) -> dict[str, Any]:
    """Write a run with the rows of all runs; an id that two of them predict is a `KitError`.

    Returns:
        The document of `kit join --json`.
    """
    first = runs[0]
    if len({run.id for run in runs}) < max(len(runs), 2):
        raise KitError("name two runs or more, each once: kit join RUN RUN (kit runs lists them)")
    for run in runs:
        check_run(first, run)
    loaded = {name: [Predictions.load(run.reading(name)) for run in runs] for name in ("oof.npz", "test.npz")}
    oof, test = (_concatenate(runs, predictions, name) for name, predictions in loaded.items())
    basis = BlendBasis(OpenRun(registry, first), oof.ids, test.ids)
    members = [
        {"name": run.id, **{name.removesuffix(".npz"): sha256(run.reading(name)) for name in loaded}} for run in runs
    ]
    facts = {"method": "join", "members": members}
    run = write_run(basis, facts, oof.reorder(basis.ids).values, test.values, console)
    scores = [{"run": each.id, "only": each.config.only, "score": each.cross_validated} for each in runs]
    return {"run": run.id, "path": str(run.path), **facts, "runs": scores, "score": run.cross_validated}


def _concatenate(runs: Sequence[Run], predictions: Sequence[Predictions], name: str) -> Predictions:
    """Concatenate the predictions of several runs."""
    seen: dict[str, str] = {}
    for run, each in zip(runs, predictions, strict=True):
        twice = next((id_ for id_ in each.ids if id_ in seen), None)
        if twice is not None:
            raise KitError(
                f"runs {seen[twice]} and {run.id} both predict {twice} ({name}): kit blend is for runs of the same rows"
            )
        seen.update(dict.fromkeys(each.ids, run.id))
    values = np.concatenate([each.values for each in predictions])
    return Predictions(np.array(list(seen), dtype=object), predictions[0].classes, values)
