"""What a check is, and what it finds: the words of which every file of checks is made."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from kit.testing.subject import Subject

Group = Literal["contract", "advice"]
# `expected`: it failed, and the plugin says why; `unexpected`: the plugin says that it fails, and it passed.
Status = Literal["passed", "failed", "expected", "unexpected", "skipped"]

# The kinds of things that a plugin gives, in the order in which they are checked; each has a module of its checks.
# Miniatures come before what reads them: how one is drawn is watched the first time.
KINDS = (
    "package",
    "command",
    "miniature",
    "dataset",
    "competition",
    "submission",
    "metric",
    "model",
    "head",
    "loss",
    "optimizer",
    "augmentation",
    "tracker",
)


@dataclass(frozen=True)
class Check:
    """One check.

    Args:
        name: `kind/what-must-hold`; unique.
        group: `contract`: kit relies on it; `advice`: people are better served by it.
        mend: what to do when it fails, in a sentence.
        function: (subject) -> None, or a text of what was found. Raises `Broken` or `Skipped`.
    """

    name: str
    group: Group
    mend: str
    function: "Callable[[Subject], str | None]"

    @property
    def kind(self) -> str:
        """The kind of things that it checks, one of `KINDS`."""
        return self.name.partition("/")[0]


@dataclass(frozen=True)
class Result:
    """What a check found.

    Args:
        plugin: the plugin's name.
        subject: the name of the spec that was checked; of a check of the whole plugin the plugin's.
        name: of the check.
        group: `contract` or `advice`.
        status: `passed`, `failed`, `skipped`, `expected` (failed, as the plugin declares) or `unexpected` (passed,
            though the plugin declares that it fails).
        text: what was found, in a line.
        mend: what to do; empty if nothing is to be done.
        seconds: how long it took.
    """

    plugin: str
    subject: str
    name: str
    group: Group
    status: Status
    text: str = ""
    mend: str = ""
    seconds: float = 0.0

    @property
    def bad(self) -> bool:
        """Whether the plugin breaks the contract by it."""
        return self.status == "unexpected" or (self.status == "failed" and self.group == "contract")


class Broken(Exception):
    """A promise is broken: the text says what was found."""


class Skipped(Exception):
    """A check can't be made: the text says why."""


def need(kept: Any, text: str) -> None:
    """Raise `Broken` unless a promise is kept."""
    if not kept:
        raise Broken(text)


def suppose(holds: Any, reason: str) -> None:
    """Raise `Skipped` unless a check has something to check."""
    if not holds:
        raise Skipped(reason)


_CHECKS: dict[str, Check] = {}


def check(
    name: str, mend: str, group: Group = "contract"
) -> "Callable[[Callable[[Subject], str | None]], Callable[[Subject], str | None]]":
    """Make a function a check; its module is that of the first part of its name."""

    def enter(function: "Callable[[Subject], str | None]") -> "Callable[[Subject], str | None]":
        _CHECKS[name] = Check(name, group, mend, function)
        return function

    return enter


def all_checks(kind: str | None = None) -> list[Check]:
    """Return all checks, or those of one kind, in the order in which they are made."""
    kinds = KINDS if kind is None else (kind,)
    for each in kinds:
        import_module(f"kit.testing.checks.{each}")
    return [found for each in kinds for found in _CHECKS.values() if found.kind == each]
