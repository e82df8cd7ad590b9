"""`kit bench`: find what limits training on this machine."""

from typing import Annotated

import typer

from kit.cli.options import Json, Settings


def command(
    competition: Annotated[
        str | None, typer.Argument(metavar="COMPETITION", help="Name, alias or slug; by default synthetic images.")
    ] = None,
    model: Annotated[str | None, typer.Option("--model", help="Network, e.g. resnet18.")] = None,
    size: Annotated[int | None, typer.Option("--size", help="Side of the square input in pixels.")] = None,
    batch_size: Annotated[int | None, typer.Option("--batch-size", help="Images per batch.")] = None,
    settings: Settings = None,
    seconds: Annotated[float, typer.Option("--seconds", min=0.01, max=60, help="Seconds to measure each stage.")] = 1.0,
    json: Json = False,
) -> None:
    """Measure each stage of training; name the bottleneck.

    Rates are in images per second, with files and pixels in the page cache, followed by advice on what to change. What
    is written goes to the temporary folder (TMPDIR) and is removed.

    \b
    Example:
        kit bench
        kit bench histo --model resnet18 --size 96 --batch-size 64
        kit bench histo --set rotate=0 --set amp=off
    """
    from kit.cli.context import current_registry, need_card

    need_card()
    import tempfile
    from contextlib import ExitStack
    from pathlib import Path

    from kit.console import Console
    from kit.data.store import Store
    from kit.resolve import resolve
    from kit.training.advice import STAGES, advise, in_words
    from kit.training.bench import measure, nowhere, synthetic

    console, registry = Console(json), current_registry()
    flags = {"model": model, "size": size, "batch_size": batch_size}
    with ExitStack() as opened:
        if competition is None:
            config, _ = resolve(nowhere(), False, None, flags, settings)
            folder = opened.enter_context(tempfile.TemporaryDirectory(prefix="kit-bench-"))
            store = synthetic(Path(folder), config.size)
        else:
            store = Store.of(registry, competition)
            store.index()
            config, _ = resolve(store.competition, store.is_miniature, None, flags, settings)
            store = Store.of(registry, competition, config.dataset)
        bench = measure(registry, store, config, seconds, console)
    limits, advice = bench.limits, advise(bench)
    what = f"{store.competition.name}, {config.model}, {config.size} px, batch {config.batch_size}"
    marks = {limits["packing"]: "limits packing", limits["training"]: "limits training"}
    numbers = {stage: "-" if rate is None else f"{rate:,.0f}" for stage, rate in bench.rates.items()}
    width = max(map(len, numbers.values()))
    rows = [(STAGES[stage], number.rjust(width), marks.get(stage, "")) for stage, number in numbers.items()]
    console.table(what, ("stage", "images/s", ""), rows)
    where = "no GPU" if bench.device == "cpu" else f"the network on a GPU{', mixed precision' if bench.mixed else ''}"
    console.say(f"{bench.cores} cores, {where}")
    for line in (*advice, in_words(bench)):
        console.say(f"- {line}")
    console.result(
        {
            "competition": competition and store.competition.name,
            "model": config.model,
            "size": config.size,
            "batch_size": config.batch_size,
            "device": bench.device,
            "mixed_precision": bench.mixed,
            "threads": bench.threads,
            "cores": bench.cores,
            "stages": bench.rates,
            "limits": limits,
            "advice": advice,
            "estimate": {"images": bench.images, "seconds": bench.seconds()},
        }
    )
