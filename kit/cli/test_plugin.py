"""`kit test-plugin`: check a plugin against the contract."""

from typing import Annotated

import typer

from kit.cli.options import Json
from kit.errors import BAD_INPUT


def command(
    name: Annotated[
        str | None,
        typer.Argument(metavar="NAME", help="Entry point, distribution, module or competition; default: all others'."),
    ] = None,
    json: Json = False,
) -> None:
    """Check a plugin against the contract.

    It needs no data: a miniature is drawn, and numbers are made up. By default all installed plugins that are not kit's
    own are checked. Exit with 2 when a check of the contract fails; advice is only told.

    \b
    Example:
        kit test-plugin leaves
        kit test-plugin
    """
    from kit.cli.context import current_registry
    from kit.console import Console, print_error
    from kit.testing.suite import run, worst

    console = Console(json)
    with console.waiting("checking") as waiting:
        results = run(name, current_registry(), lambda done, total, what: waiting.tell(f"{done} of {total}, {what}"))
    shown = [result for result in results if result.status not in ("passed", "skipped")]
    for result in shown:
        word = "WRONG" if result.bad else {"failed": "advice"}.get(result.status, result.status)
        console.say(f"{word}: {result.name} of {result.subject}: {result.text}")
        if result.mend:
            console.say(f"    {result.mend}")
    bad = worst(results)
    passed = sum(result.status == "passed" for result in results)
    console.result({"ok": not bad, "results": [vars(result) for result in results]})
    if bad:
        print_error(f"{len(bad)} of {len(results)} checks failed: correct what is WRONG above")
        raise typer.Exit(BAD_INPUT)
    console.say(f"{passed} checks passed, {len(results) - passed} others")
