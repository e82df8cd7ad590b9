"""`kit gradcam`: show where the network looks."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kit.cli.options import Json, MachineSettings, RunName, words

if TYPE_CHECKING:
    from kit.console import Console
    from kit.data.open_run import OpenRun

WORST = 16


def command(
    run: RunName = None,
    images: Annotated[
        list[str] | None,
        typer.Option("--images", metavar="ID,...", help="Explain these training or test ids; repeatable."),
    ] = None,
    worst: Annotated[int | None, typer.Option("--worst", min=1, help="The N images of largest loss (16).")] = None,
    best: Annotated[int | None, typer.Option("--best", min=1, help="The N images of smallest loss.")] = None,
    uncertain: Annotated[
        int | None, typer.Option("--uncertain", min=1, help="The N images with the most even probabilities.")
    ] = None,
    per_class: Annotated[
        int | None, typer.Option("--per-class", min=1, help="N images per class, the surest first.")
    ] = None,
    layers: Annotated[
        str | None,
        typer.Option("--layers", metavar="L1,L2,...|list", help="Layers to explain; list shows their names."),
    ] = None,
    method: Annotated[
        str, typer.Option("--method", help="gradcam, gradcam++, cam, layercam, guided-backprop or guided-gradcam.")
    ] = "gradcam",
    of: Annotated[
        str, typer.Option("--class", metavar="NAME", help="Class or target to explain: predicted, true or a name.")
    ] = "predicted",
    fold: Annotated[
        int | None, typer.Option("--fold", help="Use this fold's network, even on images it learned from.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FOLDER", help="A new folder to write to; by default in the run.")
    ] = None,
    settings: MachineSettings = None,
    json: Json = False,
) -> None:
    """Show where the network looks: Grad-CAM on images of a run.

    By default on the 16 images of largest loss, each with a network that has not learned from it.

    \b
    Example:
        kit gradcam --best 16 --method layercam
        kit gradcam --layers list
        kit gradcam --method guided-gradcam
        kit gradcam histopathology-20260101-120000 --per-class 4 --class true
    """
    from kit.cli.context import current_registry, need_card

    need_card()
    from kit.console import Console
    from kit.data.open_run import OpenRun
    from kit.errors import KitError
    from kit.explain.explain import explain_run
    from kit.explain.write import need_folder, write_explained
    from kit.resolve import on_this_machine
    from kit.runs import find_run
    from kit.scoring.ranking import Order, ranked_ids

    console, registry = Console(json), current_registry()
    found = find_run(run, "fold")
    opened = OpenRun(registry, found, on_this_machine(found, settings))
    if layers == "list":
        _list(opened, console)
        return
    folder = need_folder(found, out)
    orders: dict[Order, int | None] = {"worst": worst, "best": best, "uncertain": uncertain, "per-class": per_class}
    given: list[str] = [name for name, count in orders.items() if count is not None]
    given += ["images"] if images is not None else []
    if len(given) > 1:
        raise KitError(f"--{given[0]} and --{given[1]} both choose images: give one of them")
    if images is not None:
        ids = words(images)
    else:
        order, count = next(((each, count) for each, count in orders.items() if count is not None), ("worst", WORST))
        ids = ranked_ids(found, opened.index, order, count, fold)
    names = None if layers is None else layers.split(",")
    explained = explain_run(opened, ids, names, method, of, fold, console=console)
    kind = "class" if opened.index.task.has_classes else "target"
    facts = {"run": found.id, "method": method, kind: of, "choice": [*given, "worst"][0]}
    document = write_explained(explained, ids, folder, facts)
    console.say(
        f"{len(document['images'])} images explained by {method} at {', '.join(document['layers'])}: "
        f"{document['folder']}/grid.png, one file per image beside it, maps in maps.npz"
    )
    console.result(document)


def _list(opened: "OpenRun", console: "Console") -> None:
    """Print the candidate layers, and which of them are explained by default."""
    from kit.explain.explain import layers_of_run
    from kit.explain.layers import candidates, default_layers

    run, found = opened.run, layers_of_run(opened)
    default = default_layers(found)
    rows = [
        [each.name, each.stride, each.channels, f"{each.height}x{each.width}", "yes" if each in default else ""]
        for each in candidates(found)
    ]
    console.table(
        f"layers of {run.config.model} at {run.config.size} px",
        ["name", "stride", "channels", "map", "by default"],
        rows,
    )
    document = [
        {
            "name": each.name,
            "stride": each.stride,
            "channels": each.channels,
            "height": each.height,
            "width": each.width,
            "default": each in default,
        }
        for each in candidates(found)
    ]
    console.result({"run": run.id, "model": run.config.model, "layers": document})
