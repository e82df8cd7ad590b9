"""Blend the predictions of several members, with a nested estimate of each method's score.

A member is a run, or two files of another tool. What a method learns (weights; thresholds, if the metric needs them) it
learns for a row from rows of other folds, so that its estimate and the out-of-fold predictions that it leaves are as
honest as the members'.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from kit.console import Console
from kit.data.open_run import OpenRun
from kit.ensemble.members import BlendBasis, check_run, of_files, of_run, write_run
from kit.ensemble.number_weights import fit_number_weights
from kit.errors import KitError, nearest
from kit.hooks.registry import Registry
from kit.hooks.specs import MetricSpec
from kit.run import Run
from kit.scoring.metrics import best_of
from kit.scoring.predictions import Predictions
from kit.task import ORDINAL, REGRESSION, Task

# The simplest first: it is chosen among equals.
METHODS = ("mean", "rank", "logit", "weights")
# Ranks of grades' probabilities have no expected grade; numbers have their unit, which ranks and logits have not.
UNFIT: dict[Task, tuple[str, ...]] = {ORDINAL: ("rank",), REGRESSION: ("rank", "logit")}


def ranked(values: np.ndarray, together: np.ndarray) -> np.ndarray:
    """Rank each column in 0..1 among the rows of one number: (rank - 0.5) / rows, ties share the mean of theirs."""
    from scipy.stats import rankdata

    result = np.empty(values.shape, np.float64)
    for number in np.unique(together):
        own = together == number
        result[own] = (rankdata(values[own], axis=0) - 0.5) / own.sum()
    return result


def logit_mean(values: Sequence[np.ndarray], task: Task) -> np.ndarray:
    """Return the probabilities of the mean logit, or for a softmax of the mean log-probability."""
    total = np.zeros(values[0].shape, np.float64)
    for each in values:
        total += task.logits(each)
    return task.from_logits(total / len(values))


def weighted(values: Sequence[np.ndarray], weights: np.ndarray) -> np.ndarray:
    """Sum M values nxK, weighted by M weights, or by nxM weights, M per row."""
    total = np.zeros(values[0].shape, np.float64)
    for number, each in enumerate(values):
        total += each * weights[..., number, None]
    return total


def combine(
    method: str, values: Sequence[np.ndarray], task: Task, together: np.ndarray, weights: np.ndarray
) -> np.ndarray:
    """Combine M values nxK into one, float32 nxK.

    Args:
        method: a name of `METHODS`.
        values: of the members.
        task: of the competition.
        together: n numbers: `rank` ranks the rows of one number among themselves.
        weights: M or nxM, for the method `weights`.
    """
    if method == "logit":
        return logit_mean(values, task).astype(np.float32)
    if method == "rank":
        values = [ranked(each, together) for each in values]
    if method != "weights":
        weights = np.full(len(values), 1 / len(values))
    return weighted(values, weights).astype(np.float32)


def fit_weights(target: np.ndarray, values: Sequence[np.ndarray], folds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Fit weights so that the members' sum is nearest to the targets, all classes together (stacking: Breiman 1996).

    Args:
        target: nxK of 0 and 1.
        values: nxK of each of M members.
        folds: n, 0 .. P - 1: for nesting, such as folds.

    Returns:
        PxM, for each fold fitted on the rows of the others; and M, fitted on all. Each row of weights sums to 1.
    """
    grams, sides = [], []
    for fold in range(int(folds.max()) + 1):
        own = folds == fold
        columns = np.stack([each[own].reshape(-1) for each in values]).astype(np.float64)
        grams.append(columns @ columns.T)
        sides.append(columns @ target[own].reshape(-1))
    gram, side, numbers = np.stack(grams), np.stack(sides), np.arange(len(grams))
    nested = [_least_squares(gram[numbers != fold].sum(0), side[numbers != fold].sum(0)) for fold in numbers]
    return np.stack(nested), _least_squares(gram.sum(0), side.sum(0))


def _least_squares(gram: np.ndarray, side: np.ndarray) -> np.ndarray:
    """Solve Aw = b by non-negative least squares (Lawson and Hanson 1974) from A'A and A'b, scaled to sum to 1."""
    from scipy.optimize import nnls

    if not side.any():  # no positives, or no member that predicts any
        return np.full(len(side), 1 / len(side))
    squares, axes = np.linalg.eigh(gram)
    # Equal members leave an axis of length 0.
    real = squares > squares[-1] * 1e-12
    lengths, axes = np.sqrt(squares[real]), axes[:, real].T
    weights, _ = nnls(lengths[:, None] * axes, axes @ side / lengths)
    return np.asarray(weights / weights.sum())


def blend(
    registry: Registry, runs: Sequence[Run], files: Sequence[tuple[Path, Path]], method: str | None, console: Console
) -> dict[str, Any]:
    """Blend runs and the predictions of other tools, and write the result as a new run.

    Args:
        registry: where the competition and its metric are found.
        runs: at least one; the first sets the folds and classes of all.
        files: pairs of csv files: out-of-fold and test predictions.
        method: a name of `METHODS`; None: the one with the best estimate.
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
    methods = [name for name in METHODS if name not in UNFIT.get(basis.task, ())]
    if method is not None and method not in methods:
        raise KitError(f"--method {method} does not fit the task {basis.task}: {nearest(method, methods)}")

    def estimate(kind: str, name: str, values: np.ndarray) -> dict[str, Any]:
        bar.advance()
        return {"name": name, "kind": kind, "estimate": basis.score(basis.prediction(values)), "weights": None}

    with console.progress("blend", len(members) + len(methods) + 2, "steps") as bar:
        by_fold, weights = _fitted(basis, oofs)
        bar.advance()
        estimates = [estimate("member", member.name, member.oof) for member in members]
        blends = {}
        for name in methods:
            blends[name] = combine(name, oofs, basis.task, basis.fold, by_fold[basis.nesting])
            estimates.append(estimate("method", name, blends[name]))
        estimates[-1]["weights"] = dict(zip(names, weights.tolist(), strict=True))
        chosen = best(
            [row for row in estimates if row["kind"] == "method" and method in (None, row["name"])], basis.metric
        )
        test = combine(chosen["name"], tests, basis.task, np.zeros(len(basis.test_ids)), weights)
        bar.advance()
    facts = {
        "method": chosen["name"],
        "scored_by": f"{basis.metric.name} with {basis.decided_by}, nested" if basis.decided_by else basis.metric.name,
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
    return {"run": run.id, "path": str(run.path), **facts, "score": run.cross_validated}


def _fitted(basis: BlendBasis, oofs: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Fit weights for each nesting fold, PxM, and for all rows, M."""
    if basis.task.has_classes:
        return fit_weights(basis.task.as_probabilities(basis.target, len(basis.index.classes)), oofs, basis.nesting)

    def score(rows: np.ndarray, weights: np.ndarray) -> float:
        found = basis.metric.score(basis.task, basis.target[rows], weighted([each[rows] for each in oofs], weights))
        return found if basis.metric.higher_is_better else -found

    return fit_number_weights(basis.target, oofs, basis.nesting, score)


def _names(runs: Sequence[Run], files: Sequence[tuple[Path, Path]]) -> list[str]:
    """Return the names of the members; fewer than two, or a name given twice, is a `KitError`."""
    names = [*(run.id for run in runs), *(str(oof) for oof, _ in files)]
    repeated = next((name for name in names if names.count(name) > 1), None)
    if repeated is not None or len(names) < 2:
        what = f"{names[0]} is the only member" if repeated is None else f"{repeated} is named twice"
        raise KitError(f"{what}: name two or more members, each once (kit runs lists runs; --oof and --test add files)")
    return names


def best(estimates: Sequence[dict[str, Any]], metric: MetricSpec) -> dict[str, Any]:
    """Return the best estimate, the first of equals; undefined ones are passed over."""
    return best_of(estimates, lambda row: float(row["estimate"]), metric.higher_is_better)
