"""Losses against hand-worked values, published formulas and other libraries; weighted sums of them."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from sklearn.metrics import f1_score, roc_auc_score
from sklearn.utils.class_weight import compute_class_weight
from torch import Tensor, nn
from torch.nn import functional
from torchvision.ops import sigmoid_focal_loss

import kit_losses
from helpers.loss_cases import INDEX, batch, built, cost, index_of, margin_loss, unit
from kit import testing
from kit.errors import KitError
from kit.hooks.registry import Registry
from kit.model.losses import loss_terms, predicting_logits
from kit.model.network import Output
from kit_losses.classification import BinaryCrossEntropy, CrossEntropy, SigmoidFocal, SoftmaxFocal
from kit_losses.margins import ArcFace, CosFace
from kit_losses.sets import Lovasz, SoftF1, lovasz_hinge
from kit_losses.targets import class_weights, positive_weights

LN2 = float(np.log(2))
ONE_OF_SEVERAL = ("multiclass", "ordinal")
# Those of one score, and of numbers, have tests of their own.
NAMES = [
    (spec.name, task)
    for spec in kit_losses.kit_losses()
    for task in spec.tasks
    if spec.outputs is None and task != "regression"
]


# Probabilities 1/2 and 3/4 of two positives, 1/8, 2/8 and 5/8 of three classes.
SIGMOID, SOFTMAX = [[0.0], [np.log(3)]], [list(np.log([1, 2, 5])), list(np.log([1, 1, 2]))]
BY_HAND = [
    ("bce", BinaryCrossEntropy(), SIGMOID, [[1.0], [0.0]], (LN2 + 2 * LN2) / 2),
    ("bce-weight", BinaryCrossEntropy(torch.tensor([3.0])), SIGMOID, [[1.0], [0.0]], (3 * LN2 + 2 * LN2) / 2),
    ("bce-factor", BinaryCrossEntropy(factor=10), SIGMOID, [[1.0], [0.0]], 15 * LN2),
    (
        "bce-smooth",
        BinaryCrossEntropy(smoothing=0.2),
        SIGMOID,
        [[1.0], [0.0]],
        (LN2 + 0.9 * np.log(4) + 0.1 * np.log(4 / 3)) / 2,
    ),
    ("ce", CrossEntropy(), SOFTMAX, [2, 0], (np.log(8 / 5) + np.log(4)) / 2),
    ("ce-weight", CrossEntropy(torch.tensor([2.0, 1, 3])), SOFTMAX, [2, 0], (3 * np.log(8 / 5) + 2 * np.log(4)) / 2),
    (
        "ce-smooth",
        CrossEntropy(smoothing=0.3),
        SOFTMAX[:1],
        [2],
        0.8 * np.log(8 / 5) + 0.1 * np.log(8) + 0.1 * np.log(4),
    ),
    ("ce-shares", CrossEntropy(), SOFTMAX[:1], [[0.75, 0.25, 0.0]], 0.75 * np.log(8) + 0.25 * np.log(4)),
    ("focal", SigmoidFocal(2), SIGMOID, [[1.0], [0.0]], (LN2 / 4 + 9 / 16 * np.log(4)) / 2),
    ("focal-alpha", SigmoidFocal(2, 0.25), SIGMOID, [[1.0], [0.0]], (LN2 / 16 + 27 / 64 * np.log(4)) / 2),
    (
        "focal-weight",
        SigmoidFocal(2, weight=torch.tensor([3.0])),
        SIGMOID,
        [[1.0], [0.0]],
        (3 * LN2 / 4 + 9 / 16 * np.log(4)) / 2,
    ),
    ("focal-classes", SoftmaxFocal(2), SOFTMAX[:1], [0], 49 / 64 * np.log(8)),
    ("focal-classes-weight", SoftmaxFocal(1, torch.tensor([3.0, 1, 1])), SOFTMAX[:1], [0], 21 / 8 * np.log(8)),
    ("focal-classes-shares", SoftmaxFocal(1), SOFTMAX[:1], [[0.5, 0.5, 0.0]], 7 / 16 * np.log(8) + 6 / 16 * np.log(4)),
    ("soft-f1", SoftF1(False), [[0.0], [-np.log(3)]], [[1.0], [0.0]], 1 - 4 / 7),
    ("soft-f1-classes", SoftF1(True), [[0.0, 0.0], [0.0, -np.log(3)]], [0, 1], 1 - (4 / 9 + 2 / 7) / 2),
    # 60 degrees from its own centre, 90 from the other's: the margin makes both 90.
    ("arcface", margin_loss(ArcFace, np.pi / 6, unit([0, 150])), unit([60], 2), [0], LN2),
    ("cosface", margin_loss(CosFace, 0.5, unit([0, 150])), unit([60], 2), [0], LN2),
    (
        "arcface-weight",
        margin_loss(ArcFace, np.pi / 6, unit([0, 150]), weight=torch.tensor([3.0, 1])),
        unit([60]),
        [0],
        3 * LN2,
    ),
]


@pytest.mark.parametrize(
    ("loss", "values", "target", "wanted"), [case[1:] for case in BY_HAND], ids=[case[0] for case in BY_HAND]
)
def test_values_worked_by_hand(loss, values, target, wanted):
    assert cost(loss, values, target).item() == pytest.approx(wanted, rel=1e-7)


def test_lovasz_by_hand():
    # Errors .5, 3 and 1.3. The Jaccard loss with the worst wrong is 1/2, with the two worst 2/3, with all 1.
    logits, target = torch.tensor([[0.5], [-2.0], [0.3]]), torch.tensor([[1.0], [1.0], [0.0]])
    wanted = 3 * 1 / 2 + 1.3 * (2 / 3 - 1 / 2) + 0.5 * (1 - 2 / 3)
    assert lovasz_hinge(logits, target).item() == pytest.approx(wanted, rel=1e-6)
    both = (lovasz_hinge(logits, target) + lovasz_hinge(-logits, 1 - target)) / 2
    assert cost(Lovasz(), logits, target).item() == pytest.approx(both.item(), rel=1e-6)


@pytest.mark.parametrize("soft", [False, True], ids=["hard", "soft"])
@pytest.mark.parametrize(("name", "task"), NAMES)
def test_gradients(name, task, soft):
    torch.manual_seed(3)
    loss = built(name, task, class_weights="balanced", label_smoothing=0.1, focal_gamma=1.5, margin_scale=4).double()
    logits = torch.randn(5, INDEX[task].outputs, dtype=torch.float64, requires_grad=True)
    embedding = torch.randn(5, 6, dtype=torch.float64, requires_grad=True)
    target = torch.rand(logits.shape, dtype=torch.float64)
    if task in ONE_OF_SEVERAL:
        target = target / target.sum(1, keepdim=True) if soft else target.argmax(1)
    elif not soft:
        target = target.round()
    weights = list(loss.parameters())
    assert len(weights) == (name in ("arcface", "cosface"))
    inputs = (logits, embedding, *weights)
    assert torch.autograd.gradcheck(lambda *tensors: loss(Output(*tensors[:2]), batch(target)), inputs)


@pytest.mark.parametrize(("gamma", "alpha"), [(2, None), (2, 0.25), (0, 0.5), (0.5, 0.9), (5, 0)])
def test_focal_is_that_of_torchvision(gamma, alpha):
    torch.manual_seed(0)
    logits, target = torch.randn(64, 28, dtype=torch.float64) * 5, torch.rand(64, 28, dtype=torch.float64).round()
    wanted = sigmoid_focal_loss(logits, target, -1 if alpha is None else alpha, gamma, "mean")
    torch.testing.assert_close(cost(SigmoidFocal(gamma, alpha), logits, target), wanted)


@pytest.mark.parametrize("weights", ["none", "balanced"])
def test_cross_entropies_are_those_of_pytorch(weights):
    torch.manual_seed(0)
    logits = torch.randn(9, 4)
    numbers = torch.randint(4, (9,))
    weight = None if weights == "none" else class_weights(INDEX["multiclass"])
    wanted = functional.cross_entropy(logits, numbers, weight, label_smoothing=0.1, reduction="none").mean()
    loss = built("cross_entropy", "multiclass", label_smoothing=0.1, class_weights=weights)
    torch.testing.assert_close(cost(loss, logits, numbers), wanted)
    no_gamma = built("focal", "multiclass", label_smoothing=0.1, class_weights=weights, focal_gamma=0)
    torch.testing.assert_close(cost(no_gamma, logits, numbers), wanted)


def jaccard_loss(positives: set[int], wrong: set[int]) -> float:
    """1 - |truth and prediction| / |truth or prediction|, where the prediction errs on `wrong`."""
    predicted = positives ^ wrong
    union = positives | predicted
    return 1 - len(positives & predicted) / len(union) if union else 0.0


@pytest.mark.parametrize("share", [0, 0.1, 0.5, 1])
def test_lovasz_is_the_integral_over_levels_of_the_jaccard_loss(share):
    """The definition (Lovasz 1983): f(e) = the integral over t of f({i: e_i > t})."""
    random = np.random.default_rng(0)
    f, y = random.normal(size=12) * 2, (random.random(12) < share).astype(float)
    errors = np.maximum(1 - f * (2 * y - 1), 0)
    levels = np.unique([0, *errors])
    positives = set(np.flatnonzero(y))
    wanted = sum(
        (high - low) * jaccard_loss(positives, set(np.flatnonzero(errors > low))) for low, high in pairwise(levels)
    )
    assert lovasz_hinge(torch.tensor(f)[:, None], torch.tensor(y)[:, None]).item() == pytest.approx(wanted)
    # At errors of 0 and 1 it is the Jaccard loss itself.
    wrong = random.random(12) < 0.4
    corner = torch.tensor(np.where(wrong, 0, 2 * y - 1))
    wanted = jaccard_loss(positives, set(np.flatnonzero(wrong)))
    assert lovasz_hinge(corner[:, None], torch.tensor(y)[:, None]).item() == pytest.approx(wanted)


def test_a_soft_target_of_lovasz_is_a_crowd_of_hard_ones():
    logits, target = torch.tensor([[0.2], [-0.7], [1.4]]), torch.tensor([[0.75], [0.0], [1.0]])
    crowd = torch.tensor([[1.0], [1], [1], [0], [0], [0], [0], [0], [1], [1], [1], [1]])
    torch.testing.assert_close(lovasz_hinge(logits, target), lovasz_hinge(logits.repeat_interleave(4, 0), crowd))


@pytest.mark.parametrize("softmax", [False, True])
def test_soft_f1_of_certain_predictions_is_that_of_sklearn(softmax):
    random = np.random.default_rng(0)
    logits = torch.from_numpy(random.normal(size=(40, 5)) - 1)
    logits[:, 4] = -9  # never predicted
    target = torch.from_numpy(random.integers(0, 4, 40) if softmax else (random.random((40, 5)) < 0.4).astype(float))
    decided = functional.one_hot(logits.argmax(1), 5).bool() if softmax else logits > 0
    truth = functional.one_hot(target, 5) if softmax else target
    wanted = f1_score(truth, decided, average="macro", zero_division=0)
    certain = torch.where(decided, 500.0, -500.0).double()
    assert cost(SoftF1(softmax), certain, target).item() == pytest.approx(1 - wanted)


MULTICLASS = [name for name, task in NAMES if task == "multiclass"]


@pytest.mark.parametrize("name", MULTICLASS)
def test_class_numbers_are_one_hot_shares_and_mixtures_are_mixed(name):
    torch.manual_seed(0)
    loss = built(name, "multiclass", embedding=4, class_weights="balanced", label_smoothing=0.1)
    values, a, b = torch.randn(8, 4), torch.randint(4, (8,)), torch.randint(4, (8,))
    hot = [functional.one_hot(target, 4).float() for target in (a, b)]
    torch.testing.assert_close(cost(loss, values, hot[0]), cost(loss, values, a))
    if name != "soft_f1":
        mixed = cost(loss, values, 0.3 * hot[0] + 0.7 * hot[1])
        torch.testing.assert_close(mixed, 0.3 * cost(loss, values, a) + 0.7 * cost(loss, values, b))
        halves = (cost(loss, values[:4], a[:4]) + cost(loss, values[4:], a[4:])) / 2
        torch.testing.assert_close(halves, cost(loss, values, a))


def test_balanced_weights():
    targets = INDEX["multiclass"].train["target"].to_numpy()
    wanted = compute_class_weight("balanced", classes=np.arange(4), y=targets)
    torch.testing.assert_close(class_weights(INDEX["multiclass"]).double().numpy(), wanted)
    assert positive_weights(INDEX["binary"]).tolist() == [2.0]
    assert positive_weights(INDEX["multilabel"]).tolist() == [2.0, 1.0, 5.0, 5.0]
    assert class_weights(index_of("multiclass", [0, 1, 1])).isfinite().all()


@pytest.mark.parametrize(("name", "task"), NAMES)
def test_every_loss_conforms_and_stays_finite(name, task):
    spec = next(spec for spec in kit_losses.kit_losses() if spec.name == name)
    testing.check_loss(spec, INDEX[task])
    index = INDEX[task]
    target = torch.tensor(index.targets(index.train))
    for gamma in (0, 0.5, 2):
        loss = built(name, task, embedding=4, focal_gamma=gamma)
        for scale in (0, 1e-30, 1e4):
            for dtype in (torch.float32, torch.float16):
                torch.manual_seed(0)
                logits = (torch.randn(len(target), index.outputs) * scale).to(dtype).requires_grad_()
                embedding = (torch.eye(4)[[0, 1, 2, 3, 0, 1, 2][: len(target)]] * scale).to(dtype).requires_grad_()
                if hasattr(loss, "centres"):
                    loss.centres.data = torch.eye(4) * torch.tensor([1.0, -1, 1, 1])
                value = loss(Output(logits, embedding), batch(target))
                value.backward()
                moved = [part.grad for part in (logits, embedding) if part.grad is not None]
                assert value.dtype == torch.float32
                assert all(tensor.isfinite().all() for tensor in (value, *moved))


@pytest.mark.parametrize("name", ["arcface", "cosface"])
def test_mixed_precision_leaves_the_angles_as_they_are(name):
    loss, embedding, target = built(name, "multiclass"), torch.randn(7, 6), torch.randint(4, (7,))
    outside = cost(loss, embedding, target), loss.logits(Output(embedding, embedding))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = cost(loss, embedding, target), loss.logits(Output(embedding, embedding))
    torch.testing.assert_close(inside, outside, rtol=0, atol=0)


def test_sums_add_up_and_the_heaviest_term_predicts():
    torch.manual_seed(0)
    output, target = Output(torch.randn(5, 4), torch.randn(5, 6)), batch(torch.tensor([0, 1, 2, 3, 0]))
    for text, weights, own in (
        ("0.8*cross_entropy+0.2*arcface", (0.8, 0.2), False),
        (" 2e-1 * cross_entropy + arcface ", (0.2, 1), True),
        ("cross_entropy + arcface", (1, 1), False),
    ):
        loss = built(text, "multiclass")
        entropy, arcface = loss.losses
        wanted = weights[0] * entropy(output, target) + weights[1] * arcface(output, target)
        torch.testing.assert_close(loss(output, target), wanted)
        predicting = arcface.logits(output) if own else output.logits
        assert torch.equal(predicting_logits(loss, output), predicting)
        assert set(loss.state_dict()) == {"losses.1.centres"}
    assert type(built("arcface", "multiclass")) is ArcFace
    thrice = built("3*bce", "binary")
    one = Output(torch.zeros(2, 1), torch.zeros(2, 1))
    assert thrice(one, batch(torch.ones(2, 1))).item() == pytest.approx(3 * LN2)
    assert torch.equal(predicting_logits(thrice, one), one.logits)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("arcfase", "did you mean arcface"),
        ("cross_entropy+0.2*acrface", "did you mean arcface"),
        (
            "cross_entropy+bce",
            "loss bce is for binary, multilabel, regression tasks, this one is multiclass.*cross_entropy",
        ),
        *(
            (text, "not a term of a sum.*0.8[*]cross_entropy")
            for text in (
                "",
                "+",
                "focal+",
                "0.5*",
                "*focal",
                "x*focal",
                "focal*2",
                "0*focal",
                "-1*focal",
                "nan*focal",
                "inf*focal",
                "0.5*0.5*focal",
            )
        ),
    ],
)
def test_what_is_no_loss_is_one_line(text, message):
    with pytest.raises(KitError, match=message):
        loss_terms(text, Registry(), "multiclass")


def test_the_configuration_reaches_the_losses():
    half, one = [[0.0]], [[1.0]]
    bce = built("bce", "binary", bce_factor=10, class_weights="balanced", label_smoothing=0.2)
    assert cost(bce, half, one).item() == pytest.approx(10 * LN2 * (2 * 0.9 + 0.1))
    focal = built("focal", "binary", focal_gamma=1, focal_alpha=0.2, class_weights="balanced", label_smoothing=0.2)
    assert cost(focal, half, one).item() == pytest.approx(LN2 / 2 * (0.2 * 2 * 0.9 + 0.8 * 0.1))
    for name, own in (("arcface", np.cos(0.7)), ("cosface", 0.3)):
        loss = built(name, "multiclass", 4, margin=0.7, margin_scale=2, label_smoothing=0.2)
        loss.centres.data = torch.eye(4)
        wanted = np.log(np.exp(2 * own) + 3) - (0.8 + 0.2 / 4) * 2 * own
        # The sine of a cosine of 1 is that of its rounding error.
        assert cost(loss, [[3.0, 0, 0, 0]], [0]).item() == pytest.approx(wanted, rel=1e-6)


def test_alpha_has_no_meaning_for_classes():
    with pytest.raises(KitError, match="class_weights=balanced"):
        built("focal", "multiclass", focal_alpha=0.25)


def clouds(task: str) -> tuple[Tensor, Tensor]:
    """600 points in 16 dimensions: four clouds, or labels that tell on which side of a plane each point lies."""
    if task in ONE_OF_SEVERAL:
        target = torch.arange(600) % 4
        return torch.randn(4, 16)[target] + torch.randn(600, 16) * 0.5, target
    points = torch.randn(600, 16)
    return points, (points @ torch.randn(16, INDEX[task].outputs) > 1).float()


@pytest.mark.parametrize(("name", "task"), [*NAMES, ("0.8*cross_entropy+0.2*arcface", "multiclass")])
def test_each_loss_teaches_a_small_network(name, task):
    torch.manual_seed(0)
    points, target = clouds(task)
    body, head, loss = nn.Linear(16, 6), nn.Linear(6, INDEX[task].outputs), built(name, task)
    optimizer = torch.optim.Adam([*body.parameters(), *head.parameters(), *loss.parameters()], 0.03)

    def output(rows: Tensor) -> Output:
        embedding = body(points[rows])
        return Output(head(embedding), embedding)

    for _ in range(100):
        rows = torch.randperm(400)[:64]
        optimizer.zero_grad()
        loss(output(rows), batch(target[rows])).backward()
        optimizer.step()
    unseen = torch.arange(400, 600)
    logits = predicting_logits(loss, output(unseen)).detach()
    if task in ONE_OF_SEVERAL:
        assert (logits.argmax(1) == target[unseen]).float().mean() > 0.9
    else:
        assert roc_auc_score(target[unseen], logits, average="macro") > 0.9
