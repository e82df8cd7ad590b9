"""The configuration of a run: one flat frozen record, merged and validated here and nowhere else."""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from kit.errors import KitError, nearest
from kit.plugin.specs import Competition


class TrainConfig(BaseModel):
    """Everything that decides what a run learns. Each field says what it is, its unit and its range."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    competition: str = Field(description="name of the competition")
    dataset: str = Field(description="name of the dataset, as `kit plugins` lists them")
    loss: str = Field(description="name of the loss")
    model: str = Field("efficientnet_lite0", description="name of the network")
    head: str = Field("linear", description="head of the network")
    pretrained: bool = Field(True, description="start from pretrained weights")
    size: int = Field(96, ge=8, le=4096, description="side of the square input, pixels")
    folds: int = Field(5, ge=2, le=100, description="number of folds")
    epochs: int = Field(5, ge=1, le=10_000, description="passes over the training part of a fold")
    batch_size: int = Field(32, ge=1, le=65_536, description="images a step")
    lr: float = Field(1e-3, gt=0, le=100, description="peak learning rate")
    weight_decay: float = Field(1e-2, ge=0, le=10, description="AdamW's decay; not on norms and biases")
    schedule: Literal["one_cycle", "constant"] = Field("one_cycle", description="course of the learning rate")
    seed: int = Field(0, ge=0, lt=2**31, description="seed of weights, order and augmentation")
    flip: bool = Field(True, description="mirror left-right at random")
    rot90: bool = Field(False, description="turn by 0, 90, 180 or 270 degrees at random")
    rotate: float = Field(0, ge=0, le=180, description="turn by up to this many degrees")
    zoom: float = Field(0, ge=0, lt=1, description="scale by 1 - zoom to 1 + zoom")
    shift: float = Field(0, ge=0, lt=1, description="move by up to this share of the side")
    shear: float = Field(0, ge=0, lt=90, description="shear by up to this many degrees")
    brightness: float = Field(0, ge=0, lt=1, description="brighten or darken by up to this share of white")
    contrast: float = Field(0, ge=0, lt=1, description="scale contrast by 1 - contrast to 1 + contrast")
    augment: str | None = Field(None, description="file of a saved albumentations pipeline, in place of the above")
    mean: tuple[float, ...] | None = Field(None, description="mean a channel in 0..1; none: the network's own")
    std: tuple[float, ...] | None = Field(None, description="standard deviation a channel; none: the network's own")
    validate_every: int | None = Field(None, ge=1, description="validate each N steps too; none: each epoch only")
    checkpoint: Literal["last", "best"] = Field(
        "last", description="weights that predict; `best` by the validation metric is optimistic"
    )
    tta: Literal[1, 2, 4, 8] = Field(1, description="views averaged in prediction: 8 = all flips and right angles")
    amp: Literal["auto", "on", "off"] = Field("auto", description="mixed precision; auto: on CUDA only")
    workers: int | None = Field(None, ge=0, le=256, description="loader processes; none: by the machine")
    trackers: tuple[str, ...] = Field((), description="names of trackers that receive the numbers")


def describe() -> dict[str, str]:
    """Each field's description."""
    return {name: field.description or "" for name, field in TrainConfig.model_fields.items()}


def read_config_file(path: Path) -> dict[str, Any]:
    """The values of a toml file, or the configuration of an earlier run when `path` is a run's folder."""
    if path.is_dir():
        from kit.run import Run

        return Run.open(path).config.model_dump()
    if not path.is_file():
        raise KitError(f"no configuration at {path}: give a .toml file or the folder of a run (kit runs)")
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise KitError(f"{path} is not valid TOML ({error}): correct that line") from None


def parse_settings(settings: list[str]) -> dict[str, Any]:
    """`key=value` pairs of `--set`; values as TOML writes them, bare words as text, `none` as nothing."""
    values: dict[str, Any] = {}
    for setting in settings:
        key, separator, text = setting.partition("=")
        if not separator:
            raise KitError(f"--set {setting!r} has no value: write --set key=value (kit config lists the keys)")
        if text.lower() == "none":
            values[key] = None
            continue
        try:
            values[key] = tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError:
            values[key] = text
        if key == "trackers" and isinstance(values[key], str):
            values[key] = tuple(values[key].split(","))
    return values


def resolve(
    competition: Competition,
    sample: bool,
    file: Path | None = None,
    flags: Mapping[str, Any] | None = None,
    settings: list[str] | None = None,
) -> tuple[TrainConfig, dict[str, str]]:
    """Merge all sources of configuration and validate the result.

    Later sources win: kit's defaults, the competition's, its defaults for a miniature (when `sample`), a file or
    earlier run, `--set`, flags (None = not given).

    Returns:
        The configuration, and for each of its fields the name of the source that set it.
    """
    layers: list[tuple[str, Mapping[str, Any]]] = [
        ("competition", {"competition": competition.name, "dataset": competition.dataset, **competition.defaults}),
    ]
    if sample:
        layers.append(("sample defaults", competition.sample_defaults))
    if file is not None:
        given = read_config_file(file)
        if given.get("competition", competition.name) != competition.name:
            raise KitError(f"{file} configures {given['competition']}, not {competition.name}: give another --config")
        layers.append((str(file), given))
    layers.append(("--set", parse_settings(settings or [])))
    layers.append(("flag", {key: value for key, value in (flags or {}).items() if value is not None}))

    merged: dict[str, Any] = {}
    sources = dict.fromkeys(TrainConfig.model_fields, "default")
    for source, values in layers:
        for key, value in values.items():
            if key not in sources:
                raise KitError(f"{source}: unknown key {key!r}: {nearest(key, list(sources))}")
            merged[key], sources[key] = value, source
    return validate(merged, sources), sources


def validate(values: Mapping[str, Any], sources: Mapping[str, str] | None = None) -> TrainConfig:
    """Check values against the fields; the first wrong one is a `KitError` that names its source."""
    try:
        return TrainConfig.model_validate(dict(values))
    except ValidationError as error:
        first = error.errors()[0]
        key = str(first["loc"][0]) if first["loc"] else "configuration"
        source = f" (from {sources[key]})" if sources and key in sources else ""
        raise KitError(f"{key} = {first['input']!r}{source}: {first['msg']}: {describe().get(key, '')}") from None
