"""What a run answers for single images: of training images what its report says, however few are looked at."""

from collections.abc import Sequence

import numpy as np

from kit.data.open_run import OpenRun
from kit.decision.apply import held_out, rules_of
from kit.decision.rule import DecisionRule
from kit.scoring.predictions import Predictions


class Answers:
    """The predicted classes of single images, or their numbers.

    An image that one of the run's networks has held out has the answer of its report: that of its id, by the rule that
    has not seen it. Any other (a test image, or one shown to a network that has learned from it) has that of the rule
    tuned on all out-of-fold predictions.
    """

    def __init__(self, opened: OpenRun) -> None:
        self.index = opened.index
        self.place: dict[str, int] = {}
        self.rule: DecisionRule | None = None
        if not opened.run.has("oof.npz"):
            return
        oof = Predictions.load(opened.run.reading("oof.npz"))
        decided = held_out(opened, oof.ids, oof.values)
        self.place = {id_: row for row, id_ in enumerate(oof.ids.tolist())}
        self.fold = opened.folds.of_ids(oof.ids)
        self.answers = self._spread(decided.predicted)
        rules = rules_of(opened.run)
        self.rule = None if rules is None else rules.rule.fixed(oof.values)

    def of(self, ids: Sequence[str], fold: int, probabilities: np.ndarray) -> np.ndarray:
        """Return the predicted classes of images, BxC truth values, at least one for each; of a regression the numbers.

        Args:
            ids: B.
            fold: whose network looks at them.
            probabilities: BxC, what it says; of a regression numbers.
        """
        task = self.index.task
        values = probabilities[:, -self.index.outputs :]
        answers = self._spread(task.predicted(values) if self.rule is None else self.rule.predicted(values)).copy()
        for row, id_ in enumerate(ids):
            place = self.place.get(id_)
            if place is not None and self.fold[place] == fold:
                answers[row] = self.answers[place]
        if task.has_classes:
            empty = np.flatnonzero(~answers.any(1))
            answers[empty, probabilities[empty].argmax(1)] = True
        return answers

    def _spread(self, predicted: np.ndarray) -> np.ndarray:
        """Spread predicted classes over one column per class; numbers have one per target."""
        task = self.index.task
        return task.one_hot(predicted, len(self.index.classes)) if task.has_classes else predicted
