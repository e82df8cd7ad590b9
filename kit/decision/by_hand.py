"""Cuts given by hand (`kit thresholds --at melanoma=0.2,nevus=0.5`): nothing is tuned, they are only scored."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np

from kit.decision.cut import Cut
from kit.decision.grades import Grades
from kit.decision.rule import DecisionRule
from kit.decision.thresholds import Thresholds
from kit.errors import KitError, nearest
from kit.scoring.predictions import Predictions
from kit.task import BINARY, HALF, MULTILABEL, ORDINAL, Task

METHOD = "at"


@dataclass(frozen=True)
class Cuts:
    """A decision rule of a multiclass task: classes with a cut are predicted from it on.

    Of several that reach their cut, that with the largest multiple of it is predicted. Where none does, the likeliest
    of the classes without a cut, or of all where every class has one.

    Args:
        cuts: K, infinite for a class without one.
    """

    cuts: tuple[float, ...]

    method = METHOD

    def predicted(self, values: np.ndarray) -> np.ndarray:
        """Predict n class numbers from probabilities nxK."""
        cuts = np.asarray(self.cuts)
        free = np.isinf(cuts)
        multiple = np.where(values >= cuts, values / np.where(free, 1, cuts), -1.0)
        rest = np.where(free, values, -1.0) if free.any() else values
        predicted: np.ndarray = np.where((multiple >= 0).any(1), multiple.argmax(1), rest.argmax(1))
        return predicted

    def applied(self, predictions: Predictions) -> Predictions:
        """Return predictions whose largest value is that of the predicted class: it changes places with the largest."""
        values = predictions.values.copy()
        rows, chosen, largest = np.arange(len(values)), self.predicted(values), values.argmax(1)
        values[rows, chosen], values[rows, largest] = values[rows, largest], values[rows, chosen]
        return replace(predictions, values=values)

    def thresholds_for(self, values: np.ndarray) -> None:
        """Return None: what is predicted does not depend on one class's probability alone."""

    def fixed(self, values: np.ndarray) -> "Cuts":
        """Return the rule itself: it does not depend on the rows that it is applied to."""
        return self

    def document(self) -> dict[str, Any]:
        """Return the rule as JSON."""
        return {"kind": "cuts", "method": METHOD, "cuts": [None if math.isinf(cut) else cut for cut in self.cuts]}

    @classmethod
    def of_document(cls, document: dict[str, Any]) -> "Cuts":
        """Read what `document` returned."""
        return cls(tuple(math.inf if cut is None else float(cut) for cut in document["cuts"]))


def parse(text: str, task: Task, classes: Sequence[str]) -> dict[str, float]:
    """Read `melanoma=0.2,nevus=0.5`, or one number for every class that has an output of its own.

    A name may hold `=` and `,`: the names of the classes are known.
    """
    outputs = task.outputs(classes)
    found: dict[str, float] = {}
    rest = text if _number(text) is None else ",".join(f"{name}={text}" for name in outputs)
    while rest := rest.strip():
        # The longest name first: one may begin with another.
        name = next((each for each in sorted(outputs, key=len, reverse=True) if rest.startswith(f"{each}=")), None)
        if name is None:
            given = re.split("[=,]", rest)[0].strip()
            if given in outputs:
                raise KitError(f"--at {text!r}: {given} has no cut: write {given}=0.3")
            raise KitError(f"--at {text!r}: {given!r} is no class with a probability: {nearest(given, outputs)}")
        number, _, rest = rest[len(name) + 1 :].partition(",")
        value = _number(number)
        if value is None or not 0 < value <= 1:
            raise KitError(f"--at {text!r}: {name} has no probability above 0 and up to 1: write {name}=0.3")
        if name in found:
            raise KitError(f"--at {text!r}: {name} is given twice: give it once")
        found[name] = value
    if not found:
        raise KitError(f"--at {text!r} names no class: write {outputs[0]}=0.3")
    return found


def rule_by_hand(text: str, task: Task, classes: Sequence[str]) -> tuple[DecisionRule, str]:
    """Return the rule that `--at` asks for, and what it does in words.

    A label without a cut has 0.5, a class of several has none; grades have a cut between each two.
    """
    if task is ORDINAL:
        between = _between(text, classes)
        return Grades(METHOD, between), ", ".join(
            f"{name} from {cut:g}" for name, cut in zip(classes[1:], between, strict=True)
        )
    cuts = parse(text, task, classes)
    words = ", ".join(f"{name} from {cut:g}" for name, cut in cuts.items())
    if task is BINARY:
        return Cut(METHOD, next(iter(cuts.values()))), words
    if task is MULTILABEL:
        return Thresholds(METHOD, tuple(cuts.get(name, HALF) for name in classes)), words
    return Cuts(tuple(cuts.get(name, math.inf) for name in classes)), words


def _between(text: str, classes: Sequence[str]) -> tuple[float, ...]:
    """Read the cuts between grades, `0.5,1.4,2.7`: one fewer than grades, increasing."""
    count = len(classes) - 1
    cuts = [_number(each) for each in text.split(",")]
    known = [cut for cut in cuts if cut is not None]
    rising = all(low < high for low, high in pairwise(known))
    if len(cuts) != count or len(known) != count or not rising or not all(0 <= cut <= count for cut in known):
        example = ",".join(f"{number + HALF:g}" for number in range(count))
        raise KitError(
            f"--at {text!r}: {len(classes)} grades need {count} increasing cuts of the expected grade, "
            f"0 to {count}: write {example}"
        )
    return tuple(known)


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    # Probabilities are float32, whose 0.7 is a little less than 0.7: it must reach a cut of 0.7.
    return min(value, float(np.float32(value))) if math.isfinite(value) else None
