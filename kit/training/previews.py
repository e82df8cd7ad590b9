"""Sample predictions for trackers: the first validation images with their labels and what is predicted."""

import numpy as np

from kit.hooks.trackers import Preview
from kit.inference.forward import Forward
from kit.pixels.samples import Samples
from kit.task import Task

COUNT = 16


def previews(samples: Samples, result: Forward, task: Task, classes: tuple[str, ...]) -> list[Preview]:
    """Return previews of the first 16 samples, always the same ones.

    Args:
        samples: the validation images.
        result: their predictions, row by row.
        task: task of the competition.
        classes: names of all classes (two for a binary task).
    """
    return [
        Preview(
            samples.dataset.picture(samples.image(row)),
            f"label {task.label_text(classes, result.targets[row])}\n"
            f"predicted {_predicted(result.probabilities[row], task, classes)}",
        )
        for row in range(min(COUNT, len(samples)))
    ]


def _predicted(probabilities: np.ndarray, task: Task, classes: tuple[str, ...]) -> str:
    """Return the predicted classes with their probabilities, most likely first; numbers as they are."""
    if not task.has_classes:
        return task.label_text(classes, probabilities)
    shares = task.by_class(probabilities[None])[0]
    return ", ".join(f"{classes[number]} {shares[number]:.2f}" for number in task.predicted_numbers(shares))
