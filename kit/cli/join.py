"""`kit join`: join runs that predict different rows."""

from typing import Annotated

import typer

from kit.cli.options import Json


def command(
    runs: Annotated[list[str], typer.Argument(metavar="RUN", help="Runs with test predictions.")],
    json: Json = False,
) -> None:
    """Join runs that predict different rows into a new run.

    For example one run per cell type.

    \b
    Example:
        kit train recursion --set init=COMMON --set only=cell_type=HUVEC --lr 1e-4
        kit join RUN-OF-HEPG2 RUN-OF-HUVEC RUN-OF-RPE RUN-OF-U2OS
    """
    from kit.cli.context import current_registry
    from kit.console import Console
    from kit.ensemble.join import join
    from kit.runs import find_run

    console = Console(json)
    document = join(current_registry(), [find_run(name) for name in runs], console)
    rows = [
        (run["run"], run["only"], (run["score"] or {}).get("ids"), _number((run["score"] or {}).get("value")))
        for run in document["runs"]
    ]
    score = document["score"]
    rows.append((document["run"], "all of them", score["ids"], _number(score["value"])))
    console.table("", ["run", "rows", "ids", score["metric"]], rows)
    console.say(f"run: {document['path']}   next: kit submit {document['run']} --dry-run")
    console.result(document)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"
