"""`kit report`: write the report of one or several runs."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kit.cli.options import Json, Metrics, words
from kit.errors import INTERRUPTED, Ended

if TYPE_CHECKING:
    from kit.console import Console


def command(
    runs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="RUN", help="By default the newest, or the newest of its competition with out-of-fold predictions."
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FOLDER", help="Folder to write to; by default the first run's.")
    ] = None,
    text: Annotated[bool, typer.Option("--text", help="Print the essentials and write nothing.")] = False,
    serve: Annotated[bool, typer.Option("--serve", help="Serve the page on 127.0.0.1 until Ctrl-C.")] = False,
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="Port for --serve; 0 picks a free one.")] = 0,
    metrics: Metrics = None,
    json: Json = False,
) -> None:
    """Write report.html, a page on one or several runs.

    The page opens from disk and shows scores, curves, confusion, thresholds, losses and Grad-CAM; several runs side by
    side, with the differences of their configurations. report.json has the numbers.

    \b
    Example:
        kit report
        kit report --serve
        kit report --text
        kit report RUN RUN --out both
    """
    from kit.cli.context import current_registry
    from kit.console import Console
    from kit.errors import KitError
    from kit.files import need_writable
    from kit.reports.page.document import document_of, subjects_of
    from kit.reports.page.report import write_report
    from kit.reports.terminal import print_document
    from kit.runs import find_run

    if text and (serve or out):
        raise KitError("--text writes no page: drop it, or drop --serve and --out")
    console, registry = Console(json), current_registry()
    found = [find_run(name, "oof.npz", older=True) for name in (dict.fromkeys(runs) if runs else (None,))]
    if text:
        document = document_of(subjects_of(registry, found, console, words(metrics)), console)
        print_document(document, console)
    else:
        folder = out or found[0].path
        need_writable(folder, "give another folder with --out FOLDER")
        document = write_report(registry, found, folder, console, words(metrics))
        if serve:
            _serve(folder / "report.html", port, console)
    console.result(document)


def _serve(path: Path, port: int, console: "Console") -> None:
    """Serve the page until Ctrl-C."""
    from kit.reports.page.serve import PageServer

    with PageServer(path, port) as server:
        console.say(f"{server.address}   Ctrl-C stops it")
        try:
            server.serve_forever()
        except KeyboardInterrupt as error:
            if isinstance(error, Ended):
                if error.code != INTERRUPTED:
                    raise
                error.answered = True
            console.say("stopped")
