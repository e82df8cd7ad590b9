"""The output of a command: text and tables on stdout, progress and warnings on stderr, or one JSON document.

Names, notes, cells and messages come from files and servers of others. Whatever is printed goes through `clean`, so
that nothing in them moves the cursor, sets the title of a terminal or turns the direction of a line.
"""

import contextlib
import json
import math
import re
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import IO, Any, TextIO

from kit.errors import DISK, KitError
from kit.files import open_plain

# Control characters but newline and tab, the marks that turn the direction of text, and what no encoding can hold.
_UNSEEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def clean(text: str) -> str:
    """Return `text` with its control characters shown (`\\x1b`, `\\u202e`), so that a terminal does not obey them."""
    return _UNSEEN.sub(lambda found: _shown(ord(found[0])), text)


def _shown(code: int) -> str:
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def json_text(document: Any, indent: int | None = 2) -> str:
    """Return `document` as JSON of printable ASCII alone."""
    return json.dumps(jsonable(document), indent=indent, allow_nan=False).replace("\x7f", "\\u007f")


def print_error(message: str, ways: Sequence[str] = ()) -> None:
    """Print an error on stderr, each of several ways to mend it on a line of its own."""
    print_text(
        "\n".join([f"error: {message}", *(f"  {number}. {way}" for number, way in enumerate(ways, 1))]), sys.stderr
    )


def print_text(text: str, stream: TextIO) -> None:
    """Print text on a stream, cleaned."""
    with writing(stream):
        print(clean(text), file=stream, flush=True)


@contextlib.contextmanager
def writing(stream: TextIO) -> Iterator[None]:
    """Within the block a stream is written: raise `KitError` (code 5) if standard output can't take it."""
    try:
        yield
    except BrokenPipeError:
        # `kit.cli.app` ends without a word, like every tool whose reader has gone.
        if stream is not sys.stderr:
            raise
    except OSError as error:
        # Nobody reads what is said beside the result; that is no reason to end a training.
        if stream is not sys.stderr:
            raise KitError(f"the output can't be written ({error.strerror}): free some space there", DISK) from None


def duration(seconds: float) -> str:
    """Format seconds as `42 s`, `3 min 20 s` or `2 h 05 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def size(count: float) -> str:
    """Format bytes as `27.7 kB`, `6.1 GB`."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def jsonable(value: Any) -> Any:
    """Convert `value` to plain JSON types: mappings, sequences and numpy numbers too; NaN and infinity become null."""
    if isinstance(value, dict):
        return {str(key): jsonable(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [jsonable(item) for item in value]
    if hasattr(value, "tolist"):
        return jsonable(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if value is None or isinstance(value, (bool, int, float, str)) else str(value)


class Console:
    """One command's output.

    Args:
        json: print only the document given to `result` on stdout; `say` then prints on stderr.
        silent: print nothing, because another process prints for this one.
    """

    def __init__(self, json: bool = False, silent: bool = False) -> None:
        self.json, self.silent = json, silent
        self._log: IO[str] | None = None

    def say(self, text: str = "") -> None:
        """Print a line for a person."""
        self._line(text, sys.stderr if self.json else sys.stdout)

    def warn(self, text: str) -> None:
        """Print a warning on stderr."""
        self._line(f"warning: {text}", sys.stderr)

    @contextlib.contextmanager
    def log_to(self, path: Path) -> Iterator[None]:
        """Within the block, append each line to a file too, with the time in UTC; also the error that ends the block.

        Progress is logged as it is printed on a stderr that is not a terminal; tables are not logged.
        """
        with open_plain(path, "a") as self._log:
            try:
                yield
            except BaseException as error:
                self._log_line(f"ended by {type(error).__name__}: {error}")
                raise
            finally:
                self._log = None

    def _line(self, text: str, stream: TextIO) -> None:
        if not self.silent:
            print_text(text, stream)
        self._log_line(text)

    def _log_line(self, text: str) -> None:
        if self._log is not None:
            now = datetime.now(UTC).isoformat(sep=" ", timespec="seconds")
            self._log.writelines(f"{now} {line}".rstrip() + "\n" for line in clean(text).split("\n"))

    def table(self, title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        """Print a table on stdout; under `--json` print nothing, since the document has the content."""
        if self.json or self.silent:
            return
        from rich import box
        from rich.console import Console as Rich
        from rich.table import Table
        from rich.text import Text

        table = Table(title=Text(clean(title)) if title else None, title_justify="left", box=box.SIMPLE_HEAD)
        numeric = [bool(rows) and all(isinstance(row[i], (int, float)) for row in rows) for i in range(len(columns))]
        for name, right in zip(columns, numeric, strict=True):
            table.add_column(Text(clean(name)), justify="right" if right else "left", overflow="fold")
        for row in rows:
            table.add_row(*(Text("" if cell is None else clean(str(cell))) for cell in row))
        with writing(sys.stdout):
            Rich(file=sys.stdout, width=None if sys.stdout.isatty() else 160).print(table)

    def progress(self, description: str, total: int, unit: str = "images", start: int = 0) -> "Progress":
        """Return a progress bar on stderr: done, rate, time left."""
        bar = not self.silent and sys.stderr.isatty()
        return Progress(description, total, unit, start, lambda line: self._line(line, sys.stderr), bar)

    def waiting(self, description: str) -> "Waiting":
        """Return a spinner on stderr, for work without a measure of progress."""
        return Waiting(description, lambda line: self._line(line, sys.stderr))

    def result(self, document: Any) -> None:
        """Print the command's one document, under `--json` only."""
        if self.json and not self.silent:
            print_text(json_text(document), sys.stdout)


def logged_text(line: str) -> str:
    """Return a line of a log (`Console.log_to`) without its date and time."""
    return line.split(" ", 2)[-1]


class Progress:
    """A bar on a terminal, one at a time; elsewhere a plain line every ten seconds. Used as a context manager."""

    interval = 10.0
    showing = False

    def __init__(
        self, description: str, total: int, unit: str, start: int, say: Callable[[str], None], draws: bool
    ) -> None:
        self.draws = draws
        self.description, self.total, self.unit, self.say = clean(description), total, unit, say
        self.start = self.done = start
        self.note = ""
        self.began = self.printed = time.monotonic()
        self.bar: Any = None

    def __enter__(self) -> "Progress":
        self.began = self.printed = time.monotonic()
        if self.draws and not Progress.showing:
            from rich.console import Console as Rich
            from rich.progress import BarColumn, TextColumn
            from rich.progress import Progress as Bar

            title, state = (TextColumn(f"{{task.{name}}}", markup=False) for name in ("description", "fields[state]"))
            # Text printed meanwhile goes above the bar, unless stdout is redirected.
            terminal = Rich(file=sys.stderr)
            self.bar = Bar(
                title, BarColumn(), state, console=terminal, transient=True, redirect_stdout=sys.stdout.isatty()
            )
            self.task = self.bar.add_task(self.description, total=self.total, completed=self.done, state="")
            self.bar.start()
            Progress.showing = True
        return self

    def advance(self, count: int = 1, note: str = "") -> None:
        """Report `count` more as done; `note` goes at the end of the line."""
        self.done += count
        self.note = clean(note) or self.note
        if self.bar is not None:
            self.bar.update(self.task, completed=self.done, state=self._state())
        elif time.monotonic() - self.printed > self.interval:
            self.printed = time.monotonic()
            self.say(f"{self.description}: {self._state()}")

    def rate(self) -> float:
        """Return the units per second since the start."""
        return (self.done - self.start) / max(time.monotonic() - self.began, 1e-9)

    def _state(self) -> str:
        rate = self.rate()
        if self.unit == "bytes":
            text = f"{size(self.done)} of {size(self.total)}, {size(rate)}/s"
        else:
            text = f"{self.done:,} of {self.total:,} {self.unit}, {rate:,.{1 if rate < 10 else 0}f}/s"
        left = f", {duration((self.total - self.done) / rate)} left" if rate > 0 and self.total > self.done else ""
        return text + left + (f", {self.note}" if self.note else "")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.bar is not None:
            self.bar.stop()
            Progress.showing = False


class Waiting:
    """A spinner on a terminal; elsewhere a plain line every ten seconds. Used as a context manager."""

    def __init__(self, description: str, say: Callable[[str], None]) -> None:
        self.description, self.say = clean(description), say
        self.began = self.printed = time.monotonic()
        self.live: Any = None

    def __enter__(self) -> "Waiting":
        self.began = self.printed = time.monotonic()
        if sys.stderr.isatty():
            from rich.console import Console as Rich
            from rich.live import Live
            from rich.spinner import Spinner
            from rich.text import Text

            self.spinner = Spinner("dots", Text(self.description))
            terminal = Rich(file=sys.stderr)
            self.live = Live(self.spinner, console=terminal, transient=True, redirect_stdout=sys.stdout.isatty())
            self.live.start()
        return self

    def tell(self, note: str) -> None:
        """Show the current state; call this after every check of it."""
        text = f"{self.description}: {clean(note)}, {duration(time.monotonic() - self.began)}"
        if self.live is not None:
            from rich.text import Text

            self.spinner.update(text=Text(text))
        elif time.monotonic() - self.printed > Progress.interval:
            self.printed = time.monotonic()
            self.say(text)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.live is not None:
            self.live.stop()
