"""The form of the files in a run: JSON, which `kit.files.read_json` holds to it, and the history of a fold."""

import csv
from pathlib import Path
from typing import Any, Literal, NotRequired

from pydantic import ConfigDict, FiniteFloat, with_config
from typing_extensions import TypedDict

from kit.errors import KitError

FORMAT = 3
Number = FiniteFloat | None


@with_config(ConfigDict(extra="allow"))
class FoldFacts(TypedDict):
    """What a run keeps of its folds, besides their table."""

    digest: str
    seed: NotRequired[int]
    count: NotRequired[int]
    grouped_by: NotRequired[str]
    ignores: NotRequired[str]


@with_config(ConfigDict(extra="allow"))
class Score(TypedDict):
    """A score with its interval, None where undefined."""

    metric: str
    value: Number
    low: Number
    high: Number
    ids: int
    resampled: NotRequired[str]
    ranked_by: NotRequired[str]


class Normalization(TypedDict):
    """Mean and standard deviation of each channel, for pixels scaled to 0..1."""

    mean: list[FiniteFloat]
    std: list[FiniteFloat]


class DataFacts(TypedDict):
    """What a run learned from: digests of archives, of labels with file names and without, of each pack's pixels."""

    arrived: str
    labels: str
    targets: NotRequired[str]
    pixels: dict[str, str]


@with_config(ConfigDict(extra="allow"))
class Submitted(TypedDict):
    """One submission to Kaggle."""

    ref: int
    sha256: str
    status: str


@with_config(ConfigDict(extra="allow"))
class Member(TypedDict):
    """One member of a blend."""

    name: str


@with_config(ConfigDict(extra="allow"))
class Blend(TypedDict):
    """How a blend was made."""

    method: str
    members: list[Member]


@with_config(ConfigDict(extra="allow"))
class ConfigRecord(TypedDict):
    """The part of a configuration that lists of runs show, whatever else another kit's configuration has."""

    competition: str
    dataset: NotRequired[str]
    model: NotRequired[str]
    folds: NotRequired[int]
    epochs: NotRequired[int]
    size: NotRequired[int]
    sizes: NotRequired[list[int]]
    batch_size: NotRequired[int]
    accumulate: NotRequired[int]
    seed: NotRequired[int]
    lr: NotRequired[FiniteFloat]
    lr_low: NotRequired[FiniteFloat | None]
    note: NotRequired[str]


@with_config(ConfigDict(extra="allow"))
class RunRecord(TypedDict):
    """The content of `run.json`; keys that a later kit may add are kept."""

    format: int
    kit: str
    created: str
    state: Literal["created", "running", "interrupted", "failed", "finished"]
    config: ConfigRecord
    origin: str
    folds: FoldFacts
    planned: list[int]
    competition: NotRequired[str]
    slug: NotRequired[str]
    classes: NotRequired[list[str]]
    sources: NotRequired[dict[str, str]]
    normalization: NotRequired[Normalization]
    external: NotRequired[dict[str, Any] | None]
    left_out: NotRequired[dict[str, int]]
    versions: NotRequired[dict[str, str]]
    plugin_files: NotRequired[list[str]]
    data: NotRequired[DataFacts]
    parts: NotRequired[int]
    score: NotRequired[Score | None]
    predictions: NotRequired[dict[str, Any]]
    leaderboard: NotRequired[dict[str, Number]]
    submissions: NotRequired[list[Submitted]]
    blend: NotRequired[Blend]


@with_config(ConfigDict(extra="allow"))
class FoldResult(TypedDict):
    """The content of a finished fold's `result.json`."""

    metric: str
    score: Number
    seconds: FiniteFloat
    checkpoint: NotRequired[str]
    epochs: NotRequired[int]
    train_images: NotRequired[int]
    valid_images: NotRequired[int]
    train_seconds: NotRequired[FiniteFloat]
    device: NotRequired[str]
    threads: NotRequired[int]
    world_size: NotRequired[int]
    parts: NotRequired[int]
    command: NotRequired[list[str]]


class Grown(TypedDict):
    """The digest of the first bytes of a file that is appended to."""

    bytes: int
    sha256: str


class Manifest(TypedDict):
    """The content of `manifest.json`: digests of whole files (two while one is replaced), and of those that grow."""

    files: dict[str, list[str]]
    grown: dict[str, Grown]


class WeightFile(TypedDict):
    """One file of tensors."""

    file: str
    sha256: str


@with_config(ConfigDict(extra="allow"))
class Saved(TypedDict):
    """The files of one checkpoint."""

    step: int
    weights: WeightFile
    state: NotRequired[WeightFile]


class CheckpointRecord(TypedDict):
    """The content of `checkpoint.json`."""

    last: Saved
    best: Saved | None
    kept: list[Saved]
    state: dict[str, Any]


@with_config(ConfigDict(extra="allow"))
class RuleRecord(TypedDict):
    """The content of `thresholds.json`."""

    oof: str
    decision: dict[str, Any]
    rule: dict[str, Any]
    by_fold: dict[str, dict[str, Any]]


def read_history(path: Path) -> list[dict[str, float | None]]:
    """Read a fold's `history.csv`: numbers by column, an empty cell as None; raise `KitError` if it is damaged."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file, strict=True))
        found = [{key: float(cell) if cell else None for key, cell in row.items()} for row in rows]
        if any(row.get("epoch") is None or "seconds" not in row for row in found):
            raise ValueError("a row lacks its epoch or its seconds")
    except (ValueError, TypeError, csv.Error, OSError) as error:
        raise KitError(f"{path} can't be read ({error}): restore it or train again") from None
    return found


class StepRow(TypedDict):
    """One row of a fold's `steps.csv`."""

    step: int
    loss: float
    lr: float


STEPS, LOSS_PICTURE = "steps.csv", "loss.png"


def read_steps(path: Path) -> list[StepRow]:
    """Read a fold's `steps.csv`: the training loss and the rate of each step; raise `KitError` if it is damaged."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file, strict=True))
        return [{"step": int(row["step"]), "loss": float(row["loss"]), "lr": float(row["lr"])} for row in rows]
    except (ValueError, TypeError, KeyError, csv.Error, OSError) as error:
        raise KitError(f"{path} can't be read ({error}): restore it or train again") from None
