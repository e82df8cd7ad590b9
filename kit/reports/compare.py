"""Compare runs: their configurations, and their scores fold by fold."""

from collections.abc import Sequence
from typing import Any

from kit.config import TrainConfig
from kit.console import jsonable
from kit.run import Run


def compare(runs: Sequence[Run]) -> dict[str, Any]:
    """Return the document of `kit runs --compare`: configuration keys that differ, and scores per fold and overall.

    A run's scores are those that every list and its page show (`Run.score`): with a decision rule (`decided`: its
    method), by that rule. Values are in the order of `runs`; None where a run has none. `ranked_by` says which of the
    two figures ranks these runs, the value of all out-of-fold predictions (`pooled`) or the mean over `folds`.
    `comparable` is true when competition, metric and
    folds are the same, so that a fold's score means the same in each run; overall scores compare only if
    `same_folds_trained` is true too. `common` has the mean over the folds that all runs have trained.
    """
    # A key unknown to the kit that made a run takes today's default, as when that run is resumed.
    defaults = {name: jsonable(field.default) for name, field in TrainConfig.model_fields.items()}
    configs = [{**defaults, **run.record["config"]} for run in runs]
    results = [run.results for run in runs]
    scores, by_fold = [run.score for run in runs], [run.fold_scores for run in runs]
    metrics = {result["metric"] for found in results for result in found.values()}
    differences = []
    if len({config["competition"] for config in configs}) > 1:
        differences.append("competition")
    if len(metrics) > 1:
        differences.append("metric")
    if len({run.record["folds"]["digest"] for run in runs}) > 1:
        differences.append("folds")
    ranked_by = {score.get("ranked_by", "pooled") for score in scores if score}
    common = set.intersection(*(set(found) for found in results)) if not differences else set()
    trained = sorted(set().union(*results))
    return {
        "runs": [run.id for run in runs],
        "config": {
            key: [config.get(key) for config in configs]
            for key in dict.fromkeys(key for config in configs for key in config)
            if any(config.get(key) != configs[0].get(key) for config in configs)
        },
        "digests": [run.record["folds"]["digest"] for run in runs],
        "comparable": not differences,
        "differ_in": differences,
        "same_folds_trained": len({tuple(found) for found in results}) == 1,
        "metric": metrics.pop() if len(metrics) == 1 else None,
        "folds": {fold: [scores_of.get(fold) for scores_of in by_fold] for fold in trained},
        "common": {"folds": sorted(common), "scores": [_mean(found, common) for found in by_fold]},
        "decided": [score.get("method") if score else None for score in scores],
        "means": [run.mean_over_folds for run in runs],
        "ranked_by": ranked_by.pop() if len(ranked_by) == 1 else None,
        "score": [score and {key: score[key] for key in ("metric", "value", "low", "high", "ids")} for score in scores],
    }


def _mean(by_fold: dict[int, float | None], folds: set[int]) -> float | None:
    values = [value for fold in folds if (value := by_fold[fold]) is not None]
    return sum(values) / len(values) if values and len(values) == len(folds) else None
