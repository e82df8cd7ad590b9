"""Load plugins one by one, so that a broken plugin stops only itself."""

import os
from dataclasses import dataclass, replace
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Any

import pluggy

from kit.hooks import hookspecs

if TYPE_CHECKING:
    from typer import Typer

BUILT_IN = "competition-kit"


@dataclass(frozen=True)
class Plugin:
    """One entry point of the group `kit`, loaded or not.

    Args:
        name: the entry point's name.
        version: version of the distribution.
        distribution: the package that provides it.
        hooks: names of the hooks it implements.
        error: why it can't be used, in one line; None for a healthy plugin.
    """

    name: str
    version: str
    distribution: str
    hooks: tuple[str, ...] = ()
    error: str | None = None


class Plugins:
    """The plugins of this process: those that loaded, and those that did not, with the reason."""

    def __init__(self) -> None:
        self.manager = pluggy.PluginManager(hookspecs.NAME)
        self.manager.add_hookspecs(hookspecs)
        self._records: dict[str, Plugin] = {}

    @property
    def records(self) -> list[Plugin]:
        """All entry points seen so far, sorted by distribution and name."""
        return [self._records[key] for key in sorted(self._records)]

    def add(self, module: object, name: str, distribution: str, version: str) -> None:
        """Register one plugin; if that fails, leave it out and record the reason."""
        key = f"{distribution}:{name}"
        record = Plugin(name, version, distribution)
        try:
            self.manager.register(module, key)
            self.manager.check_pending()
            hooks = tuple(sorted(caller.name for caller in self.manager.get_hookcallers(module) or ()))
            self._records[key] = replace(record, hooks=hooks)
        except Exception as error:
            if self.manager.has_plugin(key):
                self.manager.unregister(name=key)
            self._records[key] = replace(record, error=_reason(error))

    def add_entry_point(self, entry_point: EntryPoint) -> None:
        """Import and register the module of an entry point; record a failed import as the plugin's error."""
        distribution = entry_point.dist.name if entry_point.dist else "unknown"
        version = entry_point.dist.version if entry_point.dist else ""
        try:
            module = entry_point.load()
        except (Exception, SystemExit) as error:
            record = Plugin(entry_point.name, version, distribution, error=_reason(error))
            self._records[f"{distribution}:{entry_point.name}"] = record
        else:
            self.add(module, entry_point.name, distribution, version)

    def call(self, hook: str, **arguments: Any) -> list[tuple[Plugin, Any]]:
        """Call one hook plugin by plugin and return the results sorted by plugin; mark a plugin that raises as broken.

        (pluggy's own call stops at the first plugin that raises, and does not say whose result is whose.)
        """
        results = []
        for implementation in getattr(self.manager.hook, hook).get_hookimpls():
            key = implementation.plugin_name
            taken = {name: arguments[name] for name in implementation.argnames}
            try:
                results.append((key, implementation.function(**taken)))
            except (Exception, SystemExit) as error:
                self.mark_broken(key, f"{hook}: {_reason(error)}")
        return [(self._records[key], value) for key, value in sorted(results, key=lambda pair: pair[0])]

    def add_commands(self, app: "Typer") -> None:
        """Let each plugin add sub-commands; drop one whose name is taken, and mark its plugin as broken."""
        from typer import Typer
        from typer.main import get_command_name

        owners = {command.name: BUILT_IN for command in app.registered_commands}
        for implementation in sorted(self.manager.hook.kit_commands.get_hookimpls(), key=_built_in_first):
            key, own = implementation.plugin_name, Typer()
            try:
                implementation.function(*[own] * len(implementation.argnames))
            except (Exception, SystemExit) as error:
                self.mark_broken(key, f"kit_commands: {_reason(error)}")
                continue
            app.registered_groups.extend(own.registered_groups)
            for command in own.registered_commands:
                name = command.name or get_command_name(getattr(command.callback, "__name__", ""))
                if name in owners:
                    self.mark_broken(key, f"kit_commands: the command {name!r} is already provided by {owners[name]}")
                else:
                    owners[name] = self._records[key].distribution
                    app.registered_commands.append(command)

    def mark_broken(self, key: str, reason: str) -> None:
        """Record why a registered plugin can't be used."""
        self._records[key] = replace(self._records[key], error=reason)


def _built_in_first(implementation: pluggy.HookImpl) -> tuple[bool, str]:
    """Return a sort key with built-in plugins first: no distribution takes a built-in command by sorting before it."""
    return not implementation.plugin_name.startswith(f"{BUILT_IN}:"), implementation.plugin_name


def _reason(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())


def load_plugins() -> Plugins:
    """Load all installed plugins.

    `KIT_PLUGINS=a,b` keeps only these entry points or distributions of the third-party plugins.
    """
    wanted = os.environ.get("KIT_PLUGINS")
    chosen = None if wanted is None else {name.strip() for name in wanted.split(",")}
    plugins = Plugins()
    for entry_point in entry_points(group=hookspecs.NAME):
        distribution = entry_point.dist.name if entry_point.dist else "unknown"
        if distribution == BUILT_IN or chosen is None or entry_point.name in chosen or distribution in chosen:
            plugins.add_entry_point(entry_point)
    return plugins
