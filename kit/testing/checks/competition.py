"""Checks of a competition: that all it names is there, and fits its task and its data."""

import json
import re
from typing import Any

from kit.config import TrainConfig
from kit.errors import KitError
from kit.hooks.specs import Competition
from kit.model.losses import loss_terms
from kit.resolve import resolve
from kit.task import TASKS
from kit.testing.check import Broken, check, need, suppose
from kit.testing.data import dataset_of, index_of
from kit.testing.subject import Subject

SLUGS = {
    "competition": (re.compile(r"[a-z0-9]+(-[a-z0-9]+)*"), "words of a-z and 0-9 joined by -"),
    "dataset": (re.compile(r"[A-Za-z0-9_-]+/[a-z0-9]+(-[a-z0-9]+)*"), "owner/name"),
    "none": (re.compile(r"[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)?"), "letters, digits, - and _"),
}
BOTH = (False, True)  # on the data itself, and on its miniature


@check("competition/dataset", "give a DatasetSpec of that name, or correct `dataset`")
def dataset(subject: Subject) -> None:
    """Its dataset is there."""
    _found(subject.registry.datasets.get, subject.spec.dataset)


@check("competition/submission", "give a SubmissionSpec of that name, or correct `submission`")
def submission(subject: Subject) -> None:
    """Its submission format is there."""
    _found(subject.registry.submissions.get, subject.spec.submission)


@check("competition/metric", "name a metric that kit or a plugin has: --metrics lists them")
def metric(subject: Subject) -> None:
    """Its metric is there."""
    _found(subject.registry.metrics.get, subject.spec.metric)


@check("competition/metric-for-task", "name a metric that is for this task")
def metric_for_task(subject: Subject) -> None:
    """Its metric can judge its task."""
    spec = _found(subject.registry.metrics.get, subject.spec.metric)
    task = subject.spec.task
    fitting = [each.name for each in subject.registry.metrics if task in each.tasks]
    need(task in spec.tasks, f"metric {spec.name} is not for {task} tasks: {', '.join(fitting[:6])} are")


@check("competition/epoch-metrics", "name metrics that are there and for this task")
def epoch_metrics(subject: Subject) -> None:
    """The metrics of each validation are there and can judge its task."""
    usual = Competition.__dataclass_fields__["epoch_metrics"].default
    suppose(tuple(subject.spec.epoch_metrics) != usual, "it has the usual ones")
    for name in subject.spec.epoch_metrics:
        spec = _found(subject.registry.metrics.get, name)
        need(subject.spec.task in spec.tasks, f"metric {name} is not for {subject.spec.task} tasks")


@check("competition/defaults", "correct the key or the value: kit config lists them")
def defaults(subject: Subject) -> None:
    """Its defaults are keys of the configuration, with values that it takes."""
    _config(subject, False)


@check("competition/miniature-defaults", "correct the key or the value: kit config lists them")
def miniature_defaults(subject: Subject) -> None:
    """So are those for the miniature."""
    suppose(not _broken(subject, False), "its defaults are wrong already")
    _config(subject, True)


@check("competition/model", "name a network that kit models lists")
def model(subject: Subject) -> None:
    """Its networks are there."""
    for miniature in BOTH:
        _found(subject.registry.models.get, _settled(subject, miniature).model)


@check("competition/loss", "name a loss that is there and for this task")
def loss(subject: Subject) -> None:
    """Its losses are there, and for its task."""
    for miniature in BOTH:
        config = _settled(subject, miniature)
        _found(lambda text: loss_terms(text, subject.registry, subject.spec.task), config.loss)


@check("competition/trackers", "name a tracker that is there")
def trackers(subject: Subject) -> None:
    """Its trackers are there."""
    for miniature in BOTH:
        for name in _settled(subject, miniature).trackers:
            _found(subject.registry.trackers.get, name)


@check("competition/slug", "copy it from the address of the competition's page")
def slug(subject: Subject) -> None:
    """The slug has the form that Kaggle gives."""
    form, said = SLUGS[subject.spec.kaggle]
    need(form.fullmatch(subject.spec.slug), f"the slug {subject.spec.slug!r} is not {said}")


@check("competition/class-names", "give each class a name of its own: text without blanks around it")
def class_names(subject: Subject) -> None:
    """There are as many classes as the task has, each with a name that can be shown."""
    spec = subject.spec
    suppose(spec.classes, "they come from the labels")
    need(TASKS[spec.task].fits(len(spec.classes)), f"{len(spec.classes)} classes are not what a {spec.task} task has")
    odd = [name for name in spec.classes if not name.strip() or name != name.strip() or not name.isprintable()]
    need(not odd, f"the class {odd[0]!r} has blanks around it, or nothing to show" if odd else "")


@check("competition/classes-of-index", "give the same classes in the same order in both places")
def classes_of_index(subject: Subject) -> None:
    """The index has its classes, in their order."""
    suppose(subject.spec.classes, "they come from the labels")
    index = index_of(subject, dataset_of(subject, subject.spec))
    given, found = tuple(subject.spec.classes), index.classes
    need(given == found, f"it names the classes {', '.join(given[:5])}, its index has {', '.join(found[:5])}")


@check("competition/task-of-index", "give the same task in both places")
def task_of_index(subject: Subject) -> None:
    """The index has its task."""
    index = index_of(subject, dataset_of(subject, subject.spec))
    need(str(index.task) == subject.spec.task, f"its task is {subject.spec.task}, that of its index {index.task}")


@check("competition/facts", "give text, numbers and lists alone")
def facts(subject: Subject) -> None:
    """Its facts can be printed as JSON."""
    try:
        json.dumps({str(key): value for key, value in subject.spec.facts.items()}, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise Broken(f"its facts can't be written as JSON: {error}") from None


@check("competition/title", "give the competition's full title", "advice")
def title(subject: Subject) -> None:
    """It has a title for people."""
    need(subject.spec.title.strip(), "it has no title")


@check("competition/address", 'give url = "https://..."', "advice")
def address(subject: Subject) -> None:
    """It says where its rules are."""
    suppose(subject.spec.kaggle != "none", "Kaggle does not host it")
    need(subject.spec.url.startswith("https://"), "it has no url: kit download names it to whoever must accept rules")


@check("competition/trains-on-miniature", "give miniature_defaults: pretrained = false, a small model", "advice")
def trains_on_miniature(subject: Subject) -> None:
    """Trials on the miniature need no pretrained weights."""
    spec = dataset_of(subject, subject.spec)
    suppose(spec.miniature is not None, "its dataset has no miniature")
    need(not _settled(subject, True).pretrained, "on the miniature it trains with pretrained weights")


def _found(get: Any, name: str) -> Any:
    try:
        return get(name)
    except KitError as error:
        raise Broken(str(error)) from None


def _config(subject: Subject, miniature: bool) -> TrainConfig:
    try:
        return resolve(subject.spec, miniature)[0]
    except KitError as error:
        raise Broken(str(error)) from None


def _broken(subject: Subject, miniature: bool) -> bool:
    try:
        _config(subject, miniature)
    except Broken:
        return True
    return False


def _settled(subject: Subject, miniature: bool) -> TrainConfig:
    """Return the configuration; raise `Skipped` if it is broken, which another check says."""
    suppose(not _broken(subject, miniature), "its defaults are wrong: see competition/defaults")
    return _config(subject, miniature)
