"""`kit train`: train a network per fold."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kit.cli.options import ConfigFile, Json, Settings

if TYPE_CHECKING:
    from kit.console import Console
    from kit.run import Run
    from kit.training.train import TrainFolds


def command(
    competition: Annotated[
        str | None, typer.Argument(metavar="COMPETITION", help="Name, alias or slug; not needed with --resume.")
    ] = None,
    folds: Annotated[int | None, typer.Option("--folds", help="Number of folds.")] = None,
    fold: Annotated[int | None, typer.Option("--fold", help="Train this fold only (0, 1, ...).")] = None,
    model: Annotated[str | None, typer.Option("--model", help="Network, e.g. resnet18, timm/convnext_tiny.")] = None,
    epochs: Annotated[int | None, typer.Option("--epochs", help="Passes over the training images.")] = None,
    size: Annotated[
        str | None, typer.Option("--size", help="Side of the square input in pixels; 64,96 grows in stages.")
    ] = None,
    batch_size: Annotated[int | None, typer.Option("--batch-size", help="Images per batch.")] = None,
    lr: Annotated[
        str | None, typer.Option("--lr", help="Peak learning rate; 1e-5..1e-3 rises with depth to the head.")
    ] = None,
    seed: Annotated[int | None, typer.Option("--seed", help="Seed of weights, order and augmentation.")] = None,
    pretrained: Annotated[
        bool | None, typer.Option("--pretrained/--no-pretrained", help="Start from pretrained weights.")
    ] = None,
    augment: Annotated[
        Path | None,
        typer.Option("--augment", metavar="FILE", help="Your own pipeline, saved with albumentations.save."),
    ] = None,
    external: Annotated[
        Path | None,
        typer.Option("--external", metavar="CSV|DIR", help="Further training images, for every fold."),
    ] = None,
    limit: Annotated[
        int | None, typer.Option("--limit", help="Use so many training ids only, drawn evenly: a quick trial.")
    ] = None,
    config: ConfigFile = None,
    settings: Settings = None,
    resume: Annotated[
        str | None, typer.Option("--resume", metavar="RUN", help="Resume a run that was stopped.")
    ] = None,
    on: Annotated[str | None, typer.Option("--on", metavar="ray", help="Train the folds in parallel on Ray.")] = None,
    address: Annotated[
        str | None, typer.Option("--address", metavar="HOST:PORT", help="Ray cluster; by default this machine.")
    ] = None,
    gpus_per_fold: Annotated[
        float | None,
        typer.Option("--gpus-per-fold", min=0, max=1, help="GPUs per fold on Ray; 0.5 trains two folds per GPU."),
    ] = None,
    json: Json = False,
) -> None:
    """Train a network per fold; end with a cross-validated score.

    \b
    Example:
        kit train histo --folds 3 --model resnet18 --epochs 2 --size 96
        kit train histo --fold 0 --set rotate=45 --set validate_every=200
        kit train histo --limit 100 --epochs 10
        kit train protein --external hpav18/train.csv
        kit train --resume histopathology-20260101-120000
        kit train --resume histopathology-20260101-120000 --set workers=0
        torchrun --nproc-per-node 2 -m kit train histo
        OMP_NUM_THREADS=4 kit train histo --folds 5 --on ray
        kit train histo --on ray --address 10.0.0.1:6379 --gpus-per-fold 1
    """
    from kit.cli.context import current_registry
    from kit.console import Console
    from kit.errors import KitError

    flags = {
        "folds": folds,
        "model": model,
        "epochs": epochs,
        "size": size,
        "batch_size": batch_size,
        "lr": lr,
        "seed": seed,
        "pretrained": pretrained,
        "augment": None if augment is None else str(augment),
        "external": None if external is None else str(external),
        "limit": limit,
    }
    if resume is not None:
        given = [name for name, value in flags.items() if value is not None]
        if given or config or competition:
            what = f"--{given[0].replace('_', '-')}" if given else "the other arguments"
            raise KitError(f"--resume keeps the run's own configuration: drop {what}, or start a new run")
    elif competition is None:
        raise KitError("which competition? kit train COMPETITION (kit list), or kit train --resume RUN (kit runs)")
    train_folds = _train_folds(on, address, gpus_per_fold)
    from kit.model import distributed

    with distributed.joined():
        console, registry = Console(json, silent=not distributed.is_main()), current_registry()
        if on is None:  # on Ray, the workers look at their cards
            _look_at_cards(console)
        from kit.data.open_run import OpenRun
        from kit.data.store import Store
        from kit.resolve import on_this_machine, resolve
        from kit.run import Run
        from kit.runs import find_run
        from kit.training.start import start_run
        from kit.training.train import train

        def start() -> Path:
            store = Store.of(registry, competition or "")
            store.index()
            resolved, sources = resolve(store.competition, store.is_miniature, config, flags, settings)
            store = Store.of(registry, competition or "", resolved.dataset)
            run = start_run(registry, store, resolved, sources, fold, console)
            console.say(f"run {run.id}: {resolved.model}, {resolved.size} px, {resolved.epochs} epochs")
            return run.path

        run = Run.open(distributed.on_main(start if resume is None else lambda: find_run(resume).path))
        if "blend" in run.record:
            run.need_network()
        opened = OpenRun(
            registry, run, run.config if resume is None else on_this_machine(run, settings, predicting=False)
        )
        document = train(opened, fold, console, train_folds)
        if distributed.is_main():
            _draw(run, map(int, document["folds"]), console)
        console.say(f"run: {run.path}   next: kit predict {run.id}")
        console.result(document)


def _look_at_cards(console: "Console") -> None:
    """Raise `KitError` if the GPU of any process can't compute; say once how to use those that none uses."""
    from kit.cli.context import need_card, typed
    from kit.model import distributed
    from kit.model.preflight import further_cards

    distributed.on_each(need_card)
    if distributed.world_size() == 1 and (line := further_cards(typed())):
        console.say(line)


def _draw(run: "Run", folds: Iterable[int], console: "Console") -> None:
    from kit.reports.drawing import can_draw

    if can_draw(console):
        from kit.reports.loss_picture import draw_losses

        draw_losses(run, folds)


def _train_folds(on: str | None, address: str | None, gpus_per_fold: float | None) -> "TrainFolds | None":
    """Return what trains the folds if not this process in turn; refuse the impossible before a run is created."""
    from functools import partial

    from kit.errors import KitError

    if on is None and (address is not None or gpus_per_fold is not None):
        raise KitError("--address and --gpus-per-fold say how to train on Ray: give --on ray too, or drop them")
    if on is None:
        return None
    if on != "ray":
        raise KitError(f"--on {on} is not known: give --on ray, or drop it to train the folds here in turn")
    from kit.model.distributed import launched

    if launched() != (1, ""):
        raise KitError(
            "torchrun and --on ray both distribute training: start kit train --on ray without torchrun, "
            "or unset WORLD_SIZE"
        )
    from kit.training.on_ray import need_ray, train_on_ray

    need_ray()
    return partial(train_on_ray, address=address, gpus_per_fold=gpus_per_fold)
