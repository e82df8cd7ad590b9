"""`kit folds`: split the training data into folds."""

from pathlib import Path
from typing import Annotated, Any

import typer

from kit.cli.options import CompetitionName, Json

MAX_COLUMNS = 8  # classes shown as columns; more become rows
MAX_ROWS = 40  # classes shown as rows


def command(
    competition: CompetitionName,
    count: Annotated[int, typer.Option("--folds", min=2, help="Number of folds.")] = 5,
    seed: Annotated[int, typer.Option("--seed", min=0, max=2**32 - 1, help="Seed of the shuffle.")] = 0,
    group: Annotated[
        Path | None, typer.Option("--group", metavar="FILE", help="Csv of ids and of groups that must not span folds.")
    ] = None,
    near: Annotated[
        bool | None,
        typer.Option(
            "--near-duplicates/--no-near-duplicates",
            help="Keep near-duplicates in one fold; by default if the dataset defines them.",
        ),
    ] = None,
    ignore_groups: Annotated[
        bool, typer.Option("--ignore-groups", help="Let groups span folds: a random split, optimistic scores.")
    ] = False,
    verify: Annotated[
        bool, typer.Option("--verify", help="Read the saved folds again; exit 2 if anything leaks.")
    ] = False,
    json: Json = False,
) -> None:
    """Split the training data into stratified folds.

    Groups stay together. All later runs use these folds.

    \b
    Example:
        kit folds histo --folds 5
        kit folds histo --folds 5 --group patch_id_wsi.csv
        kit folds protein --folds 3 --verify
        kit folds recursion --folds 3 --ignore-groups
    """
    from kit.cli.context import current_registry
    from kit.console import Console
    from kit.data.folds import (
        counts_by_fold,
        folder_of,
        groups_spanning_folds,
        largest_deviation,
        near_duplicates_spanning_folds,
        new_folds,
        save_folds,
        saved_folds,
    )
    from kit.data.index import read_groups
    from kit.data.near_duplicates import GROUPED_BY
    from kit.data.store import Store

    console = Console(json)
    store = Store.of(current_registry(), competition)
    folder_of(store)
    index = store.index()
    if group is not None:
        index = index.with_groups((store.dataset.groups or read_groups)(group), group.name)
    folds = new_folds(store, index, count, seed, near, console, ignore_groups)
    path = save_folds(store, folds, console)
    folds = (saved_folds(store, count) if verify else None) or folds
    rows, spanning = counts_by_fold(index, folds), groups_spanning_folds(index, folds)
    console.table(f"{store.competition.name}: {count} folds, seed {seed}", *_table(rows))
    what, deviation = "label" if index.task.has_classes else "tenth", largest_deviation(index, folds)
    document: dict[str, Any] = {
        "competition": store.competition.name,
        "folds": rows,
        "seed": seed,
        "grouped_by": folds.grouped_by or None,
        "groups_spanning_folds": spanning,
        "rows_without_group": int(folds.table["group"].isna().sum()) if folds.grouped_by else len(folds.table),
        "digest": folds.digest,
        "path": path,
        "largest_deviation": vars(deviation),
        "ignores": folds.ignores or None,
    }
    if folds.ignores:
        console.say(f"{folds.ignores} is ignored: {spanning} span two folds, and scores are optimistic")
    elif folds.grouped_by:
        alone = f"{document['rows_without_group']} ids have no group"
        console.say(f"grouped by {folds.grouped_by}: {spanning} groups span two folds ({alone})")
    else:
        console.say(f"stratified by {what}; no groups are known: samples of one source may end up in two folds")
    console.say(
        f"largest deviation of a {what}'s share: {deviation.relative:+.1%} ({deviation.label} in fold "
        f"{deviation.fold}: {deviation.ids} of {deviation.in_all})"
    )
    if verify:
        pairs = near_duplicates_spanning_folds(store, index, folds, console) if GROUPED_BY in folds.grouped_by else None
        document["near_duplicate_pairs_spanning_folds"] = pairs
        said = "not searched for (--near-duplicates)" if pairs is None else f"{pairs}"
        console.say(f"near-duplicate pairs spanning folds: {said}")
    console.say(f"saved: {path}")
    console.result(document)
    if verify and not folds.ignores and (spanning or document["near_duplicate_pairs_spanning_folds"]):
        raise typer.Exit(2)


def _table(rows: list[dict[str, Any]]) -> tuple[list[str], list[list[object]]]:
    """Return a row per fold if classes (or strata) fit side by side, otherwise one per class, the rarest `MAX_ROWS`.

    Numbers have tenths of their values in place of classes.
    """
    what = "strata" if rows[0]["strata"] else "labels"
    if len(rows[0][what]) <= MAX_COLUMNS:
        return ["fold", "ids", "groups", *rows[0][what]], [
            [number, row["ids"], row["groups"], *row[what].values()] for number, row in enumerate(rows)
        ]
    classes = list(rows[0]["labels"])
    rarest = sorted(classes, key=lambda name: sum(row["labels"][name] for row in rows))[:MAX_ROWS]
    names = [name for name in classes if name in rarest]
    table: list[list[object]] = [[what, *(row[what] for row in rows)] for what in ("ids", "groups")]
    table += [[name, *(row["labels"][name] for row in rows)] for name in names]
    return ["", *(f"fold {number}" for number in range(len(rows)))], table
