"""`kit report`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kit.cli.options import Json

if TYPE_CHECKING:
    from kit.console import Console


def command(
    runs: Annotated[
        list[str] | None, typer.Argument(metavar="[RUN...]", help="By default the newest with out-of-fold predictions.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FOLDER", help="Where to write; by default the first run's folder.")
    ] = None,
    text: Annotated[bool, typer.Option("--text", help="Print the essentials here, write nothing.")] = False,
    serve: Annotated[bool, typer.Option("--serve", help="Serve the page on 127.0.0.1 until Ctrl-C.")] = False,
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="For --serve; 0 takes a free one.")] = 0,
    json: Json = False,
) -> None:
    """Write report.html, one page that opens from disk: scores, curves, confusion, thresholds, losses, Grad-CAM.

    Several runs stand side by side with what differs in their configuration. report.json has the numbers.

    \b
    Example:
        kit report
        kit report --serve
        kit report --text
        kit report histopathology-20260101-120000 histopathology-20260102-080000 --out both
    """
    from kit.cli.context import current_registry
    from kit.console import Console
    from kit.errors import KitError
    from kit.reports.page.document import document_of, subjects_of
    from kit.reports.page.report import write_report
    from kit.reports.terminal import print_document
    from kit.run import find_run

    if text and (serve or out):
        raise KitError("--text writes no page: leave it out, or --serve and --out")
    console, registry = Console(json), current_registry()
    found = [
        find_run(name, lambda run: run.has("oof.npz"), "with out-of-fold predictions")
        for name in (dict.fromkeys(runs) if runs else (None,))
    ]
    if text:
        document = document_of(subjects_of(registry, found, console), console)
        print_document(document, console)
    else:
        folder = out or found[0].path
        document = write_report(registry, found, folder, console)
        if serve:
            _serve(folder / "report.html", port, console)
    console.result(document)


def _serve(path: Path, port: int, console: "Console") -> None:
    """Until Ctrl-C."""
    from kit.reports.page.serve import PageServer

    with PageServer(path, port) as server:
        console.say(f"{server.address}   Ctrl-C ends it")
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            console.say("stopped")
