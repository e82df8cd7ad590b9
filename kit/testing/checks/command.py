"""Checks of a plugin's commands: how they look beside kit's own."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import typer
from typer.main import get_command

from kit.errors import KitError
from kit.hooks.manager import BUILT_IN as DISTRIBUTION
from kit.hooks.names import wrong_name
from kit.testing.check import Broken, check, need, suppose
from kit.testing.subject import Subject

WORDS = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
LINE = re.compile(r"^\s*kit\s", re.MULTILINE)


@check("command/registers", "register functions on the typer.Typer that kit_commands gets")
def registers(subject: Subject) -> str:
    """`kit_commands` adds commands that can be built."""
    names = [name for name, _ in _commands(subject)]
    need(names, "kit_commands adds no command")
    return ", ".join(names)


@check("command/free-names", "rename it: kit's own commands, and those of other plugins, come first")
def free_names(subject: Subject) -> None:
    """Their names are free."""
    record = next(
        each
        for each in subject.registry.plugins.records
        if (each.name, each.distribution) == (subject.plugin.name, subject.plugin.distribution)
    )
    need("already provided" not in (record.error or ""), record.error or "")
    own = _names_of_kit(subject)
    taken = [name for name, _ in _commands(subject) if name in own]
    need(not taken, f"the command {', '.join(taken)} is one of kit's or of another plugin")


@check("command/names", "write it as kit's own: words of a-z and 0-9 joined by -", "advice")
def names(subject: Subject) -> None:
    """Their names are words joined by hyphens."""
    for name, _ in _commands(subject):
        need(not wrong_name(name) and WORDS.fullmatch(name), f"the command {name!r} is not like kit's own")


@check("command/help", "give the function a docstring: its first line is what kit --help shows")
def help_text(subject: Subject) -> None:
    """Each says what it does."""
    for name, command in _commands(subject):
        need((command.help or "").strip(), f"the command {name} has no help")


@check("command/example", "end the docstring with `\\b`, `Example:` and a line that begins with kit")
def example(subject: Subject) -> None:
    """The help of each has an example."""
    for name, command in _leaves(subject):
        text = command.help or ""
        need("Example" in text and LINE.search(text), f"the help of {name} has no example")


@check("command/options-have-help", "say it in typer.Option(help=...)", "advice")
def options_have_help(subject: Subject) -> None:
    """Each option says what it does."""
    for name, command in _leaves(subject):
        silent = [each.name for each in command.params if hasattr(each, "help") and not each.help]
        need(not silent, f"{name}: the option {silent[0] if silent else ''} has no help")


@check("command/json", "take `json: Json = False` and print by Console(json).result(document)", "advice")
def json_option(subject: Subject) -> None:
    """Each can print one JSON document."""
    for name, command in _leaves(subject):
        options = {word for each in command.params for word in each.opts}
        need("--json" in options, f"{name} has no --json")


def _commands(subject: Subject) -> Iterator[tuple[str, Any]]:
    """Yield what it adds to the command line, by name."""
    app = typer.Typer(rich_markup_mode=None)
    app.callback()(lambda: None)
    hook = subject.module.kit_commands
    try:
        hook(app) if hook.__code__.co_argcount else hook()
        group: Any = get_command(app)
        found = list(group.commands.items())
    except (Exception, SystemExit) as error:
        if isinstance(error, KitError):
            raise
        raise Broken(f"kit_commands raises {type(error).__name__}: {error}") from None
    yield from found


def _leaves(subject: Subject) -> Iterator[tuple[str, Any]]:
    """Yield the commands, and those in groups of them."""
    for name, command in _commands(subject):
        inner = getattr(command, "commands", None)
        suppose(name, "it has no name")
        if inner is None:
            yield name, command
        else:
            yield from ((f"{name} {each}", one) for each, one in inner.items())


def _names_of_kit(subject: Subject) -> set[str]:
    """Return the names of kit's own commands, as its help lists them, and of those of other plugins."""
    environment = {
        **os.environ,
        "KIT_PLUGINS": "",
        "KIT_PLUGIN_FILES": "",
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
    }
    words = [sys.executable, "-m", "kit", "--help"]
    shown = subprocess.run(words, env=environment, capture_output=True, text=True, check=False).stdout
    names = set(re.findall(r"^  ([a-z][a-z0-9-]*)  ", shown.partition("Commands:")[2], re.MULTILINE))
    if subject.plugin.distribution == DISTRIBUTION:
        names -= {name for name, _ in _commands(subject)}  # they are among them
    app = typer.Typer()
    for record in subject.registry.plugins.records:
        hook = getattr(subject.registry.plugins.module_of(record), "kit_commands", None)
        if callable(hook) and record.distribution not in (DISTRIBUTION, subject.plugin.distribution):
            hook(app)
    found: list[Any] = [*app.registered_commands, *app.registered_groups]
    return names | {str(each.name) for each in found if each.name}
