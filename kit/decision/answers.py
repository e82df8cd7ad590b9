"""What a run answers for single images: of training images what its report says, however few are looked at."""

from collections.abc import Sequence

import numpy as np

from kit.data.open_run import OpenRun
from kit.decision.apply import held_out, rules_of
from kit.decision.rule import DecisionRule
from kit.scoring.predictions import Predictions


class Answers:
    """The predicted classes of single images.

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
        self.hot = self.index.task.one_hot(decided.predicted, len(self.index.classes))
        rules = rules_of(opened.run)
        self.rule = None if rules is None else rules.rule.fixed(oof.values)

    def of(self, ids: Sequence[str], fold: int, probabilities: np.ndarray) -> np.ndarray:
        """Return the predicted classes of images, BxC truth values, at least one for each.

        Args:
            ids: B.
            fold: whose network looks at them.
            probabilities: BxC, what it says.
        """
        task, classes = self.index.task, self.index.classes
        values = probabilities[:, -self.index.outputs :]
        predicted = task.predicted(values) if self.rule is None else self.rule.predicted(values)
        hot = task.one_hot(predicted, len(classes)).copy()
        for row, id_ in enumerate(ids):
            place = self.place.get(id_)
            if place is not None and self.fold[place] == fold:
                hot[row] = self.hot[place]
        empty = np.flatnonzero(~hot.any(1))
        hot[empty, probabilities[empty].argmax(1)] = True
        return hot
