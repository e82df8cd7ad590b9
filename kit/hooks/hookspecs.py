"""The hooks: the whole surface on which a plugin can add to kit.

A plugin is a module (or package) named by an entry point of the group `kit`. It implements any of these functions,
marked with `hookimpl`. The functions return values and are called when the command needs them, so the module's top
level must stay light: import torch, pandas and the like in the bodies of the callables that the specs hold.
"""

from typing import TYPE_CHECKING

import pluggy

from kit.hooks.specs import (
    Competition,
    DatasetSpec,
    LossSpec,
    MetricSpec,
    ModelSpec,
    SubmissionSpec,
    TrackerSpec,
)

if TYPE_CHECKING:
    import typer

NAME = "kit"
hookspec = pluggy.HookspecMarker(NAME)
hookimpl = pluggy.HookimplMarker(NAME)


@hookspec
def kit_competitions() -> list[Competition]:  # type: ignore[empty-body]
    """Add competitions: their names, task, classes, metric and defaults of training.

    Called when a command needs to know a competition, at most once a process.

    Example:
        @hookimpl
        def kit_competitions():
            return [Competition.from_toml(Path(__file__).parent / "competition.toml")]
    """


@hookspec
def kit_datasets() -> list[DatasetSpec]:  # type: ignore[empty-body]
    """Add datasets: how a raw folder becomes an index, and the files of a sample one HxWxC uint8 array.

    Called when a command reads data. A second way to read the same folder (three channels instead of six, controls
    as further classes) is a second dataset under its own name; `--set dataset=NAME` chooses it.

    Example:
        @hookimpl
        def kit_datasets():
            return [DatasetSpec("leaves", channels=3, index=index, read=read)]
    """


@hookspec
def kit_models() -> list[ModelSpec]:  # type: ignore[empty-body]
    """Add networks: modules that map images to logits and an embedding.

    Called when a network is built or listed. A name that ends in `/*` stands for a family: `timm/*` builds
    `timm/<any name>`.

    Example:
        @hookimpl
        def kit_models():
            return [ModelSpec("tiny", build=build_tiny, description="three convolutions")]
    """


@hookspec
def kit_losses() -> list[LossSpec]:  # type: ignore[empty-body]
    """Add losses: modules called with (output, batch); their own parameters, if any, are trained too.

    Called when training starts.

    Example:
        @hookimpl
        def kit_losses():
            return [LossSpec("hinge", build=lambda request: Hinge(), tasks=("binary",))]
    """


@hookspec
def kit_submissions() -> list[SubmissionSpec]:  # type: ignore[empty-body]
    """Add submission formats: predictions to a csv, and the check of that csv.

    Called by `kit submit`.

    Example:
        @hookimpl
        def kit_submissions():
            return [SubmissionSpec("leaves", write=write, check=check)]
    """


@hookspec
def kit_metrics() -> list[MetricSpec]:  # type: ignore[empty-body]
    """Add metrics: a number from targets and predicted probabilities.

    Called by training, `kit evaluate` and reports.

    Example:
        @hookimpl
        def kit_metrics():
            return [MetricSpec("brier", higher_is_better=False, compute=brier, tasks=("binary",))]
    """


@hookspec
def kit_trackers() -> list[TrackerSpec]:  # type: ignore[empty-body]
    """Add trackers: receivers of the numbers of a training run (a dashboard, a log server).

    Called when a run that names the tracker (`--set trackers=NAME`) starts.

    Example:
        @hookimpl
        def kit_trackers():
            return [TrackerSpec("print", open=lambda run, fold: Printer())]
    """


@hookspec
def kit_commands(app: "typer.Typer") -> None:
    """Add sub-commands to `kit`.

    Called at each start of the command line, so the body must only register functions.

    Example:
        @hookimpl
        def kit_commands(app):
            app.command("hello")(hello)
    """
