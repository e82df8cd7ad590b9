"""The plate structure: groups of siRNAs stay together, one group a plate, and each siRNA stands there once.

Which classes form a group is learned from the training wells; which group lies on which plate of a new experiment is
found from the votes. Then two facts correct the votes: a well can only hold a class of its plate's group (masking),
and no class stands on a plate twice (assignment). Recursion explained the structure in the competition's forum;
Zaharchikishev's kernel "Keras model boosted with plates leak" masked by it (accuracy .113 to .207, and .231 from the
mean of both sites), other entries went on with the Hungarian algorithm, plate by plate. The assignment here is
`scipy.optimize.linear_sum_assignment`, Jonker-Volgenant's shortest augmenting paths as Crouse (2016, "On implementing
2D rectangular assignment algorithms") states them.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from scipy.optimize import linear_sum_assignment

from kit.errors import KitError

# Share of training wells that must stand where their group does. Of random layouts of 32 classes in two experiments at
# most .73 (four plates) and .84 (two plates) did, of larger ones fewer.
FIT = 0.9
ASSIGNED = 0.6  # of a row's mass: more than half, so that the assigned class is the most probable one
LEAST = 1e-6  # mass of a group in a well's vote: one confident mistake proves nothing
SMALLEST = np.finfo(np.float32).tiny
MEND = "submit without --plates"


def learn_groups(experiment: np.ndarray, plate: np.ndarray, target: np.ndarray, classes: int) -> np.ndarray:
    """The group of each class: those of one group share a plate in every experiment.

    Classes that share a plate in more than half of their common experiments are taken together, the most numerous
    first, as many groups as an experiment has plates. Then each class goes to the group on whose plate it stands most
    often, so that some missing or wrongly plated wells don't matter.

    Args:
        experiment: of n training wells, any names.
        plate: of the n wells, any names.
        target: class numbers of the n wells.
        classes: how many classes there are, K.

    Returns:
        K group numbers 0, 1, ... in the order of first appearance; -1: a class of no group, which is one without a
        training well or one that stands several times in an experiment, as controls do.

    Raises:
        KitError: the wells show no such structure.
    """
    wells = _counted(experiment, plate, target, classes)
    experiments, plates, _ = wells.shape
    stands = wells.sum(1)
    present = (stands > 0).astype(np.float32)
    once = (stands > 0).any(0) & (stands.sum(0) < 1.5 * present.sum(0))
    where = wells / np.maximum(stands, 1)[:, None]  # a class's share of each plate
    flat = where.reshape(-1, classes)
    near = 2 * flat.T @ flat > present.T @ present
    member = _gathered(near, plates).astype(np.float32)
    fits = np.zeros((plates, classes))  # experiments in which a class stands on a group's plate
    for counts, shares in zip(wells, where, strict=True):
        rows, columns = linear_sum_assignment(counts @ member.T, maximize=True)
        fits[columns] += shares[rows]
    fit = fits.max(0)[once].sum() / max(1, stands[:, once].sum())
    # One experiment fits any layout.
    if experiments < 2 or fit < FIT:
        raise KitError(
            f"the training wells show no groups of classes that stay together on a plate ({fit:.0%} of the wells of "
            f"{experiments} experiments fit the best groups, {FIT:.0%} of two or more should): {MEND}"
        )
    groups = np.full(classes, -1)
    groups[once] = pd.factorize(fits.argmax(0)[once])[0]
    return groups


def _counted(experiment: np.ndarray, plate: np.ndarray, target: np.ndarray, classes: int) -> np.ndarray:
    """How many wells a class has on each plate: float32, experiments x plates x classes.

    Plates are counted within their experiment, as only there it matters which classes share one.
    """
    experiments, names = pd.factorize(experiment)
    plates = pd.Series(pd.factorize(plate)[0]).groupby(experiments).rank("dense").to_numpy(np.int64) - 1
    wells = np.zeros((len(names), plates.max() + 1, classes), np.float32)
    np.add.at(wells, (experiments, plates, target), 1)
    return wells


def _gathered(near: np.ndarray, plates: int) -> np.ndarray:
    """Groups around the classes with the most neighbours that are free, plates x K of truth values.

    Stars and not chains: a class that is wrongly plated often can't join two groups.

    Args:
        near: KxK, which classes are neighbours.
        plates: how many groups to take.
    """
    member, free = np.zeros((plates, len(near)), bool), np.ones(len(near), bool)
    for group in member:
        centre = np.argmax((near & free).sum(1))
        group[:] = near[centre] & free
        free &= ~group
    return member


def find_permutation(values: np.ndarray, plate: np.ndarray, groups: np.ndarray) -> dict[Any, int]:
    """Which group lies on each plate of one experiment: of all one-to-one placements the most likely one.

    A well votes for a group by the logarithm of the mass that its classes have, so that wells multiply as independent
    observations do. Before, each class is scaled to one vote in the experiment, since it stands there once: a weak
    network votes for a few classes everywhere, which would drown what it knows.

    Args:
        values: probabilities of the experiment's n wells, nxK.
        plate: of the n wells.
        groups: of the K classes, from `learn_groups`.

    Returns:
        Name of the plate -> number of its group.

    Raises:
        KitError: there are more plates than groups.
    """
    number, names = pd.factorize(plate, sort=True)
    count = int(groups.max()) + 1
    if len(names) > count:
        raise KitError(f"an experiment has {len(names)} plates for {count} groups of classes: {MEND}")
    # A class's group, divided by all its votes; none for a class of no group.
    weights = (groups[:, None] == np.arange(count)) / np.maximum(values.sum(0, np.float64), SMALLEST)[:, None]
    likely = np.log(np.maximum(values @ weights, LEAST))
    of_plate = np.eye(len(names))[number]
    rows, columns = linear_sum_assignment(of_plate.T @ likely, maximize=True)
    return dict(zip(np.asarray(names)[rows].tolist(), columns.tolist(), strict=True))


def masked(values: np.ndarray, experiment: np.ndarray, plate: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Probabilities in which only the classes of a well's plate are left, scaled to sum 1.

    Args:
        values: probabilities of n wells (sites averaged before), nxK.
        experiment: of the n wells.
        plate: of the n wells.
        groups: of the K classes, from `learn_groups`.

    Returns:
        float32 nxK. A well without a vote for any of its plate's classes gives all of them the same probability.

    Raises:
        KitError: an experiment has more plates than there are groups.
    """
    result = np.zeros(values.shape, np.float32)
    for block in _blocks(values, experiment, plate, groups):
        result[block] = _masked_block(values[block])
    return result


def assign(values: np.ndarray, experiment: np.ndarray, plate: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Masked probabilities in which no class is the most probable one of two wells of a plate.

    On each plate wells and classes are matched one to one, so that the sum of log-probabilities is largest. 0.6 of a
    row's mass goes to the assigned class, the rest is shared out as `masked` does, so that second choices keep their
    order. Wells beyond the number of classes (controls counted in) keep their masked probabilities.

    Args:
        values: probabilities of n wells (sites averaged before), nxK.
        experiment: of the n wells.
        plate: of the n wells.
        groups: of the K classes, from `learn_groups`.

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
    """Of each plate of each experiment: its wells and its classes, as an index into nxK."""
    for name in pd.unique(experiment):
        own = np.flatnonzero(experiment == name)
        for plate_name, group in find_permutation(values[own], plate[own], groups).items():
            yield np.ix_(own[plate[own] == plate_name], np.flatnonzero(groups == group))


def _masked_block(votes: np.ndarray) -> np.ndarray:
    """A plate's wells and classes as float64 rows of sum 1; a row of zeros becomes equal shares."""
    shares = votes.astype(np.float64)
    shares[~shares.any(1)] = 1
    return shares / shares.sum(1, keepdims=True)
