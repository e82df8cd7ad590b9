"""Checks of a metric: on made-up targets and predictions of each of its tasks."""

import time
import warnings
from collections.abc import Iterator
from numbers import Real
from typing import Any

import numpy as np

from kit.hooks.leash import place_of, reason
from kit.hooks.specs import TASK_NAMES
from kit.testing import made
from kit.testing.check import Broken, check, need, suppose
from kit.testing.subject import Subject

SEEDS = range(5)
MANY, SECONDS = 200_000, 10.0
CLOSE = 1e-6


@check("metric/every-task", "give tasks=(...), those that it can judge, or make it judge the others too")
def every_task(subject: Subject) -> str:
    """It returns a number for each of its tasks."""
    cases = _claimed(subject)
    for case in cases:
        target = case.targets()
        try:
            _raw(subject, case, target, case.predictions(target, 0.7))
        except Exception as error:
            raise Broken(f"of {case} it raises {reason(error)} at {place_of(error)}") from None
    need(cases, "it can judge none of the tasks")
    return ", ".join(map(str, cases))


@check("metric/claimed-tasks", "give tasks=(...), those that it can judge: the default says all", "advice")
def claimed_tasks(subject: Subject) -> None:
    """A metric that says nothing of its tasks can judge all of them."""
    suppose(subject.spec.tasks == TASK_NAMES, "it names its tasks")
    for task in TASK_NAMES:
        need(any(_works(subject, case) for case in _usual(task)), f"it can't judge a {task} task")


@check("metric/number", "return one float, as float(...) makes it")
def number(subject: Subject) -> None:
    """It returns one number, finite where both classes occur."""
    for case in _cases(subject):
        target = case.targets()
        for noise in made.NOISES:
            value = _raw(subject, case, target, case.predictions(target, noise))
            need(
                _is_single(value),
                f"of {case} it returns {type(value).__name__} {getattr(value, 'shape', '')}, no number",
            )
            need(np.isfinite(float(value)), f"of {case} it returns {value} where all classes occur")


@check("metric/polarity", "correct higher_is_better, or the sign of what it returns")
def polarity(subject: Subject) -> None:
    """A better prediction scores better: the mean over seeds falls with the noise of the predictions, as it should."""
    sign = 1 if subject.spec.higher_is_better else -1
    for case in _cases(subject):
        good, bad = (np.mean([_score(subject, case, noise, seed) for seed in SEEDS]) for noise in (0.3, 4.0))
        way = "higher" if sign > 0 else "lower"
        need(
            sign * (good - bad) >= -CLOSE,
            f"higher_is_better={subject.spec.higher_is_better}, and of {case} near-perfect predictions score "
            f"{good:.4g}, noise {bad:.4g}: better predictions should be {way}",
        )


@check("metric/judges-predictions", "compare the two arguments: (target, prediction)")
def judges_predictions(subject: Subject) -> None:
    """It depends on the predictions."""
    for case in _cases(subject):
        values = {_score(subject, case, noise, seed) for noise in made.NOISES for seed in SEEDS}
        need(len(values) > 1, f"of {case} it returns {next(iter(values)):.4g} whatever is predicted")


@check("metric/perfect-is-best", "let the truth itself score best")
def perfect_is_best(subject: Subject) -> None:
    """Nothing scores better than the truth."""
    sign = 1 if subject.spec.higher_is_better else -1
    for case in _cases(subject):
        target = case.targets()
        perfect = _plain(subject, case, target, case.perfect(target))
        for noise in made.NOISES[1:]:
            other = _plain(subject, case, target, case.predictions(target, noise))
            need(
                sign * (perfect - other) >= -CLOSE,
                f"of {case} the truth scores {perfect:.4g}, worse than {other:.4g} of noisy predictions",
            )


@check("metric/any-order-of-rows", "let each row count alike, wherever it stands")
def any_order(subject: Subject) -> None:
    """The order of the rows does not matter."""
    for case in _cases(subject):
        target = case.targets()
        prediction = case.predictions(target, 0.7)
        order = np.random.default_rng(3).permutation(len(target))
        one, other = (_plain(subject, case, target[rows], prediction[rows]) for rows in (slice(None), order))
        need(_close(one, other), f"of {case} the same rows in another order score {other:.6g}, not {one:.6g}")


@check("metric/leaves-its-inputs", "copy before changing: both arrays serve other metrics too")
def leaves_inputs(subject: Subject) -> None:
    """It changes neither array."""
    for case in _cases(subject):
        target = case.targets()
        prediction = case.predictions(target, 0.7)
        given = target.copy(), prediction.copy()
        _plain(subject, case, *given)
        for before, after, name in ((target, given[0], "target"), (prediction, given[1], "prediction")):
            need(np.array_equal(before, after), f"of {case} it changes its {name} in place")


@check("metric/same-again", "draw nothing at random, or from a fixed seed")
def same_again(subject: Subject) -> None:
    """The same arrays give the same number."""
    for case in _cases(subject):
        target = case.targets()
        prediction = case.predictions(target, 0.7)
        one, other = (_plain(subject, case, target, prediction) for _ in range(2))
        need(one == other, f"of {case} the same arrays score {one:.6g}, then {other:.6g}")


@check("metric/any-precision", "compute in float64: training gives float32, files float64")
def any_precision(subject: Subject) -> None:
    """Float32 and float64 predictions score alike."""
    for case in _cases(subject):
        target = case.targets()
        prediction = case.predictions(target, 0.7)
        one, other = (_plain(subject, case, target, prediction.astype(kind)) for kind in (np.float32, np.float64))
        need(abs(one - other) <= 1e-4 * max(1, abs(one)), f"of {case} float64 scores {other:.6g}, not {one:.6g}")


@check("metric/one-class", "return float('nan') where it is not defined")
def one_class(subject: Subject) -> None:
    """Where a fold has a single class, or a constant number, it returns a number or NaN, and raises nothing."""
    for case in _cases(subject):
        target = case.targets()
        for name, constant in (("only the first class", target[:1] * 0), ("a single class", target[:1])):
            rows = np.repeat(constant, 20, axis=0)
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    value = subject.spec.compute(rows, case.predictions(target, 0.7)[:20])
            except Exception as error:
                raise Broken(f"of {case} with {name} it raises {reason(error)} at {place_of(error)}") from None
            need(
                not np.isinf(float(value)),
                f"of {case} with {name} it returns {value}, neither a number nor NaN",
            )


@check("metric/quiet", "return float('nan') before what warns, or divide with numpy.errstate", "advice")
def quiet(subject: Subject) -> None:
    """It warns of nothing, not even where a single class occurs."""
    for case in _cases(subject):
        target = case.targets()
        for rows in (target, np.repeat(target[:1], len(target), axis=0)):
            with warnings.catch_warnings(record=True) as heard:
                warnings.simplefilter("always")
                subject.spec.compute(rows, case.predictions(target, 0.7))
            need(not heard, f"of {case} it warns: {heard[0].message if heard else ''}")


@check("metric/quick", "compute with whole arrays: training computes it after every epoch", "advice")
def quick(subject: Subject) -> str:
    """200,000 rows take less than 10 s."""
    case = next(_cases(subject))
    target = case.targets(MANY)
    prediction = case.predictions(target, 0.7)
    began = time.process_time()
    _plain(subject, case, target, prediction)
    seconds = time.process_time() - began
    need(seconds < SECONDS, f"{MANY:,} rows take {seconds:.1f} s")
    return f"{seconds:.2f} s for {MANY:,} rows"


@check("metric/decision", "leave decision out where it judges probabilities or ranks: there is nothing to tune")
def decision(subject: Subject) -> None:
    """A metric that judges predicted classes depends on them alone."""
    suppose(subject.spec.judges_classes, "it judges probabilities")
    said = f"decision={subject.spec.decision!r}" if subject.spec.decision else "of_classes=True"
    for case in _cases(subject):
        target = case.targets()
        for noise in made.NOISES:
            prediction = case.predictions(target, noise)
            one, other = (_plain(subject, case, target, each) for each in (prediction, case.decided(prediction)))
            need(
                _close(one, other),
                f"{said}, and of {case} it judges the probabilities: {one:.4g} of them, {other:.4g} of the "
                "predicted classes",
            )


@check("metric/decision-fits", "choose thresholds (multi-label), weights (multiclass) or cuts (ordinal)")
def decision_fits(subject: Subject) -> None:
    """The decision rule is one that a task of the metric has."""
    rule = subject.spec.decision
    suppose(rule, "it names no decision rule")
    tasks = set() if subject.spec.tasks == TASK_NAMES else {*subject.spec.tasks}
    need("regression" not in tasks, f"decision={rule!r}, and a regression has nothing to decide")
    fitting = {"thresholds": {"multilabel", "binary"}, "weights": {"multiclass"}, "cuts": {"ordinal"}}[rule]
    need(fitting & (tasks or fitting), f"decision={rule!r} is for {' and '.join(sorted(fitting))} tasks alone")


@check("metric/says-that-it-judges-classes", "say of_classes=True, or name a decision", "advice")
def says_of_classes(subject: Subject) -> None:
    """A metric that depends on the predicted classes alone says so, so that a tuned rule counts for it."""
    suppose(not subject.spec.judges_classes, "it says so")
    cases = [case for case in _cases(subject) if case.task != "regression"]
    suppose(cases, "its task has no classes")
    for case in cases:
        target = case.targets()
        for noise in made.NOISES:
            prediction = case.predictions(target, noise)
            softer = case.predictions(target, noise) ** 2 if case.task in ("multiclass", "ordinal") else prediction
            scores = [_plain(subject, case, target, each) for each in (softer, case.decided(prediction))]
            if not _close(*scores):
                return
    raise Broken("it depends on the predicted classes alone, and does not say so")


def _usual(task: str) -> list[made.Case]:
    """Return the sizes in which a task is tried where nothing says how many classes there are."""
    counts = {"binary": (2,), "regression": (1, made.TARGETS)}.get(task, (made.CLASSES,))
    return [made.Case(task, count) for count in counts]


def _claimed(subject: Subject) -> list[made.Case]:
    """Return what it has to judge: what its plugin's competitions are, and the other tasks that it names.

    Of a metric that says nothing of its tasks, which then is for all, those count that competitions use, or that work.
    """
    spec, kept = subject.spec, f"cases of {subject.spec.name}"
    if kept not in subject.kept:
        own = [each for each in subject.own("competition") if spec.name in (each.metric, *each.epoch_metrics)]
        sized = [made.Case(each.task, len(each.classes)) for each in own if each.classes]
        used = {each.task for each in own}
        cases = [case for task in used for case in [case for case in sized if case.task == task] or _usual(task)]
        for task in spec.tasks if spec.tasks != TASK_NAMES or not used else ():
            working = [case for case in _usual(task) if _works(subject, case)]
            if task not in used:
                cases += working or (_usual(task)[:1] if spec.tasks != TASK_NAMES else [])
        subject.kept[kept] = cases
    return list(subject.kept[kept])


def _works(subject: Subject, case: made.Case) -> bool:
    target = case.targets()
    try:
        _raw(subject, case, target, case.predictions(target, 0.7))
    except Exception:
        return False
    return True


def _cases(subject: Subject) -> Iterator[made.Case]:
    """Yield what it has to judge and can."""
    working = [case for case in _claimed(subject) if _works(subject, case)]
    suppose(working, "it fails on every task: see metric/every-task")
    yield from working


def _plain(subject: Subject, case: made.Case, target: np.ndarray, prediction: np.ndarray) -> float:
    """Return the number that it computes."""
    value = _raw(subject, case, target, prediction)
    suppose(_is_single(value), "it returns no number: see metric/number")
    return float(value)


def _is_single(value: Any) -> bool:
    return isinstance(value, Real) or getattr(value, "shape", None) == ()


def _raw(subject: Subject, case: made.Case, target: np.ndarray, prediction: np.ndarray) -> Any:
    """Return what it computes; of grades, a metric that judges classes is given the predicted ones."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        given = case.decided(prediction) if case.task == "ordinal" and subject.spec.judges_classes else prediction
        return subject.spec.compute(target, given)


def _score(subject: Subject, case: made.Case, noise: float, seed: int) -> float:
    target = case.targets(seed=seed)
    return _plain(subject, case, target, case.predictions(target, noise, seed))


def _close(one: float, other: float) -> bool:
    return abs(one - other) <= CLOSE * max(1, abs(one)) or (np.isnan(one) and np.isnan(other))
