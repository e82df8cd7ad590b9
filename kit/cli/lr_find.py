"""`kit lr-find`: suggest a learning rate."""

from typing import Annotated

import typer

from kit.cli.options import CompetitionName, ConfigFile, Json, Settings


def command(
    competition: CompetitionName,
    model: Annotated[str | None, typer.Option("--model", help="Network, e.g. resnet18.")] = None,
    config: ConfigFile = None,
    settings: Settings = None,
    json: Json = False,
) -> None:
    """Suggest a value for --lr from a learning rate range test.

    Train a hundred batches at growing learning rates and draw the loss against the rate.

    \b
    Example:
        kit lr-find histo --model efficientnet_lite0 --set freeze_epochs=1
    """
    from kit.cli.context import current_registry, need_card

    need_card()
    from kit.console import Console
    from kit.data.store import Store
    from kit.reports.drawing import can_draw
    from kit.resolve import resolve
    from kit.training.lr_find import find_rate
    from kit.training.start import folds_for

    console, registry = Console(json), current_registry()
    store = Store.of(registry, competition)
    index = store.index()
    resolved, _ = resolve(store.competition, store.is_miniature, config, {"model": model}, settings)
    store = Store.of(registry, competition, resolved.dataset)
    folder = store.writable(store.pictures)
    found = find_rate(registry, store, resolved, folds_for(store, index, resolved.folds, console), console)
    path = folder / f"lr-find-{resolved.model.replace('/', '-')}.png" if can_draw(console) else None
    if path is not None:
        from kit.reports.figures import curve, save

        title = f"Range test of {resolved.model} at {resolved.size} px, batch {resolved.batch_size}"
        save(curve(found.rates, found.losses, found.suggestion, title, ("learning rate", "smoothed loss")), path)
    picture = "" if path is None else f"   picture: {path}"
    console.say(f"the loss falls fastest at {found.suggestion:.1e}: --lr {found.suggestion:.0e}{picture}")
    console.result({"suggestion": found.suggestion, "rates": found.rates, "losses": found.losses, "path": path})
