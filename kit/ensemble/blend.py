"""Several members' predictions made one, each way of it with a nested estimate of its score.

A member is a run, or two files of another tool. What a way learns (weights; where the metric decides at a cut,
thresholds) it learns for a row from rows of other folds, so that its estimate and the out-of-fold predictions that it
leaves are as honest as the members'.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from kit.console import Console
from kit.data.open_run import OpenRun
from kit.ensemble.members import BlendBasis, check_run, of_files, of_run, write_run
from kit.errors import KitError
from kit.hooks.registry import Registry
from kit.hooks.specs import MetricSpec
from kit.run import Run
from kit.scoring.predictions import Predictions
from kit.task import Task

# The simplest first: of equals it is chosen.
METHODS = ("mean", "rank", "logit", "weights")


def ranked(values: np.ndarray, together: np.ndarray) -> np.ndarray:
    """Each column's ranks in 0..1 among the rows of one number: (rank - 0.5) / rows, ties the mean of theirs."""
    from scipy.stats import rankdata

    result = np.empty(values.shape, np.float64)
    for number in np.unique(together):
        own = together == number
        result[own] = (rankdata(values[own], axis=0) - 0.5) / own.sum()
    return result


def logit_mean(values: Sequence[np.ndarray], task: Task) -> np.ndarray:
    """The probabilities of the mean logit; of a softmax the mean log-probability."""
    total = np.zeros(values[0].shape, np.float64)
    for each in values:
        total += task.logits(each)
    return task.from_logits(total / len(values))


def weighted(values: Sequence[np.ndarray], weights: np.ndarray) -> np.ndarray:
    """The sum of M values nxK by M weights, or by nxM, those of each row."""
    total = np.zeros(values[0].shape, np.float64)
    for number, each in enumerate(values):
        total += each * weights[..., number, None]
    return total


def combine(
    method: str, values: Sequence[np.ndarray], task: Task, together: np.ndarray, weights: np.ndarray
) -> np.ndarray:
    """M values nxK made one, float32 nxK.

    Args:
        method: of `METHODS`.
        values: of the members.
        task: of the competition.
        together: n numbers: `rank` ranks the rows of one number among themselves.
        weights: M or nxM, which `weights` takes.
    """
    if method == "logit":
        return logit_mean(values, task).astype(np.float32)
    if method == "rank":
        values = [ranked(each, together) for each in values]
    if method != "weights":
        weights = np.full(len(values), 1 / len(values))
    return weighted(values, weights).astype(np.float32)


def fit_weights(target: np.ndarray, values: Sequence[np.ndarray], parts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weights by which the members' sum comes nearest to the targets, all classes together (stacking: Breiman 1996).

    Args:
        target: nxK of 0 and 1.
        values: nxK of each of M members.
        parts: n, 0 .. P - 1.

    Returns:
        PxM, for the rows of each part from those of the others; and M, from all. Each row of weights sums to 1.
    """
    grams, sides = [], []
    for part in range(int(parts.max()) + 1):
        own = parts == part
        columns = np.stack([each[own].reshape(-1) for each in values]).astype(np.float64)
        grams.append(columns @ columns.T)
        sides.append(columns @ target[own].reshape(-1))
    gram, side, numbers = np.stack(grams), np.stack(sides), np.arange(len(grams))
    nested = [_least_squares(gram[numbers != part].sum(0), side[numbers != part].sum(0)) for part in numbers]
    return np.stack(nested), _least_squares(gram.sum(0), side.sum(0))


def _least_squares(gram: np.ndarray, side: np.ndarray) -> np.ndarray:
    """Non-negative least squares of Aw = b (Lawson and Hanson 1974) from A'A and A'b, made to sum to 1."""
    from scipy.optimize import nnls

    if not side.any():  # no positives, or nobody who predicts any
        return np.full(len(side), 1 / len(side))
    squares, axes = np.linalg.eigh(gram)
    # Members that are equal leave an axis without length.
    real = squares > squares[-1] * 1e-12
    lengths, axes = np.sqrt(squares[real]), axes[:, real].T
    weights, _ = nnls(lengths[:, None] * axes, axes @ side / lengths)
    return np.asarray(weights / weights.sum())


def blend(
    registry: Registry, runs: Sequence[Run], files: Sequence[tuple[Path, Path]], method: str | None, console: Console
) -> dict[str, Any]:
    """Blend runs and what other tools predicted, and write the result as a run of its own.

    Args:
        registry: where the competition and its metric are found.
        runs: one at least; the first says on which folds and classes all stands.
        files: pairs of csv: out-of-fold and test predictions.
        method: of `METHODS`; None: the one of the best estimate.
        console: for progress and warnings.

    Returns:
        The document of `kit blend --json`.
    """
    first, names = runs[0], _names(runs, files)
    for run in runs:
        check_run(first, run)
    ids = (Predictions.load(first.reading(name)).ids for name in ("oof.npz", "test.npz"))
    basis = BlendBasis(OpenRun(registry, first), *ids)
    members = [of_run(run, basis) for run in runs] + [of_files(oof, test, basis, console) for oof, test in files]

    oofs, tests = [member.oof for member in members], [member.test for member in members]
    hot = basis.task.as_probabilities(basis.target, len(basis.index.classes))

    def estimate(kind: str, name: str, values: np.ndarray) -> dict[str, Any]:
        bar.advance()
        return {"name": name, "kind": kind, "estimate": basis.score(basis.prediction(values)), "weights": None}

    with console.progress("blend", len(members) + len(METHODS) + 2, "steps") as bar:
        by_part, weights = fit_weights(hot, oofs, basis.parts)
        bar.advance()
        estimates = [estimate("member", member.name, member.oof) for member in members]
        blends = {}
        for name in METHODS:
            blends[name] = combine(name, oofs, basis.task, basis.fold, by_part[basis.parts])
            estimates.append(estimate("method", name, blends[name]))
        estimates[-1]["weights"] = dict(zip(names, weights.tolist(), strict=True))
        chosen = best(
            [row for row in estimates if row["kind"] == "method" and method in (None, row["name"])], basis.metric
        )
        test = combine(chosen["name"], tests, basis.task, np.zeros(len(basis.test_ids)), weights)
        bar.advance()
    facts = {
        "method": chosen["name"],
        "scored_by": f"{basis.metric.name} with thresholds per class, nested"
        if basis.at_thresholds
        else basis.metric.name,
        "weights": chosen["weights"],
        "members": [{"name": member.name, **member.digests} for member in members],
        "estimates": estimates,
    }
    alone = best([row for row in estimates if row["kind"] == "member"], basis.metric)
    if best([alone, chosen], basis.metric) is alone:
        console.warn(
            f"no gain: {alone['name']} alone has {alone['estimate']:.4f}, {chosen['name']} {chosen['estimate']:.4f}"
        )
    run = write_run(basis, facts, blends[chosen["name"]], test, console)
    return {"run": run.id, "path": str(run.path), **facts, "score": run.record["score"]}


def _names(runs: Sequence[Run], files: Sequence[tuple[Path, Path]]) -> list[str]:
    """What the members are called; fewer than two, and one that is named twice, are a `KitError`."""
    names = [*(run.id for run in runs), *(str(oof) for oof, _ in files)]
    doubled = next((name for name in names if names.count(name) > 1), None)
    if doubled is not None or len(names) < 2:
        what = f"{names[0]} is one member only" if doubled is None else f"{doubled} is named twice"
        raise KitError(f"{what}: name two members or more, each once (kit runs lists runs; --oof and --test add files)")
    return names


def best(estimates: Sequence[dict[str, Any]], metric: MetricSpec) -> dict[str, Any]:
    """The best of them, the first of equals; an undefined estimate is the worst."""
    sign = 1 if metric.higher_is_better else -1
    return max(estimates, key=lambda row: sign * row["estimate"] if np.isfinite(row["estimate"]) else -np.inf)
