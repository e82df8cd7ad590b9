"""The hooks: everything that a plugin can add to kit.

A plugin is a module (or package) named by an entry point of the group `kit`. It implements any of these functions,
each marked with `hookimpl`. The module is imported at every start of `kit`, so its top level must stay light: import
torch, pandas and the like in the bodies of the callables that the specs hold.

A hook that raises, or returns anything but a list of its spec, marks its plugin as broken; `kit plugins` says why, and
all other plugins keep working. A name that two plugins give can't be used until one of them is removed.
"""

from typing import TYPE_CHECKING

import pluggy

from kit.hooks.learning import AugmentationSpec, HeadSpec, LossSpec, ModelSpec, OptimizerSpec
from kit.hooks.specs import Competition, DatasetSpec, MetricSpec, SubmissionSpec
from kit.hooks.trackers import TrackerSpec

if TYPE_CHECKING:
    import typer

NAME = "kit"
hookspec = pluggy.HookspecMarker(NAME)
hookimpl = pluggy.HookimplMarker(NAME)


@hookspec
def kit_competitions() -> list[Competition]:  # type: ignore[empty-body]
    """Add competitions: names, task, classes, metric and training defaults.

    Called when a command needs to know a competition, at most once per process.

    Example:
        @hookimpl
        def kit_competitions():
            return [Competition.from_toml(Path(__file__).parent / "competition.toml")]
    """


@hookspec
def kit_datasets() -> list[DatasetSpec]:  # type: ignore[empty-body]
    """Add datasets: how to turn a raw folder into an index, and a sample's files into one HxWxC uint8 array.

    Called when a command reads data. To read the same folder in a second way (three channels instead of six, controls
    as further classes), add a second dataset under its own name; `--set dataset=NAME` chooses it.

    Example:
        @hookimpl
        def kit_datasets():
            return [DatasetSpec("leaves", channels=3, index=index, read=read)]
    """


@hookspec
def kit_models() -> list[ModelSpec]:  # type: ignore[empty-body]
    """Add networks: modules that map images and metadata to logits and an embedding.

    Called when a network is built or listed. A name ending in `/*` stands for a family: `timm/*` builds
    `timm/<any name>`.

    Example:
        @hookimpl
        def kit_models():
            return [ModelSpec("tiny", build=build_tiny, description="three convolutions")]
    """


@hookspec
def kit_losses() -> list[LossSpec]:  # type: ignore[empty-body]
    """Add losses: modules called with (`Output`, `Batch`); their own parameters, if any, are trained too.

    Called when training starts and when a trained network is loaded: a loss with its own classifier predicts.

    Example:
        @hookimpl
        def kit_losses():
            return [LossSpec("hinge", build=lambda request: Hinge(), tasks=("binary",))]
    """


@hookspec
def kit_submissions() -> list[SubmissionSpec]:  # type: ignore[empty-body]
    """Add submission formats: how predictions become a csv, and how that csv is checked.

    Called by `kit submit` and `kit grade`, and where `--postprocess` is given.

    Example:
        @hookimpl
        def kit_submissions():
            return [SubmissionSpec("leaves", write=write, check=check)]
    """


@hookspec
def kit_metrics() -> list[MetricSpec]:  # type: ignore[empty-body]
    """Add metrics: one number computed from targets and predicted probabilities.

    Called by training, `kit evaluate` and reports.

    Example:
        @hookimpl
        def kit_metrics():
            return [MetricSpec("brier", higher_is_better=False, compute=brier, tasks=("binary",))]
    """


@hookspec
def kit_trackers() -> list[TrackerSpec]:  # type: ignore[empty-body]
    """Add trackers: receivers of a training run's numbers (a dashboard, a log server).

    Called when a run that names the tracker (`--set trackers=NAME`) starts.

    Example:
        @hookimpl
        def kit_trackers():
            return [TrackerSpec("print", open=lambda run, fold: Printer())]
    """


@hookspec
def kit_heads() -> list[HeadSpec]:  # type: ignore[empty-body]
    """Add heads: modules that map a network's features and metadata to logits and an embedding.

    Called when a network that `kit.plugin.network.Network` joins is built with that head (`--set head=NAME`).

    Example:
        @hookimpl
        def kit_heads():
            return [HeadSpec("median", build=lambda request: MedianHead(request), description="median pooling")]
    """


@hookspec
def kit_optimizers() -> list[OptimizerSpec]:  # type: ignore[empty-body]
    """Add optimisers.

    Called when a fold's training starts (`--set optimizer=NAME`).

    Example:
        @hookimpl
        def kit_optimizers():
            return [OptimizerSpec("nadam", build=lambda request: torch.optim.NAdam(request.groups, request.lr))]
    """


@hookspec
def kit_augmentations() -> list[AugmentationSpec]:  # type: ignore[empty-body]
    """Add steps of augmentation, each in two forms that agree: NumPy and OpenCV, and torch.

    Called when training images are augmented by it (`--set steps=NAME=STRENGTH`).

    Example:
        @hookimpl
        def kit_augmentations():
            return [AugmentationSpec("fade", draw=draw, array=fade_array, tensor=fade_tensor, high=0.5)]
    """


@hookspec
def kit_commands(app: "typer.Typer") -> None:
    """Add sub-commands to `kit`.

    Called at every start of `kit`, so only register functions here. A sub-command whose name is taken is dropped, and
    its plugin is marked as broken.

    Example:
        @hookimpl
        def kit_commands(app):
            app.command("hello")(hello)
    """
