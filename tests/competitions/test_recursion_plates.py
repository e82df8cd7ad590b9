"""The plate structure of recursion: groups learned, placements found, masks and assignments against brute force."""

import io
import itertools
import time
import zipfile
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest

from kit.errors import KitError
from kit_recursion.plates import assign, find_permutation, learn_groups, masked


@dataclass
class Wells:
    """Wells of a made-up layout: where each stands, its class, and the true group of each class."""

    experiment: np.ndarray
    plate: np.ndarray
    target: np.ndarray
    groups: np.ndarray

    def __getitem__(self, rows: np.ndarray) -> "Wells":
        return Wells(self.experiment[rows], self.plate[rows], self.target[rows], self.groups)

    def learned(self) -> np.ndarray:
        return learn_groups(self.experiment, self.plate, self.target, len(self.groups))


def layout(random: np.random.Generator, classes: int, plates: int, experiments: int) -> Wells:
    """Groups of equal size that each experiment lays on its plates by a rotation, the wells in any order."""
    groups = pd.factorize(random.permutation(np.arange(classes) % plates))[0]
    target = np.tile(np.arange(classes), experiments)
    number = np.repeat(np.arange(experiments), classes)
    plate = (groups[target] + random.integers(plates, size=experiments)[number]) % plates + 1
    names = np.array([f"CELL-{index:02}" for index in range(experiments)], object)
    order = random.permutation(len(target))
    return Wells(names[number], plate, target, groups)[order]


def votes(random: np.random.Generator, wells: Wells, signal: float, sharpness: float = 1, bias: float = 0):
    """Softmax of noise that is higher by `signal` at the right class, and by chance at some classes in all wells."""
    classes = len(wells.groups)
    logits = random.standard_normal((len(wells.target), classes), dtype=np.float32)
    logits[np.arange(len(logits)), wells.target] += signal
    logits = sharpness * (logits + bias * random.standard_normal(classes, dtype=np.float32))
    values = np.exp(logits - logits.max(1, keepdims=True))
    return values / values.sum(1, keepdims=True)


def accuracy(values: np.ndarray, wells: Wells) -> float:
    return float((values.argmax(1) == wells.target).mean())


def most_on_a_plate(values: np.ndarray, wells: Wells) -> int:
    """How often the most frequent class is the most probable one on one plate."""
    frame = pd.DataFrame({"experiment": wells.experiment, "plate": wells.plate, "class": values.argmax(1)})
    return int(frame.value_counts().max())


@pytest.mark.parametrize(
    ("classes", "plates", "experiments", "missing", "wrong"),
    [(32, 4, 3, 0.05, 0), (32, 4, 8, 0.2, 0.03), (12, 3, 5, 0, 0.03), (1108, 4, 33, 0.7, 0.05), (1108, 4, 5, 0.1, 0)],
)
def test_groups_are_learned_though_wells_are_missing_or_wrongly_plated(classes, plates, experiments, missing, wrong):
    random = np.random.default_rng(1)
    wells = layout(random, classes, plates, experiments)
    moved = random.random(len(wells.plate)) < wrong
    wells.plate[moved] = wells.plate[moved] % plates + 1
    assert moved.any() == (wrong > 0)
    wells = wells[random.random(len(wells.plate)) >= missing]
    assert wells.learned().tolist() == wells.groups.tolist()
    # Plates that are named by their experiment too, as text.
    wells.plate = wells.experiment + "_" + wells.plate.astype(str).astype(object)
    assert wells.learned().tolist() == wells.groups.tolist()


def test_groups_are_numbered_by_their_first_class():
    # In both experiments class 0 stands on a plate alone, 1 and 3 on one, 2, 4 and 5 on one.
    plates = np.array([2, 1, 3, 1, 3, 3, 1, 3, 2, 3, 2, 2])
    found = learn_groups(np.repeat(["a", "b"], 6), plates, np.tile(np.arange(6), 2), 6)
    assert found.tolist() == [0, 1, 2, 1, 2, 2]


def test_controls_and_classes_without_a_well_are_of_no_group():
    wells = layout(np.random.default_rng(2), 32, 4, 6)
    places = pd.DataFrame({"experiment": wells.experiment, "plate": wells.plate}).drop_duplicates()
    controls = pd.concat([places.assign(target=32), places.assign(target=33)])
    found = learn_groups(
        np.append(wells.experiment, controls["experiment"]),
        np.append(wells.plate, controls["plate"]),
        np.append(wells.target, controls["target"]),
        35,
    )
    assert found.tolist() == [*wells.groups, -1, -1, -1]


@pytest.mark.parametrize(("classes", "experiments"), [(32, 2), (32, 3), (32, 12), (1108, 2), (1108, 33)])
def test_a_layout_by_chance_is_refused(classes, experiments):
    random = np.random.default_rng(3)
    wells = layout(random, classes, 4, experiments)
    for name in np.unique(wells.experiment):
        own = wells.experiment == name
        wells.plate[own] = random.permutation(wells.plate[own])
    with pytest.raises(KitError, match=r"no groups of classes that stay together .* without --postprocess"):
        wells.learned()


def test_a_layout_that_assignment_does_not_fit_is_refused():
    one = layout(np.random.default_rng(4), 32, 4, 1)
    with pytest.raises(KitError, match="of 1 experiments"):
        one.learned()
    wells = layout(np.random.default_rng(4), 32, 4, 6)
    twice = wells[np.repeat(np.arange(len(wells.target)), 2)]
    with pytest.raises(KitError, match="no groups"):
        twice.learned()


def test_the_real_tables_have_four_groups_of_277_in_both_encodings(archives):
    found = {}
    for name in ("recursion-cellular-image-classification.zip", "recursion_csv_2019_integer_labels.zip"):
        with zipfile.ZipFile(archives / name) as archive:
            table = pd.read_csv(io.BytesIO(archive.read("train.csv")), dtype=str)
        target, names = pd.factorize(table["sirna"], sort=True)
        groups = learn_groups(table["experiment"].to_numpy(), table["plate"].to_numpy(), target, len(names))
        assert len(names) == 1108
        assert np.bincount(groups).tolist() == [277] * 4
        found[name] = pd.Series(groups[target], table["id_code"])
    pairs = pd.concat(found.values(), axis=1, join="inner").drop_duplicates()
    assert len(pairs) == 4
    assert pairs[0].nunique() == pairs[1].nunique() == 4


@pytest.mark.parametrize(
    ("signal", "sharpness", "bias", "low", "high"),
    [(1.75, 1, 0, 0.05, 0.1), (1.75, 12, 0, 0.05, 0.1), (2.5, 3, 1, 0.05, 0.1), (1.8, 12, 1.5, 0, 0.03)],
)
def test_placements_are_found_by_weak_votes(signal, sharpness, bias, low, high):
    """Of 277 wells a plate some 20 are right; in the last case 4, as most votes fall on few classes everywhere."""
    random = np.random.default_rng(5)
    wells = layout(random, 1108, 4, 6)
    for name in np.unique(wells.experiment):
        own = wells[np.flatnonzero(wells.experiment == name)]
        values = votes(random, own, signal, sharpness, bias)
        assert low < accuracy(values, own) < high
        truth = dict(zip(own.plate.tolist(), own.groups[own.target].tolist(), strict=True))
        assert find_permutation(values, own.plate, own.groups) == truth


def test_of_two_placements_the_more_likely_one_is_found():
    # Each of the four classes has one vote in all, half of its group's mass: the product of the masses decides,
    # .99 x .2 x .395 x .395 = .031 against .01 x 1.2 x .405 x .405 = .002, and not their sum, 1.98 against 2.02.
    mass = np.array([[0.99, 0.01], [0.2, 1.2], [0.405, 0.395], [0.405, 0.395]])
    values = np.repeat(mass / 2, 2, axis=1)
    assert find_permutation(values, np.array(["x", "x", "y", "y"]), np.array([0, 0, 1, 1])) == {"x": 0, "y": 1}
    # A class that is voted for everywhere says nothing: scaled to one vote a class as above, it is the same.
    assert find_permutation(values * [9, 1, 1, 1], np.array([2, 2, 7, 7]), np.array([0, 0, 1, 1])) == {2: 0, 7: 1}


def test_plates_may_be_missing_but_not_be_too_many():
    wells = layout(np.random.default_rng(6), 32, 4, 1)
    values = np.eye(32, dtype=np.float32)[wells.target]
    three = wells.plate != 2
    found = find_permutation(values[three], wells.plate[three], wells.groups)
    assert found == dict(zip(wells.plate[three].tolist(), wells.groups[wells.target[three]].tolist(), strict=True))
    wells.plate[0] = 5
    with pytest.raises(KitError, match="5 plates for 4 groups of classes: submit without --postprocess"):
        find_permutation(values, wells.plate, wells.groups)


def test_a_mask_leaves_the_classes_of_the_plate():
    groups = np.array([0, 1, 0, 1, -1])
    values = np.array([[0.1, 0.5, 0.3, 0.05, 0.05], [0, 1, 0, 0, 0], [0.2, 0.3, 0, 0.1, 0.4], [0, 0.1, 0, 0.9, 0]])
    found = masked(values, np.array(["a"] * 4, object), np.array(["y", "y", "x", "x"], object), groups)
    expected = np.array([[0.25, 0, 0.75, 0, 0], [0.5, 0, 0.5, 0, 0], [0, 0.75, 0, 0.25, 0], [0, 0.1, 0, 0.9, 0]])
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=1e-6)


@pytest.mark.parametrize(("wells", "classes"), [(5, 5), (4, 6), (6, 5)])
def test_assignments_are_the_best_of_all_that_there_are(wells, classes):
    random = np.random.default_rng(7)
    for _ in range(20):
        values = random.dirichlet(np.full(classes, 0.3), wells)
        found = assign(values, np.zeros(wells, int), np.ones(wells, int), np.zeros(classes, int))
        logs = np.log(values)
        best, pairs = -np.inf, []
        for order in itertools.permutations(range(max(wells, classes))):
            # Well `order[i]` gets class i, or well i class `order[i]`, whichever is fewer in its own order.
            chosen = [(order[i], i) if wells > classes else (i, order[i]) for i in range(min(wells, classes))]
            if (total := sum(logs[pair] for pair in chosen)) > best:
                best, pairs = total, chosen
        expected = values.copy()
        for well, number in pairs:
            expected[well] *= 0.4
            expected[well, number] += 0.6
        np.testing.assert_allclose(found, expected, atol=1e-6)


def test_right_votes_give_exact_assignments_at_full_size():
    """18 experiments, 4 plates of 277: the right class leads in its group, classes of other groups shout louder."""
    random = np.random.default_rng(8)
    wells = layout(random, 1108, 4, 18)
    rows = np.arange(len(wells.target))
    values = random.random((len(rows), 1108), dtype=np.float32) * np.float32(0.1 / 1108)
    loud = random.integers(1108, size=len(rows))
    own_group = wells.groups[loud] == wells.groups[wells.target]
    values[rows[~own_group], loud[~own_group]] += 0.5
    values[rows, wells.target] += 0.2
    assert accuracy(values, wells) < 0.3
    began = time.perf_counter()
    groups = wells.learned()
    found = assign(values, wells.experiment, wells.plate, groups)
    assert time.perf_counter() - began < 60
    assert groups.tolist() == wells.groups.tolist()
    assert accuracy(found, wells) == 1
    np.testing.assert_allclose(found.sum(1), 1, atol=1e-6)


@pytest.mark.parametrize(("classes", "signal", "sharpness"), [(1108, 2.5, 1), (1108, 2.8, 4), (32, 1.2, 1)])
def test_mask_and_assignment_raise_the_accuracy_of_noisy_votes(classes, signal, sharpness):
    random = np.random.default_rng(9)
    wells = layout(random, classes, 4, 4)
    wells = wells[random.random(len(wells.target)) > 0.02]
    values = votes(random, wells, signal, sharpness)
    raw = accuracy(values, wells)
    assert 0.2 < raw < 0.4
    by_mask = masked(values, wells.experiment, wells.plate, wells.groups)
    by_both = assign(values, wells.experiment, wells.plate, wells.groups)
    assert accuracy(by_mask, wells) > 1.4 * raw
    assert accuracy(by_both, wells) > 1.5 * raw
    assert most_on_a_plate(by_mask, wells) > 1
    assert most_on_a_plate(by_both, wells) == 1
    for values in (by_mask, by_both):
        np.testing.assert_allclose(values.sum(1), 1, atol=1e-6)
        # Within the group of its plate.
        assert (wells.groups[values.argmax(1)] == wells.groups[wells.target]).all()


def test_the_order_of_wells_does_not_matter():
    random = np.random.default_rng(10)
    wells = layout(random, 32, 4, 3)
    values, order = votes(random, wells, 2), random.permutation(len(wells.target))
    shuffled = wells[order]
    found = assign(values[order], shuffled.experiment, shuffled.plate, wells.groups)
    assert (found == assign(values, wells.experiment, wells.plate, wells.groups)[order]).all()


@pytest.mark.parametrize("kind", ["zeros", "equal", "one class", "zero but for one"])
def test_votes_that_say_nothing_are_assigned_all_the_same(kind):
    wells = layout(np.random.default_rng(11), 32, 4, 2)
    values = np.zeros((len(wells.target), 32), np.float32)
    if kind == "equal":
        values[:] = 1 / 32
    elif kind == "one class":
        values[:, 3] = 1
    elif kind == "zero but for one":
        values[0, wells.target[0]] = 1e-30
    found = assign(values, wells.experiment, wells.plate, wells.groups)
    np.testing.assert_allclose(found.sum(1), 1, atol=1e-6)
    assert most_on_a_plate(found, wells) == 1
    assert (np.sort(found, axis=1)[:, -1] > 0.5).all()
    assert (found == assign(values.copy(), wells.experiment, wells.plate, wells.groups)).all()
