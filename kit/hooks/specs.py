"""What plugins return from their hooks: small frozen records of names and callables.

Heavy imports belong in the bodies of the callables. New optional fields may be added at the end of a spec; existing
fields keep their meaning, so a plugin written for an older kit keeps working.

A callable reports what the user can mend (a missing file, a wrong csv) as a `kit.errors.KitError` of one line: what
happened, and the command that mends it.

Shapes in the docstrings: B images in a batch, C channels, H and W height and width in pixels, K classes or logits,
D width of the embedding, E metadata columns, n rows.
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
    from torch import Tensor, nn

    from kit.config import TrainConfig
    from kit.data.index import Index
    from kit.scoring.predictions import Predictions

# Each names an object in `kit.task`.
TaskName = Literal["binary", "multiclass", "multilabel"]
TASK_NAMES: tuple[TaskName, ...] = ("binary", "multiclass", "multilabel")


@dataclass(frozen=True)
class Competition:
    """The frozen facts of one competition.

    Args:
        name: its name in `kit`; unique among the installed plugins.
        title: its full title, for people.
        slug: Kaggle's name of the competition, or `owner/name` of a dataset.
        task: `binary` (one sigmoid), `multiclass` (softmax) or `multilabel` (one sigmoid per class).
        metric: name of the `MetricSpec` that scores it.
        dataset: name of its `DatasetSpec`; `--set dataset=NAME` replaces it.
        submission: name of its `SubmissionSpec`.
        aliases: short names for the command line; unique like `name`.
        classes: class names in the order of the outputs; empty if they come from the labels.
        kaggle: how Kaggle hosts it: as a `competition`, as a `dataset`, or not at all (`none`).
        url: address of its web page; empty for none.
        facts: what else `kit info` prints, by name: counts, bytes, medals.
        defaults: values of `TrainConfig` by key, for the real data.
        miniature_defaults: values that override `defaults` on the synthetic miniature.
        epoch_metrics: names of the metrics that each validation computes besides `metric`.

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
        read: (files of one sample, in the order of the index) -> HxWxC uint8.
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
        """Return the RGB picture that people see of an array from `read`: HxWxC uint8 -> HxWx3 uint8."""
        if self.composite is not None:
            return self.composite(array)
        return array[..., :3] if array.shape[2] >= 3 else array[..., [0, 0, 0]]


@dataclass(frozen=True)
class ModelRequest:
    """The network to build, anew for every fold.

    Args:
        name: the full name asked for; a family `timm/*` finds its network's own name after the slash.
        channels: number of input channels C; a pretrained stem is widened to it (`kit.plugin.network.widen_stem`).
        outputs: number of logits K.
        head: name of the head: a key of `kit.model.network.HEADS`.
        metadata: number of metadata columns E; 0 for none.
        pretrained: start from pretrained weights; raise `KitError` if they are not available.
    """

    name: str
    channels: int
    outputs: int
    head: str
    metadata: int
    pretrained: bool


@dataclass(frozen=True)
class ModelSpec:
    """A network by name, or a family of networks.

    Args:
        name: unique among the installed plugins; a trailing `/*` makes it a family.
        build: (request) -> module whose `forward(images, metadata)` takes normalised float images BxCxHxW and metadata
            BxE (or None) and returns `kit.plugin.network.Output(logits BxK, embedding BxD)`.
        description: half a line for `kit models`.
        mean: mean per channel that its pretrained weights expect, for pixels scaled to 0..1. If the data has more
            channels, the values repeat. Default: that of ImageNet.
        std: standard deviation per channel, likewise; all above 0.
        statistics: (full name) -> (mean, std), for a family whose networks differ in them; replaces `mean` and `std`.
        offline: (full name) -> whether its pretrained weights are on this disk; None if it has no pretrained weights.
            Default: no network of this spec has any.
        names: (shell pattern such as `timm/resnet*`) -> full names of the family's networks that match, for
            `kit models`. Default: the networks of the family are not listed.
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
    """The loss to build, anew for every fold.

    Args:
        config: the run's configuration.
        index: the competition's samples, for example for class weights from class counts.
        embedding: width D of the network's embedding, for losses with their own classifier.
    """

    config: "TrainConfig"
    index: "Index"
    embedding: int


@dataclass(frozen=True)
class LossSpec:
    """A loss by name.

    Args:
        name: unique among the installed plugins.
        build: (request) -> module called with (`Output`, `Batch`) that returns a scalar, the mean over the batch. A
            loss with its own classifier on the embedding (a margin loss) also has a method `logits(output)` -> BxK,
            which prediction uses in place of `output.logits`.
        tasks: the tasks it can be used for; default: all.
        description: half a line for lists.
    """

    name: str
    build: Callable[[LossRequest], "nn.Module"]
    tasks: tuple[TaskName, ...] = TASK_NAMES
    description: str = ""


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


@dataclass(frozen=True)
class MetricSpec:
    """A metric by name.

    Args:
        name: unique among the installed plugins.
        higher_is_better: direction of improvement.
        compute: (target, prediction) -> float; NaN where it is not defined. Predictions are probabilities. Binary:
            target n of 0 and 1, prediction n; multiclass: target n of class numbers, prediction nxK; multilabel:
            target nxK of 0 and 1, prediction nxK.
        tasks: the tasks it can be used for; default: all.
        label: its heading in tables; default: `name`.
        decision: the decision rule that `kit thresholds` tunes for it, if it scores predicted classes and not ranks:
            `thresholds` (multi-label: the probability from which a class is predicted) or `weights` (multiclass: the
            factor on each class's probability). None: it scores probabilities as they are.
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
    decision: Literal["thresholds", "weights"] | None = None
    beta: float = 1.0
    of_classes: bool = False
    ranked_by: Literal["pooled", "folds"] = "pooled"

    @property
    def judges_classes(self) -> bool:
        """Whether it depends on the predicted classes alone."""
        return self.of_classes or self.decision is not None


class Tracker(Protocol):
    """Receives the numbers of one fold's training, on the main process only.

    `log` is called once per validation. A fold that resumes after a stop or a kill opens a new tracker, which may
    receive a step that an earlier tracker has received already: the later numbers count.
    """

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Receive one row of history.csv.

        Args:
            step: number of batches since the start of the fold.
            values: the row's numbers by column: epoch, losses, metrics, learning rate, seconds, images per second.
        """

    def close(self) -> None:
        """End the fold, also after a stop or an error."""


@dataclass(frozen=True)
class Preview:
    """One validation image.

    Args:
        image: HxWx3 uint8, RGB.
        caption: two lines: its label, and the prediction with its probability.
    """

    image: "np.ndarray"
    caption: str


@runtime_checkable
class ImageTracker(Tracker, Protocol):
    """A tracker that also receives images; one without this method gets numbers only."""

    def images(self, step: int, previews: Sequence[Preview]) -> None:
        """Receive up to 16 validation images, the same ones each time, after `log` of the same step."""


@runtime_checkable
class NetworkTracker(Tracker, Protocol):
    """A tracker that also receives the network, where the run asks for that (`--set track_network=true`)."""

    def network(self, step: int, network: "nn.Module", images: "Tensor", metadata: "Tensor") -> None:
        """Receive the network that predicts, which must stay as it is, after `log` of the same step.

        `images` (1xCxHxW) and `metadata` (1xE) are zeros that it takes, on its device.
        """


@dataclass(frozen=True)
class TrackerSpec:
    """A tracker by name.

    Args:
        name: unique among the installed plugins.
        open: (folder of the run, number of the fold) -> tracker. Called when the training of a fold starts or resumes.
        check: () -> None. Raises `KitError` if something the tracker needs is not installed; called before the run's
            folder is created. Default: nothing to check.
    """

    name: str
    open: Callable[[Path, int], Tracker]
    check: Callable[[], None] | None = None
