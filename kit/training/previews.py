"""Sample predictions for trackers: the first validation images with their labels and what the network says."""

import numpy as np

from kit.data.index import label_text
from kit.hooks.specs import Preview, Task
from kit.inference.forward import Forward
from kit.pixels.samples import Samples

COUNT = 16
THRESHOLD = 0.5


def previews(samples: Samples, result: Forward, task: Task, classes: tuple[str, ...]) -> list[Preview]:
    """The first 16 samples, always the same ones.

    Args:
        samples: the validation part.
        result: what a network gave for it, row by row.
        task: binary, multiclass or multilabel.
        classes: names of all classes (two for a binary task).
    """
    return [
        Preview(
            samples.dataset.picture(samples.image(row)),
            f"label {label_text(task, classes, result.targets[row])}\n"
            f"predicted {_predicted(result.probabilities[row], task, classes)}",
        )
        for row in range(min(COUNT, len(samples)))
    ]


def _predicted(probabilities: np.ndarray, task: Task, classes: tuple[str, ...]) -> str:
    """The classes at or above one half for a multilabel task, surest first; otherwise the likeliest class."""
    if task == "multilabel":
        chosen = [number for number in np.argsort(-probabilities) if probabilities[number] >= THRESHOLD]
        return ", ".join(f"{classes[number]} {probabilities[number]:.2f}" for number in chosen) or "none"
    shares = np.array([1 - probabilities[0], probabilities[0]]) if task == "binary" else probabilities
    return f"{classes[int(shares.argmax())]} {shares.max():.2f}"
