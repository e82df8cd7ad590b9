"""Merge all sources of configuration into the values a run is trained with; the last source wins."""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kit.config import MACHINE, TrainConfig, validate
from kit.errors import KitError, nearest
from kit.hooks.specs import Competition
from kit.run import Run
from kit.task import TASKS


def read_config_file(path: Path) -> dict[str, Any]:
    """Read the values of a TOML file, or the configuration of an earlier run if `path` is a run's folder."""
    if path.is_dir():
        return Run.open(path).config.model_dump()
    if not path.is_file():
        raise KitError(f"no configuration at {path}: give a .toml file or the folder of a run (kit runs)")
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:  # a number of 5,000 digits is no TOMLDecodeError
        raise KitError(f"{path} is not valid TOML ({error}): correct that line") from None


def parse_settings(settings: list[str]) -> dict[str, Any]:
    """Parse the `key=value` pairs of `--set`: TOML values, bare words as text, `none` as None."""
    values: dict[str, Any] = {}
    for setting in settings:
        key, separator, text = setting.partition("=")
        if not separator:
            raise KitError(f"--set {setting!r} has no value: write --set key=value (kit config lists the keys)")
        field = TrainConfig.model_fields.get(key)
        if field is not None and field.annotation is str and not text.startswith(('"', "'")):
            values[key] = text
            continue
        if text.lower() == "none":
            values[key] = None
            continue
        try:
            values[key] = tomllib.loads(f"value = {text}")["value"]
        except (ValueError, RecursionError):
            values[key] = text
        if key == "trackers" and isinstance(values[key], str):
            values[key] = tuple(values[key].split(","))
    return values


def on_this_machine(run: Run, settings: list[str] | None, predicting: bool = True) -> TrainConfig:
    """Return a run's configuration with `--set` keys that change no result, for this command alone.

    A command that predicts compiles only if these settings say so, however the run was trained: compiling takes longer
    than most predictions, and a compiler on this machine.

    Raises:
        KitError: a key would change what the run learns or predicts.
    """
    values = parse_settings(settings or [])
    for key in values:
        if key not in MACHINE:
            raise KitError(
                f"--set {key} would change run {run.id}; of a run that exists only {', '.join(MACHINE)} can be set: "
                f"kit train {run.config.competition} --config {run.path} --set {key}=... starts a new run"
            )
    if predicting:
        values = {"compile": False, **values}
    return validate({**run.config.model_dump(), **values}, dict.fromkeys(values, "--set"))


def resolve(
    competition: Competition,
    miniature: bool,
    file: Path | None = None,
    flags: Mapping[str, Any] | None = None,
    settings: list[str] | None = None,
) -> tuple[TrainConfig, dict[str, str]]:
    """Merge all sources of configuration and validate the result.

    Later sources win: kit's defaults (the loss by the task), the competition's, its defaults for a miniature (when
    `miniature`), a file or earlier run, `--set`, flags (None: not given).

    Returns:
        The configuration, and for each of its fields the name of the source that set it.
    """
    layers: list[tuple[str, Mapping[str, Any]]] = [
        ("default", {"loss": TASKS[competition.task].loss}),
        ("competition", {"competition": competition.name, "dataset": competition.dataset, **competition.defaults}),
    ]
    if miniature:
        layers.append(("miniature defaults", competition.miniature_defaults))
    if file is not None:
        layers.append((str(file), read_config_file(file)))
    layers.append(("--set", parse_settings(settings or [])))
    layers.append(("flag", {key: value for key, value in (flags or {}).items() if value is not None}))

    merged: dict[str, Any] = {}
    sources = dict.fromkeys(TrainConfig.model_fields, "default")
    for source, values in layers:
        if values.get("competition", competition.name) != competition.name:
            raise KitError(f"{source} configures {values['competition']}, not {competition.name}: name one of them")
        for key, value in values.items():
            if key not in sources:
                told = f"defaults of competition {competition.name}" if source == "competition" else source
                raise KitError(f"{told}: unknown key {key!r}: {nearest(key, list(sources))}")
            merged[key], sources[key] = value, source
    return validate(merged, sources), sources
