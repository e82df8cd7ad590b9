"""What plugins hand over: small frozen records that hold names and callables.

A callable's body imports what is heavy. New optional fields may be added at the end of a spec; existing ones keep
their meaning, so a plugin written for an older kit goes on working.
"""

import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from matplotlib.figure import Figure
    from torch import nn

    from kit.config import TrainConfig
    from kit.data.index import Index
    from kit.scoring.predictions import Predictions

# Each is an object in `kit.task`.
TaskName = Literal["binary", "multiclass", "multilabel"]
TASK_NAMES: tuple[TaskName, ...] = ("binary", "multiclass", "multilabel")


@dataclass(frozen=True)
class Competition:
    """The frozen facts of one competition.

    Args:
        name: what `kit` calls it; unique among the installed plugins.
        title: what people call it.
        slug: Kaggle's name of the competition, or `owner/name` of a dataset.
        task: `binary` (one sigmoid), `multiclass` (softmax) or `multilabel` (one sigmoid a class).
        metric: the name of the `MetricSpec` by which it is scored.
        dataset: the name of its `DatasetSpec`.
        submission: the name of its `SubmissionSpec`.
        aliases: short names for the command line.
        classes: names of the classes in the order of the outputs; empty where the labels tell them.
        kaggle: whether it lies on Kaggle as a `competition`, as a `dataset`, or not at all (`none`).
        url: its page.
        facts: what `kit info` prints besides: counts, bytes, medals.
        defaults: values of `TrainConfig` for the real data.
        miniature_defaults: values that replace those for the synthetic miniature.
        epoch_metrics: names of further metrics that each validation computes.
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
            raise ValueError(f"task {self.task!r} of competition {self.name!r} is none of {', '.join(TASK_NAMES)}")

    @classmethod
    def from_toml(cls, path: Path) -> "Competition":
        """Read `competition.toml`; its keys are the fields of this class, nothing else."""
        fields: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
        for name in ("aliases", "classes", "epoch_metrics"):
            if name in fields:
                fields[name] = tuple(fields[name])
        return cls(**fields)


@dataclass(frozen=True)
class Picture:
    """One figure for `kit explore`: a file name without ending, a caption, and the matplotlib figure."""

    name: str
    caption: str
    figure: "Figure"


@dataclass(frozen=True)
class DatasetSpec:
    """How the raw folder of a competition is read.

    Args:
        name: unique among the installed plugins.
        channels: C of the arrays that `read` gives.
        index: raw folder -> `Index`; must not decode images (220,025 rows in seconds).
        read: the files of one sample, in the order of the index -> HxWxC uint8.
        composite: HxWxC uint8 -> HxWx3 uint8 for pictures; by default the first three channels.
        groups: a file of groups that the person gives (`kit folds --group FILE`) -> {id: group}; by default a csv
            whose first column is the id and whose last is the group.
        figures: pictures for `kit explore` beside the general ones.
        miniature: writes a synthetic miniature in the real layout: (folder, seed).
        likeness: the files of one sample -> HxW uint8, the picture by which near-duplicates are told; where given,
            `kit folds` keeps near-duplicates in one fold without being asked. By default `picture` in grey.
        statistics: (index, frame) -> mean and standard deviation of each row's channels, nxC of pixels in 0..1, where
            the data brings them (`--set normalize=plate`); None where it does not: they are measured.
        external: (csv or folder given with `--external`, index) -> rows like `index.train`, from which all folds learn.
            Names of files are absolute or relative to the index's root.
        any_size: images may be of unlike sizes; otherwise `kit check` takes that for a fault.
    """

    name: str
    channels: int
    index: Callable[[Path], "Index"]
    read: Callable[[tuple[Path, ...]], "np.ndarray"]
    composite: Callable[["np.ndarray"], "np.ndarray"] | None = None
    groups: Callable[[Path], Mapping[str, str]] | None = None
    figures: Callable[["Index"], Iterable[Picture]] | None = None
    miniature: Callable[[Path, int], None] | None = None
    likeness: Callable[[tuple[Path, ...]], "np.ndarray"] | None = None
    external: Callable[[Path, "Index"], "pd.DataFrame"] | None = None
    statistics: Callable[["Index", "pd.DataFrame"], "tuple[np.ndarray, np.ndarray] | None"] | None = None
    any_size: bool = False

    def picture(self, array: "np.ndarray") -> "np.ndarray":
        """What a person sees of an array that `read` gave: HxWxC uint8 -> HxWx3 uint8."""
        if self.composite is not None:
            return self.composite(array)
        return array[..., :3] if array.shape[2] >= 3 else array[..., [0, 0, 0]]


@dataclass(frozen=True)
class ModelRequest:
    """What a network must be: built anew for every fold.

    Args:
        name: the full name that was asked for (a family `timm/*` reads its part of it).
        channels: input channels; a pretrained stem is widened to them.
        outputs: number of logits.
        head: name of the head, see `kit.model.network.HEADS`.
        metadata: number of metadata columns, 0 for none.
        pretrained: start from pretrained weights; raise `KitError` when they can't be had.
    """

    name: str
    channels: int
    outputs: int
    head: str
    metadata: int
    pretrained: bool


@dataclass(frozen=True)
class ModelSpec:
    """A network by name.

    Args:
        name: unique; a trailing `/*` makes it a family.
        build: request -> module whose `forward(images, metadata)` takes float images BxCxHxW and metadata BxE (or None)
            and gives `kit.model.network.Output(logits BxK, embedding BxD)`.
        description: half a line for lists.
        mean: the mean a channel, of pixels in 0..1, by which its pretrained weights want images normalised.
        std: the standard deviation, likewise.
        statistics: full name -> (mean, std), for a family whose networks differ in them.
        offline: full name -> whether its pretrained weights lie on this disk, None where there are none; not given:
            no network of this spec has pretrained weights.
        names: shell pattern -> the full names of a family that match it (`kit models`).
    """

    name: str
    build: Callable[[ModelRequest], "nn.Module"]
    description: str = ""
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[float, ...] = (0.229, 0.224, 0.225)
    statistics: Callable[[str], tuple[tuple[float, ...], tuple[float, ...]]] | None = None
    offline: Callable[[str], bool | None] | None = None
    names: Callable[[str], list[str]] | None = None


@dataclass(frozen=True)
class LossRequest:
    """What a loss is built for, anew for every fold.

    Args:
        config: the run's configuration.
        index: the competition's samples (class counts for weights).
        embedding: width D of the network's embedding, for losses that carry a classifier of their own.
    """

    config: "TrainConfig"
    index: "Index"
    embedding: int


@dataclass(frozen=True)
class LossSpec:
    """A loss by name.

    Args:
        name: unique.
        build: request -> module called with (`Output`, `Batch`), giving a scalar. A loss that carries its own
            classifier on the embedding (a margin loss) also has a method `logits(output)`, which prediction then uses
            in place of `output.logits`.
        tasks: the tasks it fits.
        description: half a line for lists.
    """

    name: str
    build: Callable[[LossRequest], "nn.Module"]
    tasks: tuple[TaskName, ...] = TASK_NAMES
    description: str = ""


@dataclass(frozen=True)
class Finding:
    """One thing that a check found: `error` means that it must not be used so, `warning` that it may be worse."""

    level: Literal["error", "warning"]
    text: str


@dataclass(frozen=True)
class SubmissionSpec:
    """A submission format.

    Args:
        name: unique.
        write: (predictions, index, path): writes the csv, rows in the order that the competition wants.
        check: (path of the csv, folder of the data) -> findings; reads nothing but the csv and the sample submission.
        postprocess: predictions, of test or training ids, and index -> predictions; applied before
            `write`, and scored by `kit evaluate`, where the person asks for it (`--postprocess`).
        grade: (path of the csv, path of the published truth) -> numbers by name, the official score first
            (`kit grade`).
    """

    name: str
    write: Callable[["Predictions", "Index", Path], None]
    check: Callable[[Path, Path], list[Finding]]
    postprocess: Callable[["Predictions", "Index"], "Predictions"] | None = None
    grade: Callable[[Path, Path], Mapping[str, float]] | None = None


@dataclass(frozen=True)
class MetricSpec:
    """A metric by name.

    Args:
        name: unique.
        higher_is_better: the direction of improvement.
        compute: (target, prediction) -> float. Binary: target n of 0/1, prediction n; multiclass: target n of class
            numbers, prediction nxK; multilabel: target and prediction nxK. Predictions are probabilities.
        tasks: the tasks it fits.
        label: how tables call it.
        decision: which rule `kit thresholds` tunes for it, where it judges answers and not ranks: `thresholds` (a
            multi-label task: from which probability on a class is given) or `weights` (a multiclass task: by what each
            class's probability is multiplied). None: it judges probabilities as they are.
        beta: weight of recall when thresholds are searched, class by class, by F-beta.
    """

    name: str
    higher_is_better: bool
    compute: Callable[["np.ndarray", "np.ndarray"], float]
    tasks: tuple[TaskName, ...] = TASK_NAMES
    label: str = ""
    decision: Literal["thresholds", "weights"] | None = None
    beta: float = 1.0


class Tracker(Protocol):
    """Receives the numbers of one fold's training.

    `log` is called once a validation. After a stop or a kill the fold's training opens a new tracker, which may be
    given a step again that an earlier one was given already: the later numbers count.
    """

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Numbers by name at a step (batches since the start of the fold), as history.csv has them."""

    def close(self) -> None:
        """The fold has ended."""


@dataclass(frozen=True)
class Preview:
    """One validation image: HxWx3 uint8, and two lines of caption: its label, and what is predicted how surely."""

    image: "np.ndarray"
    caption: str


@runtime_checkable
class ImageTracker(Tracker, Protocol):
    """A tracker that also wants to see; one without this method gets numbers only."""

    def images(self, step: int, previews: Sequence[Preview]) -> None:
        """Up to 16 validation images, the same ones each time, after `log` of that step."""


@dataclass(frozen=True)
class TrackerSpec:
    """A tracker by name.

    Args:
        name: unique.
        open: (the run's folder, the fold's number) -> tracker; called when the fold's training starts or goes on.
        check: raises `KitError` where what it needs is not installed; called before a run's folder is made.
    """

    name: str
    open: Callable[[Path, int], Tracker]
    check: Callable[[], None] | None = None
