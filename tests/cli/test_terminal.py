"""Nothing that others wrote reaches the terminal as more than text: a table of dangers, and one of the roads."""

import json
import sys
import warnings
from types import SimpleNamespace

import pytest
import typer

from kit.cli import app, process
from kit.console import Console, clean, print_error
from kit.errors import KitError
from kit.kaggle.retry import Fault, Retry
from kit.reports.experiment_log import log_markdown

DANGEROUS = {
    "title": ("\x1b]0;owned\x07", "\\x1b]0;owned\\x07"),
    "screen": ("\x1b[2J", "\\x1b[2J"),
    "C1": ("\x9b2J", "\\x9b2J"),
    "return": ("good\rbad", "good\\x0dbad"),
    "backspace": ("a\x08b", "a\\x08b"),
    "delete": ("a\x7fb", "a\\x7fb"),
    "nul": ("a\x00b", "a\\x00b"),
    "override": ("a\u202eb", "a\\u202eb"),
    "isolate": ("a\u2066b\u2069", "a\\u2066b\\u2069"),
    "byte": ("a\udc9bb", "a\\udc9bb"),
}

ALL = "".join(given for given, _ in DANGEROUS.values())


def test_what_is_meant_stays():
    text = "größe\tcafé\n中文 ✓ \U0001f600 \\x1b"
    assert clean(text) == text
    assert clean(clean("\x1b\u202e")) == clean("\x1b\u202e") == "\\x1b\\u202e"
    for code in (*range(0x20), *range(0x7F, 0xA0), *range(0x202A, 0x202F), *range(0x2066, 0x206A)):
        assert (clean(chr(code)) == chr(code)) == (chr(code) in "\t\n")


def progress(text):
    with Console().progress(text, 10) as bar:
        bar.printed = -100
        bar.advance(3, note=text)


def waiting(text):
    with Console().waiting(text) as spinner:
        spinner.printed = -100
        spinner.tell(text)


def log_file(text, folder):
    console = Console()

    def run():
        with console.log_to(folder / "log.txt"):
            console.say(text)
            raise RuntimeError(text)

    with pytest.raises(RuntimeError):
        run()
    print((folder / "log.txt").read_text(encoding="utf-8"))


def markdown(text):
    row = dict.fromkeys(("sizes", "accumulate", "minutes_an_epoch", "leaderboard", "lr_low", "score"))
    row |= dict.fromkeys(("run", "created", "origin", "model", "note", "state", "folds"), text)
    print(log_markdown(text, [row | {"size": 8, "batch_size": 8, "lr": 0.1}]))


def warning(text):
    process.ready_streams()
    print(warnings.formatwarning(text, UserWarning, "file.py", 3, ""))


ROADS = {
    "say": lambda text, folder: Console().say(text),
    "warn": lambda text, folder: Console().warn(text),
    "say under --json": lambda text, folder: Console(json=True).say(text),
    "cell": lambda text, folder: Console().table("", ["a"], [[text]]),
    "column": lambda text, folder: Console().table("", [text], [["a"]]),
    "title": lambda text, folder: Console().table(text, ["a"], [["b"]]),
    "error": lambda text, folder: print_error(text, [text]),
    "progress": lambda text, folder: progress(text),
    "waiting": lambda text, folder: waiting(text),
    "log.txt": log_file,
    "kit log": lambda text, folder: markdown(text),
    "a library's warning": lambda text, folder: warning(text),
    "a server's message": lambda text, folder: Retry("Kaggle", Console()).pause(Fault(text, wait=1.0)),
}


@pytest.mark.parametrize("danger", DANGEROUS)
@pytest.mark.parametrize("road", ROADS)
def test_every_road_shows_what_is_dangerous(road, danger, capsys, tmp_path, monkeypatch):
    monkeypatch.setattr("kit.kaggle.retry.sleep", lambda seconds: None)
    given, shown = DANGEROUS[danger]
    ROADS[road](given, tmp_path)
    printed = "".join(capsys.readouterr())
    assert squeezed(shown) in squeezed(printed)
    assert all(sign == "\n" or sign.isprintable() for sign in printed.replace("\t", "")), ascii(printed)


@pytest.mark.parametrize("danger", DANGEROUS)
def test_json_escapes(danger, capsys):
    given, _ = DANGEROUS[danger]
    Console(json=True).result({given: [given]})
    printed = capsys.readouterr().out
    assert json.loads(printed) == {given: [given]}
    assert printed.isascii()
    assert printed.replace("\n", "").isprintable()


def squeezed(text):
    """Without what a table's width and Markdown add."""
    return "".join(text.replace("\\", "").split())


def raises(error):
    def command():
        """Fail."""
        raise error

    return SimpleNamespace(command=command)


@pytest.mark.parametrize("error", [KitError, OSError, ValueError, EOFError, MemoryError, typer.BadParameter])
@pytest.mark.parametrize("options", [(), ("--debug",)])
def test_errors_of_every_kind(monkeypatch, error, options, capsys):
    monkeypatch.setitem(app.COMMANDS, "fail", raises(error(ALL)))
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    with pytest.raises((SystemExit, error)) as caught:
        app.main(["fail", *options])
    if not isinstance(caught.value, SystemExit):
        with pytest.raises(SystemExit):
            sys.excepthook(error, caught.value, None)  # what Python does in the end
    printed = "".join(capsys.readouterr())
    assert printed.isascii()
    assert all(sign in "\n\t" or sign.isprintable() for sign in printed), ascii(printed)


@pytest.mark.parametrize(
    "words", [("{}",), ("info", "{}"), ("list", "{}"), ("list", "--{}"), ("train", "histo", "--set", "{}=1")]
)
def test_words_of_the_command_line(kit, words):
    done = kit(*(word.format(ALL) for word in words), code=2)
    assert all(sign == "\n" or sign.isprintable() for sign in done.err + done.out), ascii(done.err)


def test_square_brackets_are_text_in_tables_and_progress(capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    Console().table("[/x]", ["[bold]a", "[/]"], [["[red]", "[/y]"]])
    with Console().progress("[/x]", 10) as bar:
        bar.advance(1, "[/y]")
    assert "[bold]a" in capsys.readouterr().out
