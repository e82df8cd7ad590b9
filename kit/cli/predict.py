"""`kit predict`: predict the test images."""

from pathlib import Path
from typing import Annotated

import typer

from kit.cli.options import Json, MachineSettings, RunName, Scales, Tta


def command(
    run: RunName = None,
    tta: Tta = None,
    scales: Scales = None,
    fold: Annotated[int | None, typer.Option("--fold", help="Predict with this fold's network only.")] = None,
    nearest: Annotated[
        bool, typer.Option("--nearest", help="Predict the class of the nearest mean embedding, not by logits.")
    ] = False,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Write the predictions there, not into the run.")
    ] = None,
    settings: MachineSettings = None,
    json: Json = False,
) -> None:
    """Predict the test images with the networks of a run.

    A prediction is the mean over the run's folds and over the views of each image.

    \b
    Example:
        kit predict --tta 8
        kit predict --tta 2 --scales 1,1.25,1.5
        kit predict recursion-20260101-120000 --nearest
        kit predict /kaggle/input/my-runs/histopathology-20260101-120000 --out test.npz
    """
    from kit.cli.context import current_registry, need_card

    need_card()
    from kit.console import Console
    from kit.data.open_run import OpenRun
    from kit.inference.predict import predict_test
    from kit.inference.tta import views_of
    from kit.resolve import on_this_machine
    from kit.runs import find_run

    console = Console(json)
    found = find_run(run, "fold")
    opened = OpenRun(current_registry(), found, on_this_machine(found, settings))
    document = predict_test(opened, views_of(found.config, tta, scales), console, nearest, fold, out)
    written = "--dry-run" if out is None else f"--predictions {out} --out submission.csv"
    console.say(
        f"{document['ids']} ids predicted by folds {', '.join(map(str, document['folds']))}, "
        f"{document['tta']} views each: {document['path']}   next: kit submit {run or found.id} {written}"
    )
    if nearest:
        own = found.cross_validated or {}
        console.say(
            f"out-of-fold {document['nearest']['metric']}: {document['nearest']['value']:.4f} by the nearest "
            f"class, {own.get('value') or float('nan'):.4f} by the network's logits"
        )
    console.result(document)
