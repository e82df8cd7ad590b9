"""`kit folds`."""

from pathlib import Path
from typing import Annotated

import typer

from kit.cli.options import CompetitionName, Json


def command(
    competition: CompetitionName,
    count: Annotated[int, typer.Option("--folds", min=2, help="Number of folds.")] = 5,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of the shuffle.")] = 0,
    group: Annotated[
        Path | None, typer.Option("--group", metavar="FILE", help="A csv of ids and groups that must not span folds.")
    ] = None,
    json: Json = False,
) -> None:
    """Split the training data into stratified folds that keep groups together, for all later runs.

    \b
    Example:
        kit folds histo --folds 5
        kit folds histo --folds 5 --group patch_id_wsi.csv
    """
    from kit.console import Console
    from kit.data.folds import counts_by_fold, groups_spanning_folds, make_folds, save_folds
    from kit.data.index import read_groups
    from kit.data.store import Store
    from kit.plugin.registry import Registry

    console = Console(json)
    store = Store.of(Registry(), competition)
    index = store.index()
    if group is not None:
        index = index.with_groups((store.dataset.groups or read_groups)(group), group.name)
    folds = make_folds(index, count, seed)
    rows, spanning = counts_by_fold(index, folds), groups_spanning_folds(index, folds)
    path = save_folds(store, folds)
    ungrouped = int(index.train["group"].isna().sum()) if folds.grouped_by else len(index.train)
    console.table(
        f"{store.competition.name}: {count} folds, seed {seed}",
        ["fold", *rows[0]],
        [[number, *row.values()] for number, row in enumerate(rows)],
    )
    if folds.grouped_by:
        console.say(f"grouped by {folds.grouped_by}: {spanning} groups span two folds ({ungrouped} rows have no group)")
    else:
        console.say("stratified by label; no groups are known: samples of one source may stand in two folds")
    console.say(f"saved: {path}")
    console.result(
        {
            "competition": store.competition.name,
            "folds": rows,
            "seed": seed,
            "grouped_by": folds.grouped_by or None,
            "groups_spanning_folds": spanning,
            "rows_without_group": ungrouped,
            "digest": folds.digest,
            "path": path,
        }
    )
