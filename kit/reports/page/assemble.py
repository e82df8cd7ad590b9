"""One self-contained HTML file: style, script, numbers and pictures are inside it."""

import base64
import hashlib
import html
import json
import re
from importlib.resources import files
from typing import Any

PARTS = files("kit.reports.page") / "parts"
SCRIPTS = ("elements", "charts", "results", "explorer", "confusion", "images", "numbers", "record", "page")


def page(document: dict[str, Any], pictures: list[dict[str, Any]]) -> str:
    """Return the page of a document, as text.

    Names given by people (classes, ids, paths) appear only in blocks of JSON, from which the script makes text nodes.
    The policy in the head forbids every address outside the page, and every script but its own.

    Args:
        document: from `document_of`, with galleries.
        pictures: from `with_pictures`.
    """
    style = (PARTS / "style.css").read_text(encoding="utf-8")
    script = "\n".join((PARTS / f"{name}.js").read_text(encoding="utf-8") for name in SCRIPTS)
    script = f'(() => {{\n"use strict";\n{script}}})();'
    title = f"{document['runs'][0]['title']}: {', '.join(report['run'] for report in document['runs'])}"
    content = {
        "title": html.escape(title),
        "style": style,
        "script": script,
        "style_digest": _digest(style),
        "script_digest": _digest(script),
        "document": embedded(document),
        "pictures": embedded(pictures),
    }
    template = (PARTS / "template.html").read_text(encoding="utf-8")
    # In one pass, so that inserted text is never searched for further placeholders.
    return re.sub(r"\{\{(\w+)\}\}", lambda match: content[match[1]], template)


def compact(document: Any) -> str:
    """Return JSON in ASCII without spaces; NaN raises `ValueError`."""
    return json.dumps(document, allow_nan=False, separators=(",", ":"))


def embedded(document: Any) -> str:
    """Return JSON that no HTML parser takes for markup, whatever its texts: ASCII without `<`, `>` and `&`."""
    return re.sub("[<>&]", lambda match: f"\\u{ord(match[0]):04x}", compact(document))


def _digest(text: str) -> str:
    """Return the digest by which a content security policy names an inline script or style."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
