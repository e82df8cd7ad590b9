"""Checks of a loss: on made-up logits, embeddings and targets of each of its tasks."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from kit.config import validate
from kit.data.index import Index
from kit.errors import KitError
from kit.hooks.learning import LossRequest
from kit.hooks.leash import place_of, reason
from kit.hooks.specs import TASK_NAMES
from kit.model.network import Output
from kit.pixels.batches import Batch
from kit.testing import made
from kit.testing.check import Broken, check, need, suppose
from kit.testing.subject import Subject

ROWS, WIDTH = 12, 16  # of a batch, of an embedding
LARGE = 100.0  # logits of a network that is very sure
CLOSE = 1e-3
WAITS = ("item", "tolist", "numpy", "cpu", "__bool__", "__float__", "__int__", "nonzero")


@dataclass(frozen=True)
class Given:
    """A loss of one task with what it is called with."""

    task: str
    index: Index
    loss: Any
    output: Output
    batch: Batch

    def __call__(self, rows: list[int] | None = None, factor: float = 1.0) -> Tensor:
        """Return the loss of some rows, with logits multiplied."""
        which = torch.arange(ROWS) if rows is None else torch.tensor(rows)
        output = Output(self.output.logits[which] * factor, self.output.embedding[which])
        return _called(self.loss, output, Batch(*(part[which] for part in self.batch)))


@check("loss/every-task", "give tasks=(...), those that it can take, or make it take the others too")
def every_task(subject: Subject) -> str:
    """It can be built and computed for each of its tasks."""
    tasks = _claimed(subject)
    for task in tasks:
        try:
            _given(subject, task)()
        except Exception as error:
            raise Broken(f"of a {task} task it raises {reason(error)} at {place_of(error)}") from None
    need(tasks, "it can take none of the tasks")
    return ", ".join(tasks)


@check("loss/claimed-tasks", "give tasks=(...), those that it can take: the default says all", "advice")
def claimed_tasks(subject: Subject) -> None:
    """A loss that says nothing of its tasks can take all of them."""
    suppose(subject.spec.tasks == TASK_NAMES, "it names its tasks")
    for task in TASK_NAMES:
        need(_works(subject, task), f"it can't take a {task} task")


@check("loss/scalar", "return the mean over the batch, without a dimension")
def scalar(subject: Subject) -> None:
    """It returns a scalar."""
    for given in _cases(subject):
        value = given()
        need(isinstance(value, Tensor), f"of a {given.task} task it returns {type(value).__name__}, not a tensor")
        shape = "x".join(map(str, value.shape))
        need(value.ndim == 0, f"of a {given.task} task it returns a tensor of {shape}, not a scalar")


@check("loss/finite", "guard logarithms and divisions: clamp what goes into them")
def finite(subject: Subject) -> None:
    """It is finite."""
    for given in _scalars(subject):
        need(torch.isfinite(given()), f"of a {given.task} task it is {given():g}")


@check("loss/finite-for-large-logits", "compute from logits: *_with_logits, log_softmax, logsumexp")
def finite_for_large(subject: Subject) -> None:
    """It and its gradient stay finite for logits of 100."""
    for given in _scalars(subject):
        for factor in (LARGE, -LARGE):
            value = given(factor=factor)
            need(torch.isfinite(value), f"of a {given.task} task it is {value:g} for logits of {LARGE:g}")
            for name, gradient in _gradients(given, factor):
                bad = gradient is not None and not torch.isfinite(gradient).all()
                need(not bad, f"of a {given.task} task its gradient towards the {name} is not finite at {LARGE:g}")


@check("loss/gradient", "compute with torch alone: .item(), .detach(), numpy and argmax have no gradient")
def gradient(subject: Subject) -> None:
    """It has a gradient towards the logits or the embedding."""
    for given in _scalars(subject):
        need(given().requires_grad, f"of a {given.task} task it has no gradient")
        reached = [value is not None and bool(value.abs().sum() > 0) for _, value in _gradients(given)]
        need(any(reached), f"of a {given.task} task it has no gradient towards the logits or the embedding")


@check("loss/mean-over-batch", "return the mean, not the sum: the learning rate is for the mean")
def mean_over_batch(subject: Subject) -> None:
    """It does not grow with the batch: every row twice gives the same."""
    for given in _scalars(subject):
        once, twice = given(), given([*range(ROWS), *range(ROWS)])
        need(
            torch.allclose(once, twice, rtol=0.05, atol=CLOSE),
            f"of a {given.task} task it is {once:.4g}, and {twice:.4g} of every row twice: it grows with the batch",
        )


@check("loss/any-order-of-rows", "let each row count alike, wherever it stands")
def any_order(subject: Subject) -> None:
    """The order of the rows does not matter."""
    for given in _scalars(subject):
        one, other = given(), given([*range(ROWS)][::-1])
        close = torch.allclose(one, other, rtol=CLOSE, atol=CLOSE)
        need(close, f"of a {given.task} task it is {one:.5g}, and {other:.5g} of the same rows in another order")


@check("loss/better-is-lower", "correct the sign: training minimises it")
def better_is_lower(subject: Subject) -> None:
    """Logits that say the truth give a lower loss than those that say the opposite."""
    suppose(subject.spec.outputs is None, "it has logits of its own kind")
    for given in _scalars(subject):
        value, other = (_called(given.loss, _told(given, sign), given.batch) for sign in (1.0, -1.0))
        gone = _gone(given)
        need(
            bool(value < other) or gone,
            f"of a {given.task} task it is {value:.4g} where the logits say the truth, {other:.4g} where the opposite",
        )


@check("loss/leaves-its-inputs", "write nothing in place: no trailing _ on what it is given")
def leaves_inputs(subject: Subject) -> None:
    """It changes neither output nor batch."""
    for given in _scalars(subject):
        tensors = {"logits": given.output.logits, "embedding": given.output.embedding, "target": given.batch.target}
        before = {name: tensor.detach().clone() for name, tensor in tensors.items()}
        with torch.no_grad():
            given.loss(given.output, given.batch)
        for name, tensor in tensors.items():
            need(torch.equal(tensor, before[name]), f"of a {given.task} task it changes its {name} in place")


@check("loss/same-again", "draw nothing at random, and keep nothing from batch to batch that changes the value")
def same_again(subject: Subject) -> None:
    """The same batch gives the same number."""
    for given in _scalars(subject):
        one, other = given(), given()
        need(torch.equal(one, other), f"of a {given.task} task the same batch gives {one:.6g}, then {other:.6g}")


@check("loss/one-row", "divide by what may be one: the last batch may have a single row")
def one_row(subject: Subject) -> None:
    """A batch of one row gives a finite number."""
    for given in _scalars(subject):
        need(torch.isfinite(given([0])), f"of a {given.task} task it is {given([0]):g} of a single row")


@check("loss/half-precision", "compute in float32: output.logits.float()", "advice")
def half_precision(subject: Subject) -> None:
    """Logits of bfloat16, as mixed precision gives them, give a finite number."""
    for given in _scalars(subject):
        output = Output(given.output.logits.bfloat16(), given.output.embedding.bfloat16())
        try:
            value = _called(given.loss, output, given.batch)
        except Exception as error:
            raise Broken(f"of a {given.task} task with bfloat16 it raises {reason(error)}") from None
        need(torch.isfinite(value), f"of a {given.task} task with bfloat16 it is {value:g}")


@check("loss/does-not-wait", "use torch.where and masks: .item() and `if tensor` wait for the GPU", "advice")
def does_not_wait(subject: Subject) -> None:
    """It reads no value back from the device."""
    for given in _scalars(subject):
        with _waits() as heard:
            given.loss(given.output, given.batch)
        need(not heard, f"of a {given.task} task it calls Tensor.{heard[0] if heard else ''}, which waits for the GPU")


@check("loss/own-logits", "return BxK, as the network's logits are")
def own_logits(subject: Subject) -> None:
    """A loss with its own classifier gives logits of the right shape."""
    for given in _scalars(subject):
        own = getattr(given.loss, "logits", None)
        suppose(callable(own), "it has none")
        shape = tuple(own(given.output).shape)  # type: ignore[misc]
        need(shape == (ROWS, given.index.outputs), f"logits(output) is {shape}, not {ROWS}x{given.index.outputs}")


@check("loss/same-from-a-seed", "draw weights from torch's own random numbers, while it is built")
def same_from_seed(subject: Subject) -> None:
    """Two of one seed are the same."""
    for task in _working(subject):
        one, other = (_given(subject, task) for _ in range(2))
        suppose(hasattr(one.loss, "state_dict"), "it has no weights")
        first, second = one.loss.state_dict(), other.loss.state_dict()
        same = all(torch.equal(first[key], second[key]) for key in first if isinstance(first[key], Tensor))
        need(same, f"of a {task} task two builds from one seed have other weights")


def _claimed(subject: Subject) -> list[str]:
    """Return the tasks that it has to take: those named, else those used, or that work."""
    spec, kept = subject.spec, f"tasks of loss {subject.spec.name}"
    if kept not in subject.kept:
        found = list(spec.tasks)
        if tuple(found) == TASK_NAMES:
            used = {each.task for each in subject.own("competition") if spec.name in str(each.defaults.get("loss"))}
            found = [task for task in TASK_NAMES if (task in used if used else _works(subject, task))]
        subject.kept[kept] = found
    return list(subject.kept[kept])


def _works(subject: Subject, task: str) -> bool:
    try:
        _given(subject, task)()
    except Exception:
        return False
    return True


def _working(subject: Subject) -> list[str]:
    found = [task for task in _claimed(subject) if _works(subject, task)]
    suppose(found, "it fails on every task: see loss/every-task")
    return found


def _cases(subject: Subject) -> Iterator[Given]:
    for task in _working(subject):
        yield _given(subject, task)


def _scalars(subject: Subject) -> Iterator[Given]:
    for given in _cases(subject):
        value = given()
        suppose(isinstance(value, Tensor) and value.ndim == 0, "it returns no scalar: see loss/scalar")
        yield given


def _given(subject: Subject, task: str) -> Given:
    """Build the loss of a task, with random logits and embeddings and the first targets."""
    index = made.index(task, subject.folder, 2 * ROWS)
    torch.manual_seed(0)
    loss = _built(subject, index)
    torch.manual_seed(1)
    frame = index.train.head(ROWS)
    width = index.outputs if subject.spec.outputs is None else subject.spec.outputs(index)
    output = Output(torch.randn(ROWS, width, requires_grad=True), torch.randn(ROWS, WIDTH, requires_grad=True))
    batch = Batch(
        torch.zeros(ROWS, 3, 8, 8),
        torch.from_numpy(index.targets(frame).copy()),
        torch.from_numpy(index.metadata_of(frame)),
        torch.arange(ROWS),
    )
    return Given(task, index, loss, output, batch)


def _built(subject: Subject, index: Index) -> Any:
    """Build it with the usual configuration; one that takes numbers between bounds alone says so by a KitError."""
    values = {"competition": "conformance", "dataset": "conformance", "loss": subject.spec.name}
    try:
        return subject.spec.build(LossRequest(validate(values), index, embedding=WIDTH))
    except KitError:
        if index.task.has_classes:
            raise
        bounds = index.targets(index.train)
        config = validate({**values, "bounds": (float(bounds.min()) - 1, float(bounds.max()) + 1)})
        return subject.spec.build(LossRequest(config, index, embedding=WIDTH))


def _called(loss: Callable[[Output, Batch], Tensor], output: Output, batch: Batch) -> Tensor:
    torch.manual_seed(2)
    return loss(output, batch)


def _gradients(given: Given, factor: float = 1.0) -> list[tuple[str, Tensor | None]]:
    given.output.logits.grad = given.output.embedding.grad = None
    value = given(factor=factor)
    if value.requires_grad:
        value.backward()
    return [("logits", given.output.logits.grad), ("embedding", given.output.embedding.grad)]


def _told(given: Given, sign: float) -> Output:
    """Return logits that say the truth, or the opposite."""
    target, outputs = given.batch.target, given.index.outputs
    if given.task in ("multiclass", "ordinal"):
        logits = 4 * torch.nn.functional.one_hot(target, outputs).float() - 2
        if given.task == "ordinal" and sign < 0:
            logits = 4 * torch.nn.functional.one_hot((target + outputs // 2) % outputs, outputs).float() - 2
            sign = 1.0
    elif given.task == "regression":
        logits, sign = target + (0 if sign > 0 else 3 * target.std(0)), 1.0
    else:
        logits = 4 * target - 2
    return Output(sign * logits, given.output.embedding)


def _gone(given: Given) -> bool:
    """Whether the loss does not look at the logits, as one with its own classifier does not."""
    return all(value is None or not value.any() for name, value in _gradients(given) if name == "logits")


@contextmanager
def _waits() -> Iterator[list[str]]:
    """Within the block, note what reads values back from the device."""
    heard: list[str] = []
    plain = {name: getattr(Tensor, name) for name in WAITS}

    def noting(name: str, function: Any) -> Any:
        def call(*arguments: Any, **options: Any) -> Any:
            heard.append(name)
            return function(*arguments, **options)

        return call

    for name, function in plain.items():
        setattr(Tensor, name, noting(name, function))
    try:
        yield heard
    finally:
        for name, function in plain.items():
            setattr(Tensor, name, function)
