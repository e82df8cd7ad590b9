"""Which samples are looked at first: losses and entropies beside scikit-learn and scipy, orders worked by hand."""

import numpy as np
import pytest

from helpers.training_runs import begin, go
from kit.errors import KitError
from kit.scoring.predictions import Predictions, out_of_fold
from kit.scoring.ranking import ranked, ranked_ids
from kit.task import BINARY, MULTICLASS, MULTILABEL, TASKS

RANDOM = np.random.default_rng(0)


def dirichlet(rows: int, classes: int) -> np.ndarray:
    return RANDOM.dirichlet(np.ones(classes), rows).astype(np.float32)


def test_losses_of_a_multiclass_task_are_those_of_scikit_learn():
    from sklearn.metrics import log_loss

    target, values = RANDOM.integers(0, 5, 40), dirichlet(40, 5)
    one_by_one = [log_loss(target[[row]], values[[row]], labels=range(5)) for row in range(40)]
    losses = MULTICLASS.losses(target, values)
    np.testing.assert_allclose(losses, one_by_one, rtol=1e-5)
    assert losses.dtype == np.float64


@pytest.mark.parametrize("flat", [True, False])
def test_losses_of_a_binary_task_are_those_of_scikit_learn(flat):
    from sklearn.metrics import log_loss

    target, values = RANDOM.integers(0, 2, 40), RANDOM.random(40, np.float32)
    one_by_one = [log_loss(target[[row]], values[[row]], labels=[0, 1]) for row in range(40)]
    shaped = (target, values) if flat else (target[:, None].astype(np.float32), values[:, None])
    np.testing.assert_allclose(BINARY.losses(*shaped), one_by_one, rtol=1e-5)


def test_the_loss_of_a_multilabel_task_is_the_mean_over_its_classes():
    target, values = np.array([[1, 0, 0, 1]], np.float32), np.array([[0.5, 0.5, 0.25, 0.125]])
    assert MULTILABEL.losses(target, values) == pytest.approx([(1 + 1 + np.log2(4 / 3) + 3) * np.log(2) / 4])


def test_what_is_wrong_for_certain_has_a_finite_loss_and_what_is_right_none():
    losses = BINARY.losses(np.array([1, 0, 1]), np.array([0, 1, 1], np.float32))
    np.testing.assert_allclose(losses, [7 * np.log(10)] * 2 + [0], atol=1e-6)


@pytest.mark.parametrize("task", ["binary", "multiclass", "multilabel"])
def test_uncertainty_is_the_loss_that_the_network_expects(task):
    """The mean of the losses of all targets that there could be, each by its probability."""
    values = np.array([[0.2], [0.9]]) if task == "binary" else dirichlet(2, 3)
    expected = np.zeros(2)
    if task == "multiclass":
        for number in range(3):
            expected += values[:, number] * TASKS[task].losses(np.full(2, number), values)
    else:
        for hot in np.ndindex(*[2] * values.shape[1]):
            target = np.tile(np.array(hot, np.float32), (2, 1))
            expected += np.where(target > 0, values, 1 - values).prod(1) * TASKS[task].losses(target, values)
    np.testing.assert_allclose(TASKS[task].entropy(values), expected, rtol=1e-5)


def test_orders_by_loss_and_by_entropy():
    target, values = np.array([1, 1, 0, 0, 1]), np.array([0.9, 0.1, 0.2, 0.6, 0.9])
    assert ranked(BINARY, target, values, "worst", 3).tolist() == [1, 3, 2]
    # Of equals the earlier one comes first.
    assert ranked(BINARY, target, values, "best", 3).tolist() == [0, 4, 2]
    assert ranked(BINARY, target, values, "uncertain", 9).tolist() == [3, 2, 0, 1, 4]


def test_per_class_gives_the_surest_of_each_label():
    target, values = np.array([1, 1, 0, 0, 1]), np.array([0.9, 0.1, 0.2, 0.6, 0.95])
    assert ranked(BINARY, target[:, None], values[:, None], "per-class", 2).tolist() == [2, 3, 4, 0]
    values = np.array([[0.6, 0.4, 0], [0.9, 0.1, 0], [0.2, 0.3, 0.5]])
    assert ranked(MULTICLASS, np.array([0, 0, 2]), values, "per-class", 1).tolist() == [1, 2]


def test_a_row_of_several_labels_comes_once():
    target = np.array([[1, 1, 0], [0, 1, 0], [1, 0, 0]], np.float32)
    values = np.array([[0.9, 0.8, 0], [0.9, 0.7, 0], [0.5, 0.9, 0]])
    assert ranked(MULTILABEL, target, values, "per-class", 2).tolist() == [0, 2, 1]


def test_ids_are_ranked_by_what_a_run_said_of_images_it_had_not_seen(store):
    run = go_on(begin(store, "epochs=1"), store)
    index = store.index()
    oof = Predictions.load(run.reading("oof.npz"))
    loss = dict(zip(oof.ids, BINARY.losses(index.targets_of(oof.ids), oof.values), strict=True))
    worst = ranked_ids(run, index, "worst", 20)
    assert worst == sorted(loss, key=lambda id_: -loss[id_])[:20]
    assert ranked_ids(run, index, "best", 240) == sorted(loss, key=lambda id_: loss[id_])
    judged = set(Predictions.load(run.reading("fold-1/oof.npz")).ids)
    assert (
        ranked_ids(run, index, "worst", 5, fold=1)
        == [id_ for id_ in ranked_ids(run, index, "worst", 240) if id_ in judged][:5]
    )


def go_on(run, store, only_fold=None):
    go(store, run, only_fold)
    return type(run).open(run.path)


def test_a_run_of_which_one_fold_is_trained_is_ranked_by_that(store):
    run = begin(store, "epochs=1", only_fold=1)
    with pytest.raises(KitError, match="no trained fold"):
        out_of_fold(run)
    run = go_on(run, store, 1)
    assert len(out_of_fold(run).ids) == len(Predictions.load(run.reading("fold-1/oof.npz")).ids)
    with pytest.raises(KitError, match=rf"fold 0 of run {run.id} is not trained: .*--fold 0, or --fold 1"):
        out_of_fold(run, 0)
