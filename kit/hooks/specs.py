"""What plugins return from their hooks: small frozen records of names and callables.

Heavy imports belong in the bodies of the callables. New optional fields may be added at the end of a spec; existing
fields keep their meaning, so a plugin written for an older kit keeps working.

A callable reports what the user can mend (a missing file, a wrong csv) as a `kit.errors.KitError` of one line: what
happened, and the command that mends it.

Shapes in the docstrings: B images in a batch, C channels, H and W height and width in pixels, K classes or logits,
D width of the embedding, E metadata columns, n rows.
"""

import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from kit.hooks.lazy import lazy

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from matplotlib.figure import Figure

    from kit.data.index import Index
    from kit.scoring.predictions import Predictions
    from kit.task import Task

READ_RGB = lazy("kit.data.images:read_only_file")
# Each names an object in `kit.task`.
TaskName = Literal["binary", "multiclass", "multilabel", "ordinal", "regression"]
TASK_NAMES: tuple[TaskName, ...] = ("binary", "multiclass", "multilabel", "ordinal", "regression")


@dataclass(frozen=True)
class Competition:
    """The frozen facts of one competition.

    Args:
        name: its name in `kit`; unique among the installed plugins.
        title: its full title, for people.
        slug: Kaggle's name of the competition, or `owner/name` of a dataset.
        task: `binary` (one sigmoid), `multiclass` (softmax), `multilabel` (one sigmoid per class), `ordinal` (classes
            in an order) or `regression` (one or several numbers).
        metric: name of the `MetricSpec` that scores it.
        dataset: name of its `DatasetSpec`; `--set dataset=NAME` replaces it.
        submission: name of its `SubmissionSpec`.
        aliases: short names for the command line; unique like `name`.
        classes: class names in the order of the outputs; empty if they come from the labels. Of an ordinal task they
            are the grades from the lowest on, of a regression the names of the targets.
        kaggle: how Kaggle hosts it: as a `competition`, as a `dataset`, or not at all (`none`).
        url: address of its web page; empty for none.
        facts: what else `kit info` prints, by name: counts, bytes, medals.
        defaults: values of `TrainConfig` by key, for the real data.
        miniature_defaults: values that override `defaults` on the synthetic miniature.
        epoch_metrics: names of the metrics that each validation computes besides `metric`; default: `accuracy`, of a
            regression `rmse`.

    Raises:
        ValueError: the task is unknown.
    """

    name: str
    title: str
    slug: str
    task: TaskName
    metric: str
    dataset: str
    submission: str
    aliases: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    kaggle: Literal["competition", "dataset", "none"] = "competition"
    url: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)
    defaults: Mapping[str, Any] = field(default_factory=dict)
    miniature_defaults: Mapping[str, Any] = field(default_factory=dict)
    epoch_metrics: tuple[str, ...] = ("accuracy",)

    def __post_init__(self) -> None:
        if self.task not in TASK_NAMES:
            raise ValueError(f"task {self.task!r} of competition {self.name!r} is not one of {', '.join(TASK_NAMES)}")
        if self.task == "regression" and self.epoch_metrics == ("accuracy",):
            object.__setattr__(self, "epoch_metrics", ("rmse",))

    @classmethod
    def from_toml(cls, path: Path) -> "Competition":
        """Read a `competition.toml`; its keys are fields of this class, nothing else.

        Raises:
            OSError: the file can't be read.
            ValueError: it is not valid TOML, or the task is unknown.
            TypeError: a key is not a field, or a required field is missing.
        """
        fields: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
        for name in ("aliases", "classes", "epoch_metrics"):
            if name in fields:
                fields[name] = tuple(fields[name])
        return cls(**fields)


@dataclass(frozen=True)
class Picture:
    """One figure for `kit explore`.

    Args:
        name: file name without ending.
        caption: what the figure shows, in text.
        figure: the matplotlib figure.
    """

    name: str
    caption: str
    figure: "Figure"


@dataclass(frozen=True)
class DatasetSpec:
    """How to read the raw folder of a competition.

    Callables are given as `(arguments) -> result`. `index`, `read`, `groups`, `statistics` and `external` raise
    `KitError` for files that are missing or malformed.

    Args:
        name: unique among the installed plugins.
        channels: number of channels C of the arrays that `read` returns.
        index: (raw folder) -> `Index`. Must not decode images: 220,025 rows take seconds.
        read: (files of one sample, in the order of the index) -> HxWxC uint8. Default: the only one as RGB.
        composite: (HxWxC uint8) -> HxWx3 uint8, RGB for people to look at; default: the first three channels, or the
            first one in grey if there are fewer.
        groups: (file given with `kit folds --group FILE`) -> {id: group}; default: a csv with the id in its first
            column and the group in its last.
        figures: (index) -> pictures for `kit explore`, besides the general ones.
        miniature: (empty folder, seed) -> None. Writes a synthetic miniature in the real layout; equal seeds must give
            equal bytes. Default: the data has no miniature.
        likeness: (files of one sample) -> HxW uint8, the picture in which to look for near-duplicates. If given,
            `kit folds` keeps near-duplicates in one fold by default. Default: `picture` in grey, and `kit folds` looks
            for near-duplicates only on request.
        external: (csv or folder given with `--external`, index) -> rows like those of `index.train`, added to the
            training images of every fold. File names are absolute or relative to the index's root. Default: the
            competition takes no external data.
        statistics: (index, frame) -> (mean, standard deviation) of the channels of each row of `frame`, two float
            arrays nxC, for pixels scaled to 0..1 (for `--set normalize=COLUMN`); None if the data does not
            provide them, and kit measures them. Default: always measured.
        any_size: whether images may differ in size; if False, `kit check` reports that as a fault.
        any_bands: whether some may be grey, transparent or of more bits, which `read` makes alike; likewise.
    """

    name: str
    channels: int
    index: Callable[[Path], "Index"]
    read: Callable[[tuple[Path, ...]], "np.ndarray"] = READ_RGB
    composite: Callable[["np.ndarray"], "np.ndarray"] | None = None
    groups: Callable[[Path], Mapping[str, str]] | None = None
    figures: Callable[["Index"], Iterable[Picture]] | None = None
    miniature: Callable[[Path, int], None] | None = None
    likeness: Callable[[tuple[Path, ...]], "np.ndarray"] | None = None
    external: Callable[[Path, "Index"], "pd.DataFrame"] | None = None
    statistics: Callable[["Index", "pd.DataFrame"], "tuple[np.ndarray, np.ndarray] | None"] | None = None
    any_size: bool = False
    any_bands: bool = False

    def picture(self, array: "np.ndarray") -> "np.ndarray":
        """Return the RGB picture that people see of an array from `read`: HxWxC uint8 -> HxWx3 uint8."""
        if self.composite is not None:
            return self.composite(array)
        return array[..., :3] if array.shape[2] >= 3 else array[..., [0, 0, 0]]


@dataclass(frozen=True)
class Finding:
    """One thing that a check of a csv found.

    Args:
        level: `error`: the csv must not be submitted; `warning`: it may score worse than it could.
        text: what is wrong, in one line, with the first bad row.
    """

    level: Literal["error", "warning"]
    text: str


@dataclass(frozen=True)
class SubmissionSpec:
    """A submission format.

    Args:
        name: unique among the installed plugins.
        write: (predictions, index, path) -> None. Writes the csv with its rows in the order that the competition
            wants; equal predictions must give equal bytes.
        check: (path of the csv, folder of the data) -> findings, empty if all is right. Reads the csv and, for
            comparison, the sample submission; must not decode images.
        postprocess: (predictions of test or training ids, index) -> predictions. Applied before `write`, and scored
            by `kit evaluate`, on request (`--postprocess`). Default: the competition has no post-processing.
        grade: (path of the csv, path of the truth) -> scores by name, the official score first, for `kit grade`;
            `KitError` if the ids of the two differ. Default: `kit grade` is refused.
    """

    name: str
    write: Callable[["Predictions", "Index", Path], None]
    check: Callable[[Path, Path], list[Finding]]
    postprocess: Callable[["Predictions", "Index"], "Predictions"] | None = None
    grade: Callable[[Path, Path], Mapping[str, float]] | None = None

    @classmethod
    def like_sample(
        cls,
        name: str,
        task: TaskName,
        classes: tuple[str, ...],
        holds: Literal["probabilities", "classes", "labels", "tags", "numbers"] = "probabilities",
        sample: str | None = "sample_submission.csv",
        **more: Any,
    ) -> "SubmissionSpec":
        """Return a submission in the form of the sample submission: its rows, its header, its order.

        The arguments, and `more`, are those of `kit.plugin.submission.SampleForm`, which is imported when it is needed.
        """

        def form() -> Any:
            return lazy("kit.submission.form:SampleForm")(sample, task, classes, holds, **more)

        def write(predictions: "Predictions", index: "Index", path: Path) -> None:
            form().write(predictions, index, path)

        def check(path: Path, root: Path) -> list[Finding]:
            findings: list[Finding] = form().check(path, root)
            return findings

        return cls(name, write, check)


@dataclass(frozen=True)
class MetricSpec:
    """A metric by name.

    Args:
        name: unique among the installed plugins.
        higher_is_better: direction of improvement.
        compute: (target, prediction) -> float; NaN where it is not defined. Predictions are probabilities. Binary:
            target n of 0 and 1, prediction n; multiclass and ordinal: target n of class numbers, prediction nxK;
            multilabel: target nxK of 0 and 1, prediction nxK; regression: both are numbers in the target's own unit, n,
            or nxK of several targets.
        tasks: the tasks it can be used for; default: all.
        label: its heading in tables; default: `name`.
        decision: the decision rule that `kit thresholds` tunes for it, if it scores predicted classes and not ranks:
            `thresholds` (multi-label: the probability from which a class is predicted), `weights` (multiclass: the
            factor on each class's probability) or `cuts` (ordinal: between which expected grades a grade is predicted).
            None: it scores probabilities as they are.
        beta: weight of recall in the F-beta by which thresholds are searched, class by class.
        of_classes: whether it depends on the predicted classes alone (accuracy, F1), so that a run's decision rule
            counts; a metric with a `decision` does. Default: it judges probabilities or ranks.
        ranked_by: which figure of several folds ranks runs: the metric of all out-of-fold predictions `pooled`, or the
            mean over `folds`. A metric that compares the probabilities of different images with each other (AUC) is
            lowered when pooled wherever the networks of the folds are calibrated apart, which says nothing about the
            networks; one that counts errors by class is pooled, because few images of a class are in each fold
            (Forman and Scholz 2010).
    """

    name: str
    higher_is_better: bool
    compute: Callable[["np.ndarray", "np.ndarray"], float]
    tasks: tuple[TaskName, ...] = TASK_NAMES
    label: str = ""
    decision: Literal["thresholds", "weights", "cuts"] | None = None
    beta: float = 1.0
    of_classes: bool = False
    ranked_by: Literal["pooled", "folds"] = "pooled"

    @property
    def judges_classes(self) -> bool:
        """Whether it depends on the predicted classes alone."""
        return self.of_classes or self.decision is not None

    def takes(self, task: "Task", values: "np.ndarray") -> "np.ndarray":
        """Shape probabilities nxK as `compute` takes them; where no rule has decided, the task does if it has its own
        way (`Task.judged`)."""
        return task.flat(task.judged(values) if self.judges_classes else values)

    def score(self, task: "Task", target: "np.ndarray", values: "np.ndarray") -> float:
        """Compute the metric of targets and probabilities nxK in the forms of the task (`kit.task`)."""
        return self.compute(task.flat(target), self.takes(task, values))
