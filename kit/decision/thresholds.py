"""Thresholds of a multi-label task: which probability makes a class part of the answer, and what that is worth.

Searching a cut for each class on the rows that then judge it flatters: of the best entries of the protein competition
several scored lower with such thresholds. So each way is also *estimated* here: its rule is made on all parts but one
and judged on that part, in turn (nested), whatever it chooses inside included.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property, reduce
from typing import TYPE_CHECKING, Any

import numpy as np

from kit.scoring.metrics import macro_f1
from kit.scoring.predictions import Predictions, decide

if TYPE_CHECKING:
    from kit.decision.weights import Weights

METHODS = {
    "half": "0.5 for every class",
    "one": "one cut for every class, by F1",
    "per-class": "a cut for each class by F1, drawn towards the one cut",
    "share": "a cut for each class that gives it as often as the labels have it",
}
# How many positives weigh as much as the one cut: 0 is free, infinity the one cut itself.
STRENGTHS = (0.0, 3.0, 10.0, 30.0, 100.0, 300.0, np.inf)
EDGE = 1e-6


@dataclass(frozen=True)
class Rule:
    """How probabilities become answers.

    Args:
        method: a name of `METHODS`.
        cuts: K, of `half`, `one` and `per-class`: a class is given from its cut on.
        shares: K, of `share`: the share of rows that get the class, whatever rows these are.
        strength: of `per-class`: a class of that many positives keeps half of its own cut.
    """

    method: str
    cuts: tuple[float, ...] = ()
    shares: tuple[float, ...] = ()
    strength: float | None = None

    def cuts_for(self, values: np.ndarray) -> np.ndarray:
        """The K cuts for these probabilities, nxK."""
        if self.method != "share":
            return np.asarray(self.cuts)
        ranked = -np.sort(-values.astype(np.float64), axis=0)
        # One row more than there are, at 0, and one above all, so that a cut lies between two rows for every count.
        ranked = np.vstack([np.full((1, values.shape[1]), 2.0), ranked, np.zeros((1, values.shape[1]))])
        counts = np.rint(np.asarray(self.shares) * len(values)).astype(int)
        columns = np.arange(values.shape[1])
        return (ranked[counts, columns] + ranked[counts + 1, columns]) / 2

    def decided(self, values: np.ndarray) -> np.ndarray:
        """The answers to probabilities nxK, nxK of truth values."""
        return decide(values, self.cuts_for(values))

    def applied(self, predictions: Predictions) -> Predictions:
        """Predictions with the cuts of this rule."""
        return replace(predictions, cuts=self.cuts_for(predictions.values))

    def document(self) -> dict[str, Any]:
        """As JSON."""
        return {"method": self.method, "cuts": list(self.cuts), "shares": list(self.shares), "strength": self.strength}

    @classmethod
    def of_document(cls, document: dict[str, Any]) -> "Rule":
        """What `document` gave."""
        return cls(document["method"], tuple(document["cuts"]), tuple(document["shares"]), document["strength"])


@dataclass(frozen=True)
class Tuned:
    """One way of deciding.

    Args:
        rule: made on all rows.
        fitted: the metric of that rule on the same rows; flatters.
        estimate: the metric of `decided`.
        part_rules: of each part the rule that was made without it.
        decided: nxK of truth values, or n class numbers: each row by the rule of its part.
    """

    rule: "Rule | Weights"
    fitted: float
    estimate: float
    part_rules: "Mapping[int, Rule | Weights]"
    decided: np.ndarray


def tune(target: np.ndarray, values: np.ndarray, parts: np.ndarray) -> dict[str, Tuned]:
    """Every way of `METHODS` on out-of-fold predictions.

    Args:
        target: nxK of 0 and 1.
        values: nxK, probabilities.
        parts: n, the fold of each row; two folds at least.
    """
    rows = _Rows(target > 0, values, parts)
    return {method: _tuned(method, rows) for method in METHODS}


def cross_fitted(target: np.ndarray, values: np.ndarray, parts: np.ndarray, method: str) -> float:
    """The nested estimate of one way alone."""
    return _tuned(method, _Rows(target > 0, values, parts)).estimate


def _tuned(method: str, rows: "_Rows") -> Tuned:
    everything = frozenset(rows.names)
    rule = _fit(method, rows, everything)
    part_rules = {part: _fit(method, rows, everything - {part}) for part in rows.names}
    decided = np.zeros(rows.target.shape, bool)
    for part, part_rule in part_rules.items():
        own = rows.parts == part
        decided[own] = part_rule.decided(rows.values[own])
    fitted = macro_f1(rows.target, rule.decided(rows.values))
    return Tuned(rule, fitted, macro_f1(rows.target, decided), part_rules, decided)


def _fit(method: str, rows: "_Rows", chosen: frozenset[int]) -> Rule:
    """The rule that some parts of the rows give."""
    classes = rows.target.shape[1]
    if method == "half":
        return Rule(method, (0.5,) * classes)
    if method == "share":
        seen = rows.of(chosen)
        return Rule(method, shares=tuple((rows.positives(chosen) / seen).tolist()))
    if method == "one":
        return Rule(method, (rows.cuts(chosen)[1],) * classes)
    strength = _strength(rows, chosen)
    return Rule(method, tuple(_drawn(rows, chosen, strength).tolist()), strength=strength)


def _drawn(rows: "_Rows", chosen: frozenset[int], strength: float) -> np.ndarray:
    """Each class's own best cut, drawn towards the one cut on the scale of logits: the more, the fewer positives."""
    positives = rows.positives(chosen)
    own_share = np.where(positives > 0, positives / np.maximum(positives + strength, 1), 0)
    own, one = (_logit(np.asarray(cuts)) for cuts in rows.cuts(chosen))
    return 1 / (1 + np.exp(-(own_share * own + (1 - own_share) * one)))


def _strength(rows: "_Rows", chosen: frozenset[int]) -> float:
    """The strength of `STRENGTHS` that does best on parts which the cuts have not seen; the stronger of equals."""
    if len(chosen) < 2:
        return 100.0
    scores = []
    for strength in STRENGTHS:
        counts = [rows.counts(part, _drawn(rows, chosen - {part}, strength)) for part in chosen]
        hits, given, positives = np.sum(counts, axis=0)
        scores.append((2 * hits / np.maximum(given + positives, 1)).mean())
    best = max(scores)
    return max(strength for strength, score in zip(STRENGTHS, scores, strict=True) if score == best)


def _logit(cuts: np.ndarray) -> np.ndarray:
    inside = np.clip(cuts, EDGE, 1 - EDGE)
    return np.log(inside / (1 - inside))


class _Rows:
    """Targets, probabilities and parts, sorted once: F1 of every cut of every class over any of the parts.

    A cut is named by the row behind which it lies, class by class in falling order of the probability.
    """

    def __init__(self, target: np.ndarray, values: np.ndarray, parts: np.ndarray) -> None:
        self.target, self.values, self.parts = target, values, parts
        self.names: list[int] = np.unique(parts).tolist()
        order = np.argsort(-values, axis=0, kind="stable")
        self.ranked = np.take_along_axis(values, order, 0)
        hit, part = np.take_along_axis(target, order, 0), parts[order]
        # Of each part the true and the given answers above every cut, nxK.
        self.hits = {p: np.cumsum(hit & (part == p), 0, dtype=np.int32) for p in self.names}
        self.given = {p: np.cumsum(part == p, 0, dtype=np.int32) for p in self.names}
        self._cuts: dict[frozenset[int], tuple[np.ndarray, float]] = {}
        # Between rows of one probability there is no cut.
        self.real = np.vstack([self.ranked[:-1] > self.ranked[1:], np.ones((1, values.shape[1]), bool)])

    def of(self, chosen: frozenset[int]) -> int:
        """Number of rows."""
        return int(np.isin(self.parts, list(chosen)).sum())

    def positives(self, chosen: frozenset[int]) -> np.ndarray:
        """Rows of each class, K."""
        return np.sum([self.hits[part][-1] for part in chosen], axis=0)

    def counts(self, part: int, cuts: np.ndarray) -> np.ndarray:
        """Of one part, at these cuts: true answers, given ones, positives; 3xK."""
        own = self.parts == part
        given, target = self.values[own] >= cuts, self.target[own]
        return np.stack([(given & target).sum(0), given.sum(0), target.sum(0)])

    def cuts(self, chosen: frozenset[int]) -> tuple[np.ndarray, float]:
        """The cut of each class at which its F1 is largest, K, and the one cut at which macro F1 is.

        The one is looked for among all cuts of all classes, each of which changes one class's F1.
        """
        if chosen not in self._cuts:
            hits, given = (reduce(np.add, (counts[part] for part in chosen)) for counts in (self.hits, self.given))
            f1 = 2 * hits / np.maximum(given + hits[-1], 1)
            best = np.where(self.real, f1, -1).argmax(0)
            own = [_middle(self.ranked[:, k], row, given[:, k]) for k, row in enumerate(best.tolist())]
            order, ranked = self._all
            macro = np.cumsum(np.diff(f1, axis=0, prepend=0).reshape(-1)[order])
            macro[:-1][ranked[:-1] == ranked[1:]] = -1
            counted = np.cumsum(np.diff(given, axis=0, prepend=0).reshape(-1)[order])
            self._cuts[chosen] = np.array(own), _middle(ranked, int(macro.argmax()), counted)
        return self._cuts[chosen]

    @cached_property
    def _all(self) -> tuple[np.ndarray, np.ndarray]:
        """The order of all cuts of all classes, and their probabilities in it."""
        flat = self.ranked.reshape(-1)
        order = np.argsort(-flat, kind="stable")
        return order, flat[order]


def _middle(ranked: np.ndarray, row: int, given: np.ndarray) -> float:
    """The middle between a row and the next lower one that counts; 0 follows the last.

    Args:
        ranked: probabilities in falling order, n.
        row: behind which the cut lies.
        given: n, how many rows that count are at or above each one: others must not move the cut.
    """
    above = np.searchsorted(given, given[row])  # the lowest row that counts and is not below
    below = np.searchsorted(given, given[row], side="right")
    return (float(ranked[above]) + (float(ranked[below]) if below < len(ranked) else 0)) / 2


def parts_of(folds: np.ndarray, groups: np.ndarray, seed: int = 0) -> np.ndarray:
    """The parts on which a rule is estimated: the folds; where there is one, five random parts of whole groups."""
    if len(np.unique(folds)) > 1:
        return folds
    known, number = np.unique(groups, return_inverse=True)
    return np.random.default_rng(seed).permutation(np.arange(len(known)) % 5)[number]


def best_method(tuned: Mapping[str, Tuned]) -> str:
    """The way of the highest nested estimate, the simplest (first) of equals."""
    return max(tuned, key=lambda method: tuned[method].estimate)
