"""The built-in metrics against scikit-learn, the organisers' own code and hand-worked cases."""

import time
import warnings
from contextlib import suppress

import numpy as np
import pytest
import sklearn.metrics as reference

from kit.errors import PluginError
from kit.hooks.registry import Registry
from kit.plugin.metrics import weighted_r2
from kit.task import TASKS

METRICS = {spec.name: spec for spec in Registry().metrics}
RANDOM = np.random.default_rng(7)
ROWS, CLASSES = 300, 6
BINARY, CHANCE = RANDOM.integers(0, 2, ROWS), np.round(RANDOM.random(ROWS), 2)
CLASS, SOFTMAX = RANDOM.integers(0, CLASSES, ROWS), RANDOM.dirichlet(np.ones(CLASSES), ROWS)
LABELS, SIGMOIDS = (RANDOM.random((ROWS, CLASSES)) < 0.3).astype(np.float32), RANDOM.random((ROWS, CLASSES))
HOT, SAID = np.eye(CLASSES)[CLASS], SIGMOIDS >= 0.5
NUMBER = RANDOM.normal(40, 20, ROWS)
GUESS = NUMBER + RANDOM.normal(0, 9, ROWS)
NUMBERS = RANDOM.normal(10, 4, (ROWS, 3)) * [1, 5, 20]
GUESSES = NUMBERS + RANDOM.normal(0, 5, (ROWS, 3))
WIDE = {"labels": range(CLASSES), "zero_division": 0}


def f_beta(average: str, beta: float, **options):
    return lambda target, predicted: reference.fbeta_score(target, predicted, beta=beta, average=average, **options)


@pytest.mark.parametrize(
    ("name", "target", "prediction", "expected"),
    [
        ("roc_auc", BINARY, CHANCE, reference.roc_auc_score(BINARY, CHANCE)),
        ("mean_column_auc", LABELS, SIGMOIDS, reference.roc_auc_score(LABELS, SIGMOIDS, average="macro")),
        ("mean_column_auc", CLASS, SOFTMAX, reference.roc_auc_score(HOT, SOFTMAX, average="macro")),
        ("mean_average_precision", BINARY, CHANCE, reference.average_precision_score(BINARY, CHANCE)),
        ("mean_average_precision", LABELS, SIGMOIDS, reference.average_precision_score(LABELS, SIGMOIDS)),
        ("mean_average_precision", CLASS, SOFTMAX, reference.average_precision_score(HOT, SOFTMAX)),
        ("log_loss", CLASS, SOFTMAX, reference.log_loss(CLASS, SOFTMAX)),
        ("accuracy", CLASS, SOFTMAX, reference.accuracy_score(CLASS, SOFTMAX.argmax(1))),
        ("macro_f1", LABELS, SIGMOIDS, f_beta("macro", 1)(LABELS, SAID)),
        ("macro_f2", LABELS, SIGMOIDS, f_beta("macro", 2)(LABELS, SAID)),
        ("macro_f2", CLASS, SOFTMAX, f_beta("macro", 2, **WIDE)(CLASS, SOFTMAX.argmax(1))),
        ("macro_f2", BINARY, CHANCE, f_beta("binary", 2)(BINARY, CHANCE >= 0.5)),
        ("micro_f1", LABELS, SIGMOIDS, f_beta("micro", 1)(LABELS, SAID)),
        ("micro_f2", LABELS, SIGMOIDS, f_beta("micro", 2)(LABELS, SAID)),
        ("micro_f2", CLASS, SOFTMAX, f_beta("micro", 2)(CLASS, SOFTMAX.argmax(1))),
        ("sample_f1", LABELS, SIGMOIDS, f_beta("samples", 1, zero_division=0)(LABELS, SAID)),
        ("sample_f2", LABELS, SIGMOIDS, f_beta("samples", 2, zero_division=0)(LABELS, SAID)),
        (
            "quadratic_kappa",
            CLASS,
            SOFTMAX,
            reference.cohen_kappa_score(CLASS, SOFTMAX.argmax(1), weights="quadratic"),
        ),
        ("matthews", CLASS, SOFTMAX, reference.matthews_corrcoef(CLASS, SOFTMAX.argmax(1))),
        ("matthews", BINARY, CHANCE, reference.matthews_corrcoef(BINARY, CHANCE >= 0.5)),
        ("matthews", LABELS, SIGMOIDS, reference.matthews_corrcoef(LABELS.reshape(-1), SAID.reshape(-1))),
        ("rmse", NUMBER, GUESS, reference.root_mean_squared_error(NUMBER, GUESS)),
        ("rmse", NUMBERS, GUESSES, reference.root_mean_squared_error(NUMBERS, GUESSES)),
        ("mae", NUMBER, GUESS, reference.mean_absolute_error(NUMBER, GUESS)),
        ("mae", NUMBERS, GUESSES, reference.mean_absolute_error(NUMBERS, GUESSES)),
        ("r2", NUMBER, GUESS, reference.r2_score(NUMBER, GUESS)),
        ("r2", NUMBERS, GUESSES, reference.r2_score(NUMBERS, GUESSES)),
        ("weighted_r2", NUMBERS, GUESSES, reference.r2_score(NUMBERS.reshape(-1), GUESSES.reshape(-1))),
        # By hand: ranks 1, 3 and 4 of four classes; then one of two found first, then nothing among the first.
        ("map_at_3", np.array([0, 1, 2]), np.array([[4, 3, 2, 1], [4, 2, 3, 1], [4, 3, 1, 2]]) / 10, (1 + 1 / 3) / 3),
        ("map_at_3", np.array([[1, 0, 1, 0], [0, 0, 0, 1]]), np.array([[4, 3, 2, 1], [4, 3, 2, 1]]) / 10, (5 / 6) / 2),
    ],
)
def test_metrics_are_those_of_the_reference(name, target, prediction, expected):
    assert METRICS[name].compute(target, prediction) == pytest.approx(expected, abs=1e-6)


def official_partial_auc(target: np.ndarray, prediction: np.ndarray, least: float = 0.8) -> float:
    """As the organisers of ISIC 2024 published it."""
    most = 1 - least
    scaled = reference.roc_auc_score(abs(target - 1), -1.0 * prediction, max_fpr=most)
    return 0.5 * most**2 + (most - 0.5 * most**2) / (1.0 - 0.5) * (scaled - 0.5)


@pytest.mark.parametrize("seed", range(6))
def test_the_partial_area_is_the_organisers(seed):
    random = np.random.default_rng(seed)
    target = (random.random(200) < 0.2).astype(int)
    prediction = np.round(random.normal(target, (0.3, 1, 3)[seed % 3]), seed % 3)
    found = METRICS["partial_auc"].compute(target, prediction)
    assert found == pytest.approx(official_partial_auc(target, prediction), abs=1e-12)
    assert METRICS["partial_auc"].compute(target, target.astype(float)) == pytest.approx(0.2)


def test_the_weighted_r2_by_hand():
    target, prediction = np.array([[0, 10], [2, 20]]), np.array([[1, 10], [2, 15]])
    # The weighted mean is (0 + 2 + 3 * 30) / 8 = 11.5; the errors are 1 and 3 * 25.
    spread = 11.5**2 + 9.5**2 + 3 * (1.5**2 + 8.5**2)
    assert weighted_r2(target, prediction, (1, 3)) == pytest.approx(1 - 76 / spread)


ONE = np.ones(20, int)
UNDEFINED = {
    "roc_auc": (ONE, CHANCE[:20]),
    "partial_auc": (ONE, CHANCE[:20]),
    "mean_column_auc": (np.zeros((20, CLASSES)), SIGMOIDS[:20]),
    "mean_average_precision": (0 * ONE, CHANCE[:20]),
    "map_at_5": (np.zeros((20, CLASSES)), SIGMOIDS[:20]),
    "quadratic_kappa": (ONE, np.eye(3)[ONE]),
    "matthews": (ONE, CHANCE[:20]),
    "r2": (ONE, CHANCE[:20]),
    "weighted_r2": (ONE, CHANCE[:20]),
}


@pytest.mark.parametrize("name", UNDEFINED)
def test_what_is_not_defined_is_nan_without_a_warning(name):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.isnan(METRICS[name].compute(*UNDEFINED[name]))


@pytest.mark.parametrize("name", METRICS)
def test_a_prediction_that_is_nan_never_counts_as_good(name):
    target, prediction = {
        "multilabel": (LABELS, SIGMOIDS),
        "multiclass": (CLASS, SOFTMAX),
        "ordinal": (CLASS, SOFTMAX),
        "binary": (BINARY, CHANCE),
        "regression": (NUMBERS, GUESSES),
    }[METRICS[name].tasks[-1]]
    lost = prediction.copy()
    lost[3] = np.nan
    with suppress(PluginError):  # refused: just as good
        assert np.isnan(METRICS[name].compute(target, lost))


@pytest.mark.parametrize("name", ["rmse", "mae", "r2"])
def test_numbers_of_no_rows_have_no_score(name):
    assert np.isnan(METRICS[name].compute(NUMBER[:0], GUESS[:0]))


def test_kappa_of_chance_is_zero_and_of_opposites_negative():
    grades = np.repeat(np.arange(4), 4)
    kappa = METRICS["quadratic_kappa"].compute
    assert kappa(grades, np.eye(4)[np.tile(np.arange(4), 4)]) == pytest.approx(0)
    assert kappa(grades, np.eye(4)[3 - grades]) == pytest.approx(-1)


@pytest.mark.parametrize("name", METRICS)
def test_they_are_quick(name):
    """A second for 200,000 rows of five classes is ten times what the slowest takes."""
    spec, rows = METRICS[name], 200_000
    random = np.random.default_rng(0)
    task = next(task for task in ("multilabel", "multiclass", "binary", "regression") if task in spec.tasks)
    target, prediction = {
        "multilabel": ((random.random((rows, 5)) < 0.3).astype(np.float32), random.random((rows, 5), np.float32)),
        "multiclass": (random.integers(0, 5, rows), random.dirichlet(np.ones(5), rows)),
        "binary": (random.integers(0, 2, rows), random.random(rows)),
        "regression": (random.random((rows, 5)), random.random((rows, 5))),
    }[task]
    began = time.process_time()
    spec.compute(target, prediction)
    assert time.process_time() - began < (10 if name == "macro_f1_tuned" else 1)


def test_numbers_and_classes_have_metrics_of_their_own():
    of_numbers = {"rmse", "mae", "r2", "weighted_r2"}
    assert {name for name, spec in METRICS.items() if "regression" in spec.tasks} == of_numbers
    assert {METRICS[name].tasks for name in of_numbers} == {("regression",)}
    for task in TASKS:
        assert sum(task in spec.tasks for spec in METRICS.values()) > 3
