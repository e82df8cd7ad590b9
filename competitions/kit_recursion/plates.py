"""Use the plate structure: a plate holds one group of siRNAs, and each siRNA of the group once.

The training wells tell which classes form a group; the predicted probabilities (votes) tell which group is on which
plate of a new experiment. Then two facts correct the votes: a well can only hold a class of its plate's group
(masking), and no class is on a plate twice (assignment). Recursion explained the structure in the competition's forum.
Zaharchikishev's kernel "Keras model boosted with plates leak" masked by it (accuracy .113 to .207, and .231 with the
mean of both sites); other entries added the Hungarian algorithm, plate by plate. The assignment here is
`scipy.optimize.linear_sum_assignment`, Jonker-Volgenant's shortest augmenting paths as in Crouse (2016, "On
implementing 2D rectangular assignment algorithms").
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from scipy.optimize import linear_sum_assignment

from kit.errors import KitError

# Share of training wells that must be on their group's plate. In random layouts of 32 classes in two experiments at
# most .73 (four plates) and .84 (two plates) were, in larger ones fewer.
FIT = 0.9
ASSIGNED = 0.6  # share of a row's mass: above one half, so that the assigned class is the most probable one
MIN_MASS = 1e-6  # mass of a group in a well's vote, at least: one confident mistake proves nothing
SMALLEST = np.finfo(np.float32).tiny
MEND = "submit without --postprocess"


def learn_groups(experiment: np.ndarray, plate: np.ndarray, target: np.ndarray, classes: int) -> np.ndarray:
    """Find the group of each class: the classes of a group share a plate in every experiment.

    Classes that share a plate in more than half of their common experiments form a group; the largest groups come
    first, as many as an experiment has plates. Then each class goes to the group on whose plate it is most often, so
    that a few missing or wrongly plated wells don't matter.

    Args:
        experiment: experiment of each of n training wells, any names.
        plate: plate of each well, any names.
        target: class number of each well.
        classes: number of classes K.

    Returns:
        K group numbers 0, 1, ... in the order of first appearance; -1 for a class without a group: one without a
        training well, or with several wells per experiment, as controls have.

    Raises:
        KitError: the wells show no such structure.
    """
    wells = _counted(experiment, plate, target, classes)
    experiments, plates, _ = wells.shape
    counts = wells.sum(1)
    present = (counts > 0).astype(np.float32)
    once = (counts > 0).any(0) & (counts.sum(0) < 1.5 * present.sum(0))
    where = wells / np.maximum(counts, 1)[:, None]  # share of a class's wells on each plate
    flat = where.reshape(-1, classes)
    near = 2 * flat.T @ flat > present.T @ present
    member = _gathered(near, plates).astype(np.float32)
    fits = np.zeros((plates, classes))  # number of experiments in which a class is on a group's plate
    for on_plate, shares in zip(wells, where, strict=True):
        rows, columns = linear_sum_assignment(on_plate @ member.T, maximize=True)
        fits[columns] += shares[rows]
    fit = fits.max(0)[once].sum() / max(1, counts[:, once].sum())
    # Any layout fits a single experiment.
    if experiments < 2 or fit < FIT:
        raise KitError(
            f"the training wells show no groups of classes that stay together on a plate ({fit:.0%} of the wells of "
            f"{experiments} experiments fit the best groups, {FIT:.0%} of two or more should): {MEND}"
        )
    groups = np.full(classes, -1)
    groups[once] = pd.factorize(fits.argmax(0)[once])[0]
    return groups


def _counted(experiment: np.ndarray, plate: np.ndarray, target: np.ndarray, classes: int) -> np.ndarray:
    """Count the wells of each class on each plate: float32, experiments x plates x classes.

    Plates are numbered within their experiment, because only there it matters which classes share one.
    """
    experiments, names = pd.factorize(experiment)
    plates = pd.Series(pd.factorize(plate)[0]).groupby(experiments).rank("dense").to_numpy(np.int64) - 1
    wells = np.zeros((len(names), plates.max() + 1, classes), np.float32)
    np.add.at(wells, (experiments, plates, target), 1)
    return wells


def _gathered(near: np.ndarray, plates: int) -> np.ndarray:
    """Form groups around the classes with the most free neighbours, plates x K of booleans.

    Groups are stars, not chains: a class that is often wrongly plated can't join two groups.

    Args:
        near: KxK, which classes are neighbours.
        plates: number of groups to form.
    """
    member, free = np.zeros((plates, len(near)), bool), np.ones(len(near), bool)
    for group in member:
        centre = np.argmax((near & free).sum(1))
        group[:] = near[centre] & free
        free &= ~group
    return member


def find_permutation(values: np.ndarray, plate: np.ndarray, groups: np.ndarray) -> dict[Any, int]:
    """Find which group is on each plate of one experiment: the most likely of all one-to-one placements.

    A well votes for a group with the logarithm of the mass of its classes, so that wells multiply like independent
    observations. Before that, each class is scaled to one vote per experiment, because it occurs there once: a weak
    network votes for a few classes everywhere, which would drown what it knows.

    Args:
        values: probabilities of the experiment's n wells, nxK.
        plate: plate of each well.
        groups: group of each class, K, from `learn_groups`.

    Returns:
        The number of the group by name of the plate.

    Raises:
        KitError: there are more plates than groups.
    """
    number, names = pd.factorize(plate, sort=True)
    count = int(groups.max()) + 1
    if len(names) > count:
        raise KitError(f"an experiment has {len(names)} plates for {count} groups of classes: {MEND}")
    # One over a class's votes, in the column of its group; zeros for a class without a group.
    weights = (groups[:, None] == np.arange(count)) / np.maximum(values.sum(0, np.float64), SMALLEST)[:, None]
    likely = np.log(np.maximum(values @ weights, MIN_MASS))
    of_plate = np.eye(len(names))[number]
    rows, columns = linear_sum_assignment(of_plate.T @ likely, maximize=True)
    return dict(zip(np.asarray(names)[rows].tolist(), columns.tolist(), strict=True))


def masked(values: np.ndarray, experiment: np.ndarray, plate: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Keep only the probabilities of the classes of a well's plate, scaled to sum 1.

    Args:
        values: probabilities of n wells (mean of their sites), nxK.
        experiment: experiment of each well.
        plate: plate of each well.
        groups: group of each class, K, from `learn_groups`.

    Returns:
        float32 nxK. A well without a vote for any class of its plate gets the same probability for all of them.

    Raises:
        KitError: an experiment has more plates than there are groups.
    """
    result = np.zeros(values.shape, np.float32)
    for block in _blocks(values, experiment, plate, groups):
        result[block] = _masked_block(values[block])
    return result


def assign(values: np.ndarray, experiment: np.ndarray, plate: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Mask probabilities, and make every class the most probable one of at most one well per plate.

    Wells and classes of a plate are matched one to one, with the largest sum of log-probabilities. 0.6 of a row's mass
    goes to the assigned class, the rest is distributed as in `masked`, so that second choices keep their order. Wells
    beyond the number of classes (if controls are included) keep their masked probabilities.

    Args:
        values: probabilities of n wells (mean of their sites), nxK.
        experiment: experiment of each well.
        plate: plate of each well.
        groups: group of each class, K, from `learn_groups`.

    Returns:
        float32 nxK; rows sum to 1.

    Raises:
        KitError: an experiment has more plates than there are groups.
    """
    result = np.zeros(values.shape, np.float32)
    for block in _blocks(values, experiment, plate, groups):
        shares = _masked_block(values[block])
        wells, classes = linear_sum_assignment(np.log(np.maximum(shares, SMALLEST)), maximize=True)
        shares[wells] *= 1 - ASSIGNED
        shares[wells, classes] += ASSIGNED
        result[block] = shares
    return result


def _blocks(
    values: np.ndarray, experiment: np.ndarray, plate: np.ndarray, groups: np.ndarray
) -> Iterator[tuple[np.ndarray, ...]]:
    """Yield the wells and classes of each plate of each experiment, as an index into nxK."""
    for name in pd.unique(experiment):
        own = np.flatnonzero(experiment == name)
        for plate_name, group in find_permutation(values[own], plate[own], groups).items():
            yield np.ix_(own[plate[own] == plate_name], np.flatnonzero(groups == group))


def _masked_block(votes: np.ndarray) -> np.ndarray:
    """Scale the votes of a plate's wells for its classes to rows of sum 1, float64; zeros become equal shares."""
    shares = votes.astype(np.float64)
    shares[~shares.any(1)] = 1
    return shares / shares.sum(1, keepdims=True)
