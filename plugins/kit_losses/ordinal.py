"""Losses on grades, classes in an order: a grade that is far off costs more than its neighbour.

Each says what every grade would cost an image. The loss is the mean over the batch of sum_c w_c y_c cost_c, y the class
shares: one label, or after mixup two.
"""

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn
from torch.nn import functional

from kit.plugin.network import Batch, Output
from kit_losses.targets import class_shares, precise

# Log probabilities are finite: a grade that a score rules out has this probability.
SMALLEST = 1e-9
# Of neighbouring biases, so that no grade's probability is ever 0.
NARROWEST = 1e-6


class GradeLoss(nn.Module, ABC):
    """The mean over the batch of sum_c w_c y_c cost_c.

    Args:
        weight: w, one per grade, C; None for 1.
        smoothing: shares become y (1 - smoothing) + smoothing / C.
    """

    weight: Tensor | None

    def __init__(self, weight: Tensor | None = None, smoothing: float = 0) -> None:
        super().__init__()
        self.register_buffer("weight", weight, persistent=False)
        self.smoothing = smoothing

    @abstractmethod
    def costs(self, logits: Tensor) -> Tensor:
        """Return what each grade would cost, BxC, from the network's logits."""

    @abstractmethod
    def logits(self, output: Output) -> Tensor:
        """Return the log probability of each grade, BxC, from which prediction goes on."""

    def forward(self, output: Output, batch: Batch) -> Tensor:
        """Take the network's logits and grades B or shares BxC -> scalar."""
        costs = self.costs(precise(output.logits))
        shares = class_shares(batch.target, costs) * (1 - self.smoothing) + self.smoothing / costs.shape[1]
        if self.weight is not None:
            shares = self.weight * shares
        return (shares * costs).sum(1).mean()


class GradeError(GradeLoss):
    """Regression of the grade: one logit is the grade itself, and its error costs.

    The probabilities that prediction goes on from are triangular, shared between the two grades beside the logit, so
    that their mean is the logit itself, held between 0 and C - 1.

    Args:
        grades: C.
        smooth: whether errors above 1 count by their size and not by their square (smooth L1).
        weight: one per grade, C; None for 1.
    """

    numbers: Tensor

    def __init__(self, grades: int, smooth: bool, weight: Tensor | None = None) -> None:
        super().__init__(weight)
        self.smooth = smooth
        self.register_buffer("numbers", torch.arange(grades, dtype=torch.float32), persistent=False)

    def costs(self, logits: Tensor) -> Tensor:
        """Bx1 -> BxC."""
        grade, numbers = torch.broadcast_tensors(logits, self.numbers)
        error = functional.smooth_l1_loss if self.smooth else functional.mse_loss
        return error(grade, numbers, reduction="none")

    def logits(self, output: Output) -> Tensor:
        """Bx1 -> BxC."""
        grade = precise(output.logits).clamp(0, len(self.numbers) - 1)
        return (1 - (grade - self.numbers).abs()).clamp(min=SMALLEST).log()


class Coral(GradeLoss):
    """CORAL (Cao, Mirjalili and Raschka 2020): P(y > k) = sigmoid(score + b_k), one score for all thresholds k.

    The cost of a grade is the sum of the C - 1 binary cross-entropies. The biases b are parameters of the loss and
    fall strictly, so P(y > k) never rises with k: the ranks are consistent at every step, not at the optimum alone.

    Args:
        counts: training images of each grade, C: the biases begin at the logits of P(y > k) among them.
        weight, smoothing: as for `GradeLoss`.
    """

    above: Tensor

    def __init__(self, counts: Tensor, weight: Tensor | None = None, smoothing: float = 0) -> None:
        super().__init__(weight, smoothing)
        shares = (counts.double() + 1) / (counts.double() + 1).sum()  # with one image more of each, no share is 0
        start = shares.flip(0).cumsum(0).flip(0)[1:].logit()
        self.highest = nn.Parameter(start[:1].float())
        # Steps between neighbours are softplus of what is learned.
        self.steps = nn.Parameter((start[:-1] - start[1:]).expm1().log().float())
        grades = torch.arange(len(counts))
        self.register_buffer("above", grades[:, None] > grades[:-1], persistent=False)  # CxC-1: is grade c above k?

    def biases(self) -> tuple[Tensor, Tensor]:
        """Return b, C - 1, falling, and the C - 2 distances between neighbours."""
        distances = functional.softplus(precise(self.steps)).clamp(min=NARROWEST)
        highest = precise(self.highest)
        return torch.cat([highest, highest - distances.cumsum(0)]), distances

    def costs(self, logits: Tensor) -> Tensor:
        """Bx1 -> BxC."""
        levels = (logits + self.biases()[0])[:, None]
        right = torch.where(self.above, functional.logsigmoid(levels), functional.logsigmoid(-levels))
        return -right.sum(2)

    def logits(self, output: Output) -> Tensor:
        """Bx1 -> BxC: P(y = c) = P(y > c - 1) - P(y > c)."""
        biases, distances = self.biases()
        levels = precise(output.logits) + biases
        # sigmoid(a) - sigmoid(b) = sigmoid(a) sigmoid(-b) (1 - exp(b - a)).
        inner = (-torch.expm1(-distances)).log()
        above, below = functional.pad(functional.logsigmoid(levels), (1, 0)), functional.logsigmoid(-levels)
        return above + functional.pad(below, (0, 1)) + functional.pad(inner, (1, 1))


class Corn(GradeLoss):
    """CORN (Shi, Cao and Raschka 2021): logit k says whether an image of a grade of at least k has one above it.

    P(y > k) is the product of the sigmoids up to k, so ranks are consistent. An image counts for the thresholds up to
    its own grade alone (the conditional subsets); the sum of these binary cross-entropies is -log P(y = c), the cost.
    The mean is over images; in the paper it is over all members of the subsets.
    """

    def costs(self, logits: Tensor) -> Tensor:
        """BxC-1 -> BxC."""
        passed = functional.pad(functional.logsigmoid(logits).cumsum(1), (1, 0))
        return -(passed + functional.pad(functional.logsigmoid(-logits), (0, 1)))

    def logits(self, output: Output) -> Tensor:
        """BxC-1 -> BxC."""
        return -self.costs(precise(output.logits))
