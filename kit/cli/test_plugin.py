"""`kit test-plugin`: check a plugin against the contract."""

from textwrap import fill
from typing import TYPE_CHECKING, Annotated

import typer

from kit.cli.options import Json
from kit.errors import BAD_INPUT

if TYPE_CHECKING:
    from kit.console import Console
    from kit.testing import Result

WIDTH = 80  # columns


def command(
    name: Annotated[
        str | None,
        typer.Argument(metavar="NAME", help="Entry point, distribution, module or competition."),
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
    from kit.testing.running import run, worst

    console = Console(json)
    with console.waiting("checking") as waiting:
        results = run(name, current_registry(), lambda done, total, what: waiting.tell(f"{done} of {total}, {what}"))
    _show(console, results)
    bad = worst(results)
    console.result({"ok": not bad, "results": [vars(result) for result in results]})
    if bad:
        wrong = "1 check fails" if len(bad) == 1 else f"{len(bad)} checks fail"
        print_error(f"{wrong}: correct what is WRONG above")
        raise typer.Exit(BAD_INPUT)
    console.say("the contract is kept" if results else "no plugin but kit's own is installed: kit test-plugin NAME")


def _show(console: "Console", results: "list[Result]") -> None:
    """Print how many checks of each kind passed, and each that did not, with what to do."""
    for plugin in dict.fromkeys(result.plugin for result in results):
        own = [result for result in results if result.plugin == plugin]
        kinds = dict.fromkeys(result.name.partition("/")[0] for result in own)
        console.table(
            f"plugin {plugin}: {len(own)} checks",
            ("", "passed", "wrong", "advice", "expected", "skipped"),
            [(kind, *_counts([each for each in own if each.name.startswith(f"{kind}/")])) for kind in kinds],
        )
        for result in own:
            word = "WRONG" if result.bad else {"failed": "advice", "expected": "expected"}.get(result.status)
            if word is not None:
                console.say(f"{word:8} {result.name} of {result.subject}")
                for text in filter(None, (result.text, result.mend)):
                    console.say(fill(text, WIDTH, initial_indent=" " * 9, subsequent_indent=" " * 11))


def _counts(results: "list[Result]") -> tuple[int, ...]:
    bad = sum(result.bad for result in results)
    advice = sum(result.status == "failed" and not result.bad for result in results)
    passed, expected, skipped = (
        sum(result.status == status for result in results) for status in ("passed", "expected", "skipped")
    )
    return passed, bad, advice, expected, skipped
