"""Whether pictures can be drawn here: they need matplotlib, which a bare machine that only trains may lack."""

from importlib.util import find_spec

from kit.console import Console


def can_draw(console: Console) -> bool:
    """Return whether matplotlib is installed; if not, warn that a picture is left out."""
    found = find_spec("matplotlib") is not None
    if not found:
        console.warn("no picture is drawn, as matplotlib is not installed here: pip install matplotlib")
    return found
