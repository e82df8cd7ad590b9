"""Runs that each predict rows of their own (`--set only=cell_type=HUVEC`) put together into one run."""

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
    """Write a run with the rows of all of them; ids that two of them predict are a `KitError`.

    Returns:
        The document of `kit join --json`.
    """
    first = runs[0]
    if len({run.id for run in runs}) < max(len(runs), 2):
        raise KitError("name two runs or more, each once: kit join RUN RUN (kit runs lists them)")
    for run in runs:
        check_run(first, run)
    parts = {name: [Predictions.load(run.reading(name)) for run in runs] for name in ("oof.npz", "test.npz")}
    whole = {name: _together(runs, part, name) for name, part in parts.items()}
    oof, test = whole["oof.npz"], whole["test.npz"]
    basis = BlendBasis(OpenRun(registry, first), oof.ids, test.ids)
    members = [
        {"name": run.id, **{name.removesuffix(".npz"): sha256(run.reading(name)) for name in parts}} for run in runs
    ]
    facts = {"method": "join", "members": members}
    run = write_run(basis, facts, oof.reorder(basis.ids).values, test.values, console)
    scores = [{"run": part.id, "only": part.config.only, "score": part.record.get("score")} for part in runs]
    return {"run": run.id, "path": str(run.path), **facts, "parts": scores, "score": run.record["score"]}


def _together(runs: Sequence[Run], parts: Sequence[Predictions], name: str) -> Predictions:
    """The rows of all parts, one after another."""
    seen: dict[str, str] = {}
    for run, part in zip(runs, parts, strict=True):
        twice = next((id_ for id_ in part.ids if id_ in seen), None)
        if twice is not None:
            raise KitError(
                f"runs {seen[twice]} and {run.id} both predict {twice} ({name}): kit blend is for runs of the same rows"
            )
        seen.update(dict.fromkeys(part.ids, run.id))
    values = np.concatenate([part.values for part in parts])
    return Predictions(np.array(list(seen), dtype=object), parts[0].classes, values)
