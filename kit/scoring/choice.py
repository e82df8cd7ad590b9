"""The metrics that are computed of a run."""

from collections.abc import Sequence

from kit.data.open_run import OpenRun
from kit.errors import KitError
from kit.hooks.specs import MetricSpec


def metrics_of(opened: OpenRun, further: Sequence[str] = ()) -> list[MetricSpec]:
    """Return the competition's metric, those of each epoch, and others by name, each once."""
    own = [opened.metric, *map(opened.registry.metrics.get, opened.competition.epoch_metrics)]
    return list({spec.name: spec for spec in [*own, *named_metrics(opened, further)]}.values())


def named_metrics(opened: OpenRun, names: Sequence[str]) -> list[MetricSpec]:
    """Return metrics by name; one that is unknown or does not fit the task is a `KitError`."""
    specs, task = [opened.registry.metrics.get(name) for name in names], opened.competition.task
    for spec in specs:
        if task not in spec.tasks:
            raise KitError(f"metric {spec.name} does not fit the {task} task of {opened.competition.name}: drop it")
    return specs
