"""Using the plates of recursion: kit's way beside the competition's public one, on made-up votes at full size.

19,944 wells of 18 test experiments and 33 of training; the groups lie by one of four rotations. The public way (its
idea, written anew): where each class stood in training, class by class from the table; the rotation that most argmax
votes fit; a mask of the whole matrix; then `linear_sum_assignment` of the probabilities. kit learns the groups, looks
at all 24 placements and is told of no rotation. The networks: an even one, an overconfident one, and one that votes for
few classes everywhere, as a weak one does in a new experiment.

    python benchmarks/plates.py
"""

import time
from collections.abc import Callable

import machine
import numpy as np
import pandas as pd
from scipy.optimize import linear_sum_assignment

from kit_recursion.plates import assign, learn_groups

CLASSES, PLATES, TRAIN, TEST, TIMES = 1108, 4, 33, 18, 3
# How far the right class stands out, how sure the network is, how uneven its classes are.
NETWORKS = {"even": (2.2, 1, 0), "overconfident": (2.2, 8, 0), "few classes": (2.2, 8, 1), "fewer": (2.2, 8, 1.5)}


def layout(random: np.random.Generator, groups: np.ndarray, experiments: int) -> pd.DataFrame:
    number, sirna = np.divmod(np.arange(experiments * CLASSES), CLASSES)
    # Each rotation at least once, as the public way needs.
    rotation = random.permutation(np.arange(experiments) % PLATES)[number]
    frame = pd.DataFrame({"experiment": number, "plate": (groups[sirna] + rotation) % PLATES + 1, "sirna": sirna})
    return frame.sample(frac=1, random_state=0).sort_values(["experiment", "plate"], kind="stable", ignore_index=True)


def votes(random: np.random.Generator, wells: pd.DataFrame, signal: float, sharpness: float, bias: float) -> np.ndarray:
    logits = random.standard_normal((len(wells), CLASSES), dtype=np.float32)
    logits[np.arange(len(wells)), wells["sirna"]] += signal
    for name in wells["experiment"].unique():
        logits[wells["experiment"] == name] += bias * random.standard_normal(CLASSES, dtype=np.float32)
    logits *= sharpness
    values = np.exp(logits - logits.max(1, keepdims=True))
    return values / values.sum(1, keepdims=True)


def kit_way(train: pd.DataFrame, test: pd.DataFrame, values: np.ndarray) -> np.ndarray:
    columns = ("experiment", "plate")
    groups = learn_groups(*(train[name].to_numpy() for name in (*columns, "sirna")), CLASSES)
    return assign(values, *(test[name].to_numpy() for name in columns), groups).argmax(1)


def public_way(train: pd.DataFrame, test: pd.DataFrame, values: np.ndarray) -> np.ndarray:
    first = train[train["experiment"] == 0]
    stood = np.array([first.loc[first["sirna"] == sirna, "plate"].iloc[0] for sirna in range(CLASSES)])
    result = np.zeros(len(test), int)
    for name in test["experiment"].unique():
        own = np.flatnonzero(test["experiment"] == name)
        plate, block = test["plate"].to_numpy()[own], values[own]
        rotated = [(stood + rotation - 1) % PLATES + 1 for rotation in range(PLATES)]
        best = max(rotated, key=lambda place: (place[block.argmax(1)] == plate).sum())
        block[best[None] != plate[:, None]] = 0
        for number in range(1, PLATES + 1):
            wells = np.flatnonzero(plate == number)
            rows, classes = linear_sum_assignment(block[wells], maximize=True)
            result[own[wells[rows]]] = classes
    return result


Way = Callable[[pd.DataFrame, pd.DataFrame, np.ndarray], np.ndarray]


def timed(way: Way, train: pd.DataFrame, test: pd.DataFrame, values: np.ndarray) -> tuple[float, float]:
    """Median of the seconds, and the accuracy."""
    seconds = []
    for _ in range(TIMES):
        began = time.perf_counter()
        chosen = way(train, test, values)
        seconds.append(time.perf_counter() - began)
    return float(np.median(seconds)), float((chosen == test["sirna"]).mean())


def main() -> None:
    random = np.random.default_rng(0)
    groups = random.permutation(np.arange(CLASSES) % PLATES)
    train, test = layout(random, groups, TRAIN), layout(random, groups, TEST)
    found = {}
    for name, network in NETWORKS.items():
        values = votes(random, test, *network)
        kit, public = timed(kit_way, train, test, values), timed(public_way, train, test, values)
        found[name] = {
            "accuracy": round(float((values.argmax(1) == test["sirna"]).mean()), 4),
            "kit_accuracy": round(kit[1], 4),
            "public_accuracy": round(public[1], 4),
            "kit_seconds": round(kit[0], 2),
            "public_seconds": round(public[0], 2),
            "kit_over_public": round(kit[0] / public[0], 2),
        }
    machine.write("plates", {"wells": len(test), "classes": CLASSES, "networks": found})


if __name__ == "__main__":
    main()
