"""A change of the public surface is deliberate: it needs a line in the changelog."""

import difflib

from helpers.public_surface import CHANGELOG, SNAPSHOT, digest, surface


def test_the_surface_is_the_one_on_record():
    """A failure shows what has changed: `make surface WHAT="what changed"` records it."""
    now, then = surface(), SNAPSHOT.read_text(encoding="utf-8")
    changed = "\n".join(difflib.unified_diff(then.splitlines(), now.splitlines(), "on record", "now", "", "", 0, ""))
    assert now == then, f'say what changed: make surface WHAT="..."\n{changed}'


def test_the_changelog_has_an_entry_for_it():
    line = f"- Public surface `{digest(SNAPSHOT.read_text(encoding='utf-8'))}`: "
    entries = [entry for entry in CHANGELOG.read_text(encoding="utf-8").splitlines() if entry.startswith(line)]
    assert entries, f'no entry {line!r}: make surface WHAT="..."'
    assert len(entries[0]) > len(line) + 10


def test_what_is_held():
    """Signatures, fields with defaults, methods, hooks, exit codes, tasks: one of each."""
    text = surface()
    for line in (
        "class KitError(Exception)",
        "BAD_INPUT = 2",
        "    tasks: tuple[TaskName, ...] = TASK_NAMES",
        "    reorder(self, ids: 'np.ndarray | list[str]') -> 'Predictions'",
        "kit_commands(app: 'typer.Typer') -> None",
        "BINARY: Binary",
        "    lr: float = Field(0.001, gt=0, le=100)",
    ):
        assert f"\n{line}" in text or text.startswith(line), line
