"""The one boundary for plugins' code: what a function of a spec raises, or returns by mistake, becomes one line.

The line names the plugin, the file and the line; `--debug` shows the traceback. A `KitError` passes unchanged, and so
does what the machine raises (a full disk, too little memory). Networks, losses and commands of plugins are called by
many hands; `Plugins.behind` finds the plugin in what they raise.
"""

import copy
import errno
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn, cast

from kit.errors import KitError, MisuseError, PluginError, too_little_memory
from kit.hooks.leash import place_of, reason
from kit.hooks.returns import WrongReturn, taken
from kit.hooks.trace import of_function
from kit.hooks.trackers import Tracker, TrackerSpec

# What the system says of a name that a plugin made up; its other errors are the machine's.
MADE_UP = (errno.ENOENT, errno.EISDIR, errno.ENOTDIR, errno.EEXIST, errno.EINVAL, errno.ENAMETOOLONG)
MEND = "correct it there, or tell its author; --debug shows the traceback"


@dataclass(frozen=True)
class Foreign:
    """A function of a spec, as commands call it.

    Args:
        function: the plugin's own.
        field: the spec's field.
        spec: the spec as the plugin gave it.
        plugin: `plugin leaves of kit-leaves`, for people.
        package: the top-level name of the plugin's module.
    """

    function: Callable[..., Any]
    field: str
    spec: Any
    plugin: str
    package: str

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        """Call the function.

        Raises:
            KitError: one that it raised.
            PluginError: it raised anything else, or returned what its spec does not allow.
        """
        try:
            with of_function(self.field, f"{self._kind} {self.spec.name}", self.plugin):
                value = self.function(*arguments, **options)
            value = taken(self.spec, self.field, value)
        except (Exception, SystemExit) as error:
            self._raise(error, arguments)
        if isinstance(value, Iterator):
            return self._guarded(value, arguments)
        return self._tracker(value) if isinstance(self.spec, TrackerSpec) and self.field == "open" else value

    def _guarded(self, values: Iterator[Any], arguments: tuple[Any, ...]) -> Iterator[Any]:
        """Yield what a generator yields: its code runs only now."""
        try:
            yield from values
        except (Exception, SystemExit) as error:
            self._raise(error, arguments)

    def _tracker(self, own: Tracker) -> Tracker:
        """Return a tracker with the methods that this one has, called through the boundary too."""
        names = [name for name in ("log", "images", "network", "close") if hasattr(own, name)]
        safe: Any = SimpleNamespace(**{name: replace(self, function=getattr(own, name), field=name) for name in names})
        return cast(Tracker, safe)

    @property
    def who(self) -> str:
        """What people call it: by its field, its spec and its plugin."""
        return f"{self.field} of {self._kind} {self.spec.name} ({self.plugin})"

    @property
    def _kind(self) -> str:
        return type(self.spec).__name__.removesuffix("Spec").lower()

    def _raise(self, error: BaseException, arguments: tuple[Any, ...]) -> NoReturn:
        """Raise what an error in the function is to people."""
        who = self.who
        place = place_of(error, self.package, place_in(self.function))
        if isinstance(error, MisuseError):
            raise PluginError(f"{error}: correct {who} at {place}, or the data that it reads") from error
        if isinstance(error, KitError) or is_of_the_machine(error):
            raise error
        given = _path_in(arguments)
        who += f" given {given}" if given else ""
        if isinstance(error, WrongReturn):
            raise faulty(self, f"returned {error}", given) from None
        raise PluginError(f"{who} failed at {place} ({reason(error)}): {MEND}") from error


def _path_in(arguments: tuple[Any, ...]) -> Path | None:
    """Return the file or folder that a function is given first, if it is given one."""
    first = arguments[0] if arguments else None
    first = first[0] if isinstance(first, tuple) and first else first
    return first if isinstance(first, Path) else None


def guarded(spec: Any, plugin: str, package: str) -> Any:
    """Return a spec whose functions are called through the boundary."""
    made = copy.copy(spec)
    for each in fields(spec):
        value = getattr(spec, each.name)
        if "Callable[" in str(each.type) and callable(value):
            object.__setattr__(made, each.name, Foreign(value, each.name, spec, plugin, package))
    return made


def is_of_the_machine(error: BaseException) -> bool:
    """Return whether an error says something of the machine, whoever's code met it."""
    if isinstance(error, OSError):
        return error.errno is not None and error.errno not in MADE_UP
    return bool(too_little_memory(error))


def faulty(function: Any, what: str, given: Path | None = None) -> PluginError:
    """Return the error of a spec's function that returned or did something wrong, in one line."""
    who = f"{function.who} given {given}" if given else function.who
    return PluginError(f"{who} {what}: correct it{at(function.function)}, or tell its author")


def place_in(function: Any) -> str:
    """Return `file:line` of a function's definition; empty where there is none."""
    resolve = getattr(function, "resolve", None)
    code = getattr(resolve() if resolve is not None else getattr(function, "func", function), "__code__", None)
    return "" if code is None else f"{code.co_filename}:{code.co_firstlineno}"


def at(function: Any) -> str:
    """Return ` at file:line` of a function's definition; empty where there is none."""
    place = place_in(function)
    return place and f" at {place}"
