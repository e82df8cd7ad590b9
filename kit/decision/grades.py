"""Cuts of an ordinal task: between which expected grades each grade is predicted.

Rounding the expected grade has the least squared error. Quadratic kappa (Cohen 1968) rewards predictions that vary as
much as the truth does, which a mean of grades does not: the best cuts lie elsewhere. They are searched on out-of-fold
predictions for the metric itself, and each method is estimated on folds that it has not seen (`kit.decision.rule`).
"""

from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from kit.decision.rule import TunedRule, cross_fit
from kit.hooks.specs import MetricSpec
from kit.scoring.metrics import quadratic_kappa, recall_by_class
from kit.scoring.predictions import Predictions
from kit.task import HALF, ORDINAL

METHODS = {
    "rounding": "the expected grade, rounded",
    "argmax": "the grade of the largest probability",
    "share": "cuts that predict each grade as often as the labels have it",
    "spread": "cuts evenly apart, moved and spread together for the metric",
    "tuned": "each cut tuned for the metric, shrunk towards those of spread",
}
KNOBS = ("cuts",)
ROUNDS = 20  # over all cuts; more than six are rarely needed
PLACES, FEW = 200, 40  # places tried for a cut: by rows, and as many by value; few where each asks the metric
MOVES, SPREADS = (-0.5, 0.5), (0.5, 1.2)  # of even cuts, in grades; rounding has 0 and 1
STRENGTH = 300  # the number of rows that weighs as much as the even cuts
SMOOTH = 40  # places a neighbour: those on either side are averaged, as one good cut among poor ones is luck
RESAMPLES = 25  # of the rows, over whose best cuts is averaged (bagging: Breiman 1996)

# Counts of true by predicted grade, MxCxC -> M scores, the higher the better.
Judge = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Grades:
    """A decision rule: predict the grade between whose cuts the expected grade lies.

    Args:
        method: a name of `METHODS`, or `at` for cuts given by hand.
        cuts: C-1, increasing: grade k is predicted from `cuts[k - 1]` on. Empty for `argmax`.
    """

    method: str
    cuts: tuple[float, ...] = ()

    def predicted(self, values: np.ndarray) -> np.ndarray:
        """Predict n grades from probabilities nxC."""
        if not self.cuts:
            return np.asarray(values.argmax(1))
        return np.searchsorted(self.cuts, ORDINAL.expected(values), side="right")

    def applied(self, predictions: Predictions) -> Predictions:
        """Return predictions that are sure of the predicted grade: by rounding and by argmax it is the same."""
        hot = ORDINAL.as_probabilities(self.predicted(predictions.values), predictions.values.shape[1])
        return replace(predictions, values=hot)

    def thresholds_for(self, values: np.ndarray) -> None:
        """Return None: no class has a probability from which it is predicted."""

    def fixed(self, values: np.ndarray) -> "Grades":
        """Return the rule itself: it does not depend on the rows that it is applied to."""
        return self

    def document(self) -> dict[str, Any]:
        """Return the rule as JSON."""
        return {"kind": "grades", "method": self.method, "cuts": list(self.cuts) or None}

    @classmethod
    def of_document(cls, document: dict[str, Any]) -> "Grades":
        """Read what `document` returned."""
        return cls(document["method"], tuple(float(cut) for cut in document["cuts"] or ()))


def fit(method: str, target: np.ndarray, values: np.ndarray, metric: MetricSpec) -> Grades:
    """Find the cuts on some rows.

    Args:
        method: a name of `METHODS`.
        target: n grades.
        values: nxC probabilities.
        metric: of predicted classes, for `tuned`.
    """
    count = values.shape[1]
    if method == "argmax":
        return Grades(method)
    halves = np.arange(count - 1) + HALF
    expected = ORDINAL.expected(values)
    if method == "rounding" or len(np.unique(expected)) < count:
        return Grades(method, tuple(halves.tolist()))
    share = _apart(_shared(target, expected, count))
    if method == "share":
        return Grades(method, tuple(share.tolist()))
    is_kappa = _is_quadratic_kappa(metric, target, expected, [halves, share])
    judge: Judge = quadratic_kappa if is_kappa else partial(_by_metric, metric)
    sets = _even(count, not is_kappa)
    rows = _Rows(target, expected, count, np.unique(sets))
    at = np.searchsorted(rows.cuts, sets)
    even = _bagged(rows, is_kappa, lambda drawn: sets[_first_best(judge(drawn.confusion(at)))])
    if method == "spread":
        return Grades(method, tuple(even.tolist()))
    rows = _Rows(target, expected, count, _places(expected, PLACES if is_kappa else FEW))
    starts = [rows.places_of(start) for start in (halves, share)]
    own = _bagged(rows, is_kappa, lambda drawn: _best(drawn, judge, starts))
    kept = len(target) / (len(target) + STRENGTH)
    return Grades(method, tuple((kept * own + (1 - kept) * even).tolist()))


def _even(count: int, few: bool) -> np.ndarray:
    """Return sets of evenly spaced cuts, MxC-1, moved and spread about the middle, those near to rounding first."""
    from_middle = np.arange(count - 1) + HALF - (count - 1) / 2
    moves, spreads = np.linspace(*MOVES, 7 if few else 21), np.linspace(*SPREADS, 8 if few else 15)
    grid = np.stack(np.meshgrid(moves, spreads, indexing="ij"), -1).reshape(-1, 2)
    move, spread = grid[np.argsort(np.abs(grid - (0, 1)).sum(1), kind="stable")].T
    return np.asarray((count - 1) / 2 + move[:, None] + spread[:, None] * from_middle)


def _first_best(scores: np.ndarray) -> int:
    return int(np.nan_to_num(scores, nan=-np.inf).argmax())


def _bagged(rows: "_Rows", often: bool, best: Callable[["_Rows"], np.ndarray]) -> np.ndarray:
    """Return the best cuts of these rows, C-1; if it is quick, the mean of those of the rows drawn anew."""
    if not often:
        return best(rows)
    random = np.random.default_rng(0)
    return np.asarray(np.mean([best(rows.resampled(random)) for _ in range(RESAMPLES)], 0))


def _best(rows: "_Rows", judge: Judge, starts: list[np.ndarray]) -> np.ndarray:
    """Return the best cuts, C-1, that the search finds from any of these places."""
    found = [_searched(rows, judge, start) for start in starts]
    return rows.cuts[max(found, key=lambda places: _score(rows, judge, places))]


def _shared(target: np.ndarray, expected: np.ndarray, count: int) -> np.ndarray:
    """Return the cuts, C-1, below which as many expected grades lie as labels of lower grades."""
    below = np.cumsum(np.bincount(target, minlength=count))[:-1]
    ordered = np.concatenate([[-np.inf], np.sort(expected), [np.inf]])
    lower, upper = ordered[below], ordered[below + 1]
    middle = (lower + upper) / 2
    return np.asarray(np.clip(np.where(np.isfinite(middle), middle, np.where(lower == -np.inf, 0, count - 1)), 0, None))


def _apart(cuts: np.ndarray) -> np.ndarray:
    """Return cuts of which each is above the one before: of equal ones, by the next number."""
    for number in range(1, len(cuts)):
        cuts[number] = max(cuts[number], np.nextafter(cuts[number - 1], np.inf))
    return cuts


def _places(expected: np.ndarray, places: int) -> np.ndarray:
    """Return places for a cut between distinct expected grades, increasing: by rows and by value."""
    distinct = np.unique(expected)
    between = (distinct[:-1] + distinct[1:]) / 2
    by_row = np.searchsorted(between, np.quantile(expected, np.linspace(0, 1, places)))
    by_value = np.searchsorted(between, np.linspace(distinct[0], distinct[-1], places))
    return np.asarray(between[np.unique(np.clip(np.concatenate([by_row, by_value]), 0, len(between) - 1))])


class _Rows:
    """Rows in order of their expected grade: counts of true by predicted grade for cuts at any of some places.

    `cuts`: the P places, increasing; `below`: CxP, how many rows of each true grade lie below.
    """

    def __init__(self, target: np.ndarray, expected: np.ndarray, count: int, cuts: np.ndarray) -> None:
        self.cuts = cuts
        self.below = np.stack([np.searchsorted(np.sort(expected[target == k]), cuts) for k in range(count)])
        self.total = np.bincount(target, minlength=count)

    def resampled(self, random: np.random.Generator) -> "_Rows":
        """Return about as many rows drawn anew, each a Poisson number of times (Hanley and MacGibbon 2006)."""
        other = copy(self)
        ends = np.zeros((len(self.total), 1), int), self.below, self.total[:, None]
        between = np.diff(np.concatenate(ends, 1), axis=1)
        sums = np.cumsum(random.poisson(between), 1)
        other.below, other.total = sums[:, :-1], sums[:, -1]
        return other

    def places_of(self, cuts: np.ndarray) -> np.ndarray:
        """Return the places next to these cuts, C-1, each above the one before."""
        places = np.searchsorted(self.cuts, cuts)
        order, last = np.arange(len(cuts)), len(self.cuts) - len(cuts)
        # Room is left for the cuts below and above each.
        return np.asarray(np.minimum(np.maximum.accumulate(places - order), last).clip(0) + order)

    def confusion(self, places: np.ndarray) -> np.ndarray:
        """Count true by predicted grade, MxCxC, for M sets of places Mx(C-1)."""
        edges = np.moveaxis(self.below[:, places], 0, 1)  # M x C x C-1
        first, last = np.zeros((*edges.shape[:2], 1), int), np.broadcast_to(self.total[:, None], (*edges.shape[:2], 1))
        return np.diff(np.concatenate([first, edges, last], 2), axis=2)


def _searched(rows: _Rows, judge: Judge, start: np.ndarray) -> np.ndarray:
    """Search by coordinate ascent: set each cut in turn where the score is largest, the others fixed."""
    places = start.copy()
    for _ in range(ROUNDS):
        before = places.copy()
        for number in range(len(places)):
            low = places[number - 1] + 1 if number else 0
            high = places[number + 1] if number + 1 < len(places) else len(rows.cuts)
            tried = np.repeat(places[None], high - low, 0)
            tried[:, number] = np.arange(low, high)
            scores = _smooth(np.nan_to_num(judge(rows.confusion(tried)), nan=-np.inf), len(rows.cuts) // SMOOTH)
            best = np.flatnonzero(scores >= scores.max() - 1e-12)
            places[number] = low + best[len(best) // 2]
        if np.array_equal(before, places):
            break
    return places


def _smooth(scores: np.ndarray, neighbours: int) -> np.ndarray:
    """Average each score with its neighbours on either side."""
    width = 2 * neighbours + 1
    return np.convolve(np.pad(scores, neighbours, mode="edge"), np.ones(width) / width, mode="valid")


def _score(rows: _Rows, judge: Judge, places: np.ndarray) -> float:
    score = float(judge(rows.confusion(places[None]))[0])
    return score if np.isfinite(score) else -np.inf


def _by_metric(metric: MetricSpec, counts: np.ndarray) -> np.ndarray:
    """Ask a metric of predicted classes, which depends on these counts alone, once for each of MxCxC."""
    sign, grades = (1 if metric.higher_is_better else -1), np.indices(counts.shape[1:]).reshape(2, -1)
    scores = []
    for each in counts.reshape(len(counts), -1):
        target, predicted = np.repeat(grades, each, axis=1)
        scores.append(sign * metric.compute(target, ORDINAL.as_probabilities(predicted, counts.shape[1])))
    return np.array(scores, np.float64)


def _is_quadratic_kappa(metric: MetricSpec, target: np.ndarray, expected: np.ndarray, tries: list[np.ndarray]) -> bool:
    """Return whether a metric is quadratic kappa, whoever's: it can then be judged for hundreds of cuts at once."""
    count = len(tries[0]) + 1
    for cuts in tries:
        predicted = np.searchsorted(cuts, expected, side="right")
        counts = np.bincount(target * count + predicted, minlength=count**2).reshape(1, count, count)
        theirs, own = float(_by_metric(metric, counts)[0]), float(quadratic_kappa(counts)[0])
        if not np.isclose(theirs, own, rtol=0, atol=1e-6, equal_nan=True):
            return False
    return True


def tune(target: np.ndarray, values: np.ndarray, folds: np.ndarray, metric: MetricSpec) -> dict[str, TunedRule]:
    """Tune by every method of `METHODS` on out-of-fold predictions.

    Args:
        target: n grades.
        values: nxC probabilities.
        folds: n, the fold of each row; at least two folds.
        metric: of predicted classes, for which cuts are tuned and which compares the methods.
    """
    return {method: _cross_fitted(method, target, values, folds, metric) for method in METHODS}


def nested(target: np.ndarray, values: np.ndarray, folds: np.ndarray, metric: MetricSpec) -> np.ndarray:
    """Predict the grade of each row, n, by the cuts that are tuned on the other folds."""
    return _cross_fitted("tuned", target, values, folds, metric).predicted


def _cross_fitted(
    method: str, target: np.ndarray, values: np.ndarray, folds: np.ndarray, metric: MetricSpec
) -> TunedRule:
    def fit_on(chosen: frozenset[int]) -> Grades:
        rows = np.isin(folds, list(chosen))
        return fit(method, target[rows], values[rows], metric)

    def score(predicted: np.ndarray) -> float:
        return metric.compute(target, ORDINAL.as_probabilities(predicted, values.shape[1]))

    return cross_fit(fit_on, values, folds, score)


def by_class(classes: Sequence[str], target: np.ndarray, values: np.ndarray, best: TunedRule) -> list[dict[str, Any]]:
    """Return one row per grade: from which expected grade it is predicted, and recall with and without the rule."""
    count, cuts = len(classes), best.rule.document()["cuts"]
    from_ = [None, *cuts] if cuts else [None] * count
    before, after = (recall_by_class(target, each, count) for each in (ORDINAL.predicted(values), best.predicted))
    positives, counts = (np.bincount(numbers, minlength=count) for numbers in (target, best.predicted))
    return [
        {
            "class": name,
            "positives": int(positives[k]),
            "predicted": int(counts[k]),
            "cut": from_[k],
            "recall_by_rounding": float(before[k]),
            "recall": float(after[k]),
        }
        for k, name in enumerate(classes)
    ]
