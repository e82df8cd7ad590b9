"""`kit check`: check that the data is complete and consistent."""

import typer

from kit.cli.options import CompetitionName, Json
from kit.errors import BAD_INPUT

NAMED = 3  # offenders per check in the table; --json lists all


def target_table(targets: dict[str, dict[str, float]]) -> tuple[list[str], list[list[str]]]:
    """Return heads and rows of the figures of a regression's targets."""
    heads = ["target", *next(iter(targets.values()))]
    return heads, [[name, *(f"{number:,.4g}" for number in figures.values())] for name, figures in targets.items()]


def command(competition: CompetitionName, json: Json = False) -> None:
    """Decode every image; compare ids, labels, sizes and pixels.

    Exit with 2 when something is wrong.

    \b
    Example:
        kit check histo
    """
    from kit.cli.context import current_registry
    from kit.console import Console, print_error
    from kit.data.check import check_data
    from kit.data.store import Store

    console = Console(json)
    store = Store.of(current_registry(), competition)
    report = check_data(store.dataset, store.index(), console)
    rows = []
    for check in report.checks:
        more = len(check.offenders) - NAMED
        named = [*check.offenders[:NAMED], *([f"and {more} more: --json lists all"] if more > 0 else [])]
        rows.append(("ok" if check.ok else "WRONG", check.name, check.result, "\n".join(named)))
    title = f"{store.competition.title}: {report.images['train']} train, {report.images['test']} test"
    console.table(title, ("", "check", "result", "first offenders"), rows)
    if report.classes:
        console.table("", ("class", "training images"), list(report.classes.items()))
    if report.targets:
        console.table("", *target_table(report.targets))
    console.result(
        {
            "competition": store.competition.name,
            "data": str(store.root),
            "origin": store.origin,
            "ok": report.ok,
            "images": report.images,
            "checks": [
                {"name": check.name, "ok": check.ok, "result": check.result, "offenders": check.offenders}
                for check in report.checks
            ],
            "classes": report.classes,
            "targets": report.targets,
        }
    )
    if not report.ok:
        wrong = ", ".join(check.name for check in report.checks if not check.ok)
        print_error(f"the data of {store.competition.name} failed these checks: {wrong}")
        raise typer.Exit(BAD_INPUT)
    console.say("all checks passed")
