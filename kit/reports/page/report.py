"""`kit report`: from runs to files."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kit.console import Console, size
from kit.files import write_bytes
from kit.hooks.registry import Registry
from kit.reports.page.assemble import compact, page
from kit.reports.page.document import document_of, subjects_of, with_pictures
from kit.run import Run


def write_report(
    registry: Registry, runs: Sequence[Run], folder: Path, console: Console, further: Sequence[str] = ()
) -> dict[str, Any]:
    """Write `report.html` and `report.json` into a folder, replacing earlier ones, and return the document.

    `further` names metrics to compute besides.
    """
    subjects = subjects_of(registry, runs, console, further)
    document = document_of(subjects, console)
    pictures = with_pictures(subjects, document, console)
    html = page(document, pictures).encode()
    for name, content in (("report.json", compact(document).encode()), ("report.html", html)):
        if folder.absolute() == runs[0].path.absolute():
            with runs[0].writing(name) as path:
                path.write_bytes(content)
        else:
            write_bytes(folder / name, content)
    console.say(f"{folder / 'report.html'}: {size(len(html))}, opens in any browser without a network")
    return document
