"""Losses on grades: each against its formula in float64, against hand-worked cases, and as its paper says."""

import numpy as np
import pytest
import torch
from scipy.special import expit
from torch import nn
from torch.nn import functional

import kit_losses
from helpers.loss_cases import INDEX, batch, built, cost
from kit import testing
from kit.errors import KitError
from kit.hooks.registry import Registry
from kit.model.losses import loss_outputs, loss_terms
from kit.model.network import Output
from kit.task import ORDINAL
from kit_losses.ordinal import Coral, Corn, GradeError

LN2 = float(np.log(2))
OWN = {"ordinal_mse": 1, "ordinal_smooth_l1": 1, "coral": 1, "corn": 3}  # of four grades: how many logits


def coral(biases: list[float], **options) -> Coral:
    """CORAL with these falling biases."""
    loss = Coral(torch.ones(len(biases) + 1), **options).double()
    distances = -np.diff(biases)
    loss.highest.data = torch.tensor(biases[:1], dtype=torch.float64)
    loss.steps.data = torch.tensor(np.log(np.expm1(distances)))
    return loss


def probabilities(loss: nn.Module, logits: object) -> np.ndarray:
    values = torch.as_tensor(logits, dtype=torch.float64)
    return loss.logits(Output(values, values)).softmax(1).detach().numpy()


BY_HAND = [
    ("mse", GradeError(3, smooth=False), [[0.5], [3.0]], [2, 1], (1.5**2 + 2**2) / 2),
    ("smooth", GradeError(3, smooth=True), [[0.5], [3.0]], [0, 1], (0.5**2 / 2 + 1.5) / 2),
    ("mse-weight", GradeError(2, smooth=False, weight=torch.tensor([3.0, 1])), [[0.5], [0.0]], [0, 1], (0.75 + 1) / 2),
    ("mse-shares", GradeError(3, smooth=False), [[1.0]], [[0.75, 0.0, 0.25]], 1.0),
    # P(y > 0) = 1/2 and P(y > 1) = 1/4: an image of the middle grade is above the first threshold, not the second.
    ("coral", coral([0, -np.log(3)]), [[0.0]], [1], LN2 + np.log(4 / 3)),
    ("coral-highest", coral([0, -np.log(3)]), [[0.0]], [2], LN2 + np.log(4)),
    ("coral-shares", coral([0, -np.log(3)]), [[0.0]], [[0.5, 0.0, 0.5]], LN2 + (np.log(4 / 3) + np.log(4)) / 2),
    ("coral-weight", coral([0, -np.log(3)], weight=torch.tensor([1.0, 5, 1])), [[0.0]], [1], 5 * (LN2 + np.log(4 / 3))),
    # P(y > 0) = 1/2 and, given that, P(y > 1) = 1/4.
    ("corn-lowest", Corn(), [[0.0, -np.log(3)]], [0], LN2),
    ("corn-middle", Corn(), [[0.0, -np.log(3)]], [1], LN2 + np.log(4 / 3)),
    ("corn-highest", Corn(), [[0.0, -np.log(3)]], [2], LN2 + np.log(4)),
    ("corn-smooth", Corn(smoothing=0.3), [[0.0, -np.log(3)]], [0], LN2 + 0.1 * (np.log(4 / 3) + np.log(4))),
]


@pytest.mark.parametrize(
    ("loss", "values", "target", "wanted"), [case[1:] for case in BY_HAND], ids=[case[0] for case in BY_HAND]
)
def test_values_worked_by_hand(loss, values, target, wanted):
    assert cost(loss, values, target).item() == pytest.approx(wanted, rel=1e-6)


@pytest.mark.parametrize(
    ("loss", "values", "wanted"),
    [
        (GradeError(4, smooth=False), [[1.25], [3.0], [-2.0], [9.0]], [[0, 0.75, 0.25, 0], [0, 0, 0, 1]]),
        (coral([0, -np.log(3)]), [[0.0]], [[1 / 2, 1 / 4, 1 / 4]]),
        (Corn(), [[0.0, -np.log(3)]], [[1 / 2, 3 / 8, 1 / 8]]),
    ],
)
def test_probabilities_worked_by_hand(loss, values, wanted):
    np.testing.assert_allclose(probabilities(loss, values)[: len(wanted)], wanted, atol=1e-8)


def test_the_expected_grade_of_a_score_is_the_score_held_between_the_grades():
    scores = np.linspace(-1, 5, 61)[:, None]
    values = probabilities(GradeError(5, smooth=True), scores)
    np.testing.assert_allclose(ORDINAL.expected(values), np.clip(scores[:, 0], 0, 4), atol=1e-7)


def test_coral_is_the_formula_of_its_paper():
    """-sum_k [log s(g + b_k) y_k + log(1 - s(g + b_k)) (1 - y_k)], y_k = 1 where the grade is above k."""
    random = np.random.default_rng(0)
    biases, scores, grades = np.sort(random.normal(size=4))[::-1], random.normal(size=(30, 1)) * 3, np.arange(30) % 5
    p, above = expit(scores + biases), grades[:, None] > np.arange(4)
    wanted = -(np.log(p) * above + np.log(1 - p) * ~above).sum(1).mean()
    loss = coral(biases.tolist())
    assert cost(loss, scores.tolist(), grades.tolist()).item() == pytest.approx(wanted, rel=1e-9)
    whole = np.column_stack([np.ones(30), p, np.zeros(30)])
    np.testing.assert_allclose(probabilities(loss, scores), whole[:, :-1] - whole[:, 1:], atol=1e-9)


def test_corn_is_the_formula_of_its_paper():
    """Task k sees the images of a grade of at least k alone; the paper divides by all of them, here by the batch."""
    random = np.random.default_rng(0)
    logits, grades = random.normal(size=(30, 4)) * 3, np.arange(30) % 5
    total = 0.0
    for k in range(4):
        subset = grades >= k
        p, above = expit(logits[subset, k]), grades[subset] > k
        total -= np.where(above, np.log(p), np.log(1 - p)).sum()
    assert cost(Corn(), logits.tolist(), grades.tolist()).item() == pytest.approx(total / 30, rel=1e-9)
    above = np.column_stack([np.ones(30), expit(logits).cumprod(1), np.zeros(30)])
    np.testing.assert_allclose(probabilities(Corn(), logits), above[:, :-1] - above[:, 1:], atol=1e-9)


def test_a_task_of_corn_learns_nothing_from_images_below_it():
    logits = torch.zeros(3, 3, dtype=torch.float64, requires_grad=True)
    Corn()(Output(logits, logits), batch(torch.tensor([0, 1, 3]))).backward()
    assert (logits.grad != 0).tolist() == [[True, False, False], [True, True, False], [True, True, True]]


def test_ranks_of_coral_stay_consistent_whatever_it_learns():
    """P(y > k) falls with k and no probability is 0 or below, after steps that push the biases together and over."""
    torch.manual_seed(0)
    loss = Coral(torch.tensor([5.0, 0, 50, 1]))
    assert (loss.biases()[0].diff() < 0).all()
    optimizer = torch.optim.SGD(loss.parameters(), 50)
    for _ in range(20):
        logits = torch.randn(16, 1) * 5
        optimizer.zero_grad()
        loss(Output(logits, logits), batch(torch.randint(4, (16,)))).backward()
        optimizer.step()
    biases = loss.biases()[0]
    assert (biases.diff() < 0).all()
    scores = torch.linspace(-30, 30, 25)[:, None]
    log_p = loss.logits(Output(scores, scores))
    assert log_p.isfinite().all()
    torch.testing.assert_close(log_p.exp().sum(1), torch.ones(25))


def test_the_biases_of_coral_begin_at_the_shares_of_the_grades():
    loss = built("coral", "ordinal")
    values = torch.zeros(1, 1)
    found = loss.logits(Output(values, values)).exp()[0]
    torch.testing.assert_close(found, torch.tensor([2, 3, 2, 4]) / 11)


@pytest.mark.parametrize("soft", [False, True], ids=["hard", "soft"])
@pytest.mark.parametrize("name", OWN)
def test_gradients(name, soft):
    torch.manual_seed(3)
    smoothing = 0.1 if name in ("coral", "corn") else 0
    loss = built(name, "ordinal", class_weights="balanced", label_smoothing=smoothing).double()
    logits = torch.randn(5, OWN[name], dtype=torch.float64, requires_grad=True)
    target = torch.rand(5, 4, dtype=torch.float64)
    target = target / target.sum(1, keepdim=True) if soft else target.argmax(1)
    inputs = (logits, *loss.parameters())
    assert len(inputs) == (3 if name == "coral" else 1)
    assert torch.autograd.gradcheck(lambda first, *rest: loss(Output(first, first), batch(target)), inputs)


@pytest.mark.parametrize("name", OWN)
def test_every_loss_conforms_and_stays_finite(name):
    spec = next(spec for spec in kit_losses.kit_losses() if spec.name == name)
    testing.check_loss(spec, INDEX["ordinal"])
    assert loss_outputs(loss_terms(name, Registry(), "ordinal"), INDEX["ordinal"]) == OWN[name]
    for scale in (0, 1e-30, 1e4):
        for dtype in (torch.float32, torch.float16):
            loss = built(name, "ordinal")
            logits = (torch.tensor([[1.0], [-1], [0], [0.5]]).expand(4, OWN[name]) * scale).to(dtype).requires_grad_()
            with torch.autocast("cpu", dtype=torch.bfloat16):
                value = loss(Output(logits, logits), batch(torch.arange(4)))
                predicted = loss.logits(Output(logits, logits))
            value.backward()
            assert (value.dtype, predicted.dtype, predicted.shape) == (torch.float32, torch.float32, (4, 4))
            assert all(tensor.isfinite().all() for tensor in (value, predicted, logits.grad))


@pytest.mark.parametrize("name", OWN)
def test_grades_are_one_hot_shares_and_mixtures_are_mixed(name):
    torch.manual_seed(0)
    loss = built(name, "ordinal", class_weights="balanced")
    values, a, b = torch.randn(8, OWN[name]), torch.randint(4, (8,)), torch.randint(4, (8,))
    hot = [functional.one_hot(target, 4).float() for target in (a, b)]
    torch.testing.assert_close(cost(loss, values, hot[0]), cost(loss, values, a))
    mixed = cost(loss, values, 0.3 * hot[0] + 0.7 * hot[1])
    torch.testing.assert_close(mixed, 0.3 * cost(loss, values, a) + 0.7 * cost(loss, values, b))
    halves = (cost(loss, values[:4], a[:4]) + cost(loss, values[4:], a[4:])) / 2
    torch.testing.assert_close(halves, cost(loss, values, a))


@pytest.mark.parametrize("name", ["ordinal_mse", "ordinal_smooth_l1"])
def test_one_number_has_no_smoothed_label(name):
    with pytest.raises(KitError, match=r"label_smoothing shares a label .*label_smoothing=0"):
        built(name, "ordinal", label_smoothing=0.1)


@pytest.mark.parametrize("name", [*OWN, "0.5*ordinal_mse+0.5*ordinal_smooth_l1", "cross_entropy"])
def test_each_loss_teaches_a_small_network(name):
    """Grades by how far a point lies along a direction; the mean grade is off by 1.0 on average."""
    torch.manual_seed(0)
    points = torch.randn(600, 16)
    target = torch.bucketize(points @ torch.ones(16) / 4, torch.tensor([-0.8, 0.0, 0.8]))
    loss = built(name, "ordinal")
    head = nn.Linear(16, loss_outputs(loss_terms(name, Registry(), "ordinal"), INDEX["ordinal"]))
    optimizer = torch.optim.Adam([*head.parameters(), *loss.parameters()], 0.05)
    for _ in range(150):
        rows = torch.randperm(400)[:64]
        optimizer.zero_grad()
        loss(Output(head(points[rows]), points[rows]), batch(target[rows])).backward()
        optimizer.step()
    output = Output(head(points[400:]), points[400:])
    logits = loss.logits(output) if hasattr(loss, "logits") else output.logits
    grades = ORDINAL.predicted(logits.softmax(1).detach().numpy())
    assert np.abs(grades - target[400:].numpy()).mean() < 0.3
