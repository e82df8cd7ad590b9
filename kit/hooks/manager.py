"""Load plugins one by one, so that a broken plugin stops only itself."""

import contextlib
import os
import re
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from importlib import import_module
from importlib.metadata import Distribution, EntryPoint, distribution, distributions, entry_points
from importlib.util import find_spec
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import pluggy

import kit
from kit.console import print_text
from kit.errors import PluginError, nearest
from kit.hooks import hookspecs, single_files
from kit.hooks.contract import CONTRACT, contract_of, has_hook, is_last
from kit.hooks.foreign import MEND, at, is_of_the_machine
from kit.hooks.leash import Failed, has_foreign_frame, leashed, place_of, reason, top_of
from kit.hooks.names import wrong_name
from kit.hooks.single_files import OPTION
from kit.hooks.trace import HookCall

if TYPE_CHECKING:
    from typer import Typer

T = TypeVar("T")
BUILT_IN = "competition-kit"
# They are told by their code, which lies beside kit's own: any package may call itself, or a plugin, like one of these.
BUILT_IN_MODULES = (
    "kit_augmentations",
    "kit_cbam",
    "kit_ham10000",
    "kit_heads",
    "kit_histopathology",
    "kit_losses",
    "kit_metrics",
    "kit_optimizers",
    "kit_protein",
    "kit_recursion",
    "kit_small_networks",
    "kit_split_files",
    "kit_tensorboard",
    "kit_timm",
    "kit_torchvision",
)
FILE = "file"  # in place of the version of a plugin file
HOOKS = tuple(name for name in vars(hookspecs) if name.startswith("kit_"))
MARK = f"{hookspecs.NAME}_impl"  # what @hookimpl sets
HOME = Path(kit.__file__).resolve().parents[1]


@dataclass(frozen=True)
class Plugin:
    """One entry point of the group `kit`, or one plugin file, loaded or not.

    Args:
        name: the entry point's name, or that of the file.
        version: version of the distribution, or `file` (`FILE`).
        distribution: the package that provides it, or the path of the file.
        hooks: names of the hooks it implements.
        error: why it can't be used, in one line; None for a healthy plugin.
        contract: the version of the contract that it says it was written for; None if it does not say.
    """

    name: str
    version: str
    distribution: str
    hooks: tuple[str, ...] = ()
    error: str | None = None
    contract: int | None = None

    @property
    def title(self) -> str:
        """What people call it: by its own name and that of its package."""
        return f"plugin {self.name} of {self.distribution}"


class Plugins:
    """The plugins of this process: those that loaded, and those that did not, with the reason."""

    def __init__(self) -> None:
        self.manager = pluggy.PluginManager(hookspecs.NAME)
        self.manager.add_hookspecs(hookspecs)
        self._records: dict[str, Plugin] = {}
        self.calls: list[HookCall] = []  # of hooks, one by one; imports too
        self.expected: list[str] = []  # plugin files that the run at hand was made with

    @property
    def records(self) -> list[Plugin]:
        """All entry points seen so far, sorted by distribution and name."""
        return [self._records[key] for key in sorted(self._records)]

    def add(self, module: object, name: str, distribution: str, version: str) -> None:
        """Register one plugin; if that fails, leave it out and record the reason."""
        self.load(lambda: module, Plugin(name, version, distribution))

    def load(self, find: Callable[[], object], plugin: Plugin) -> None:
        """Import and register a plugin; if that fails, leave it out and record the reason."""
        key = _key(plugin)

        def register() -> tuple[int | None, tuple[str, ...]]:
            module = find()
            contract = contract_of(module)
            for name in HOOKS:
                function = getattr(module, name, None) if has_hook(contract, name) else None
                if function is not None and (wrong := _wrong_hook(name, function)):
                    raise Failed(f"{name} {wrong}{at(function)}")
            for name, value in getattr(module, "__dict__", {}).items():
                if name not in HOOKS and hasattr(value, MARK):
                    raise Failed(f"{name} is no hook: {nearest(name, HOOKS)}{at(value)}")
            self.manager.register(module, key)
            self.manager.check_pending()
            hooks = tuple(sorted(caller.name for caller in self.manager.get_hookcallers(module) or ()))
            if plugin.version == FILE and not hooks:
                raise Failed(f"it has none of the hooks, with @hookimpl above: {', '.join(HOOKS)}")
            return contract, hooks

        try:
            contract, hooks = self._run(plugin, "import", register)
            self._records[key] = replace(plugin, hooks=hooks, contract=contract)
            _warn_of_older(self._records[key])
        except Failed as failed:
            if self.manager.has_plugin(key):
                self.manager.unregister(name=key)
            self._records[key] = replace(plugin, error=str(failed))

    def call(self, hook: str, **arguments: Any) -> list[tuple[Plugin, Any]]:
        """Call one hook plugin by plugin and return the results sorted by plugin; mark a plugin that raises as broken.

        (pluggy's own call stops at the first plugin that raises, and does not say whose result is whose.)
        """
        results = []
        implementations = getattr(self.manager.hook, hook).get_hookimpls()
        if not implementations:
            self.calls.append(HookCall(hook, "", "", 0, 0.0))
        for implementation in implementations:
            key = implementation.plugin_name
            taken = {name: arguments[name] for name in implementation.argnames}
            work = partial(implementation.function, **taken)
            try:
                results.append((key, self._run(self._records[key], hook, work)))
            except Failed as failed:
                self.mark_broken(key, f"{hook}: {failed}")
        return [(self._records[key], value) for key, value in sorted(results, key=lambda pair: pair[0])]

    def add_commands(self, app: "Typer") -> None:
        """Let each plugin add sub-commands and groups of them; drop one whose name is taken or can't be built, and
        mark its plugin as broken."""
        from typer import Typer

        owners = dict.fromkeys((command.name for command in app.registered_commands), BUILT_IN)
        for implementation in sorted(self.manager.hook.kit_commands.get_hookimpls(), key=_built_in_first):
            key, own = implementation.plugin_name, Typer()
            plugin, arguments = self._records[key], [own] * len(implementation.argnames)
            try:
                self._run(plugin, "kit_commands", partial(implementation.function, *arguments))
                for part in (*own.registered_commands, *own.registered_groups):
                    names = self._run(plugin, "", partial(_names_of, part))
                    wrong = _wrong_command(names, owners)
                    if wrong:
                        self.mark_broken(key, f"kit_commands: {wrong}{self.place(plugin, 'kit_commands')}")
                        continue
                    owners.update(dict.fromkeys(names, plugin.distribution))
                    kept = app.registered_commands if part in own.registered_commands else app.registered_groups
                    kept.append(part)  # type: ignore[arg-type]
            except Failed as failed:
                self.mark_broken(key, f"kit_commands: {failed}")

    def module_of(self, plugin: Plugin) -> Any:
        """Return a plugin's module; None if it could not be loaded."""
        return self.manager.get_plugin(_key(plugin))

    def package_of(self, plugin: Plugin) -> str:
        """Return the top-level name of a plugin's module."""
        module = self.module_of(plugin)
        return str(getattr(module, "__name__", type(module).__module__)).partition(".")[0]

    def place(self, plugin: Plugin, hook: str) -> str:
        """Return ` at file:line` of a plugin's hook."""
        return at(getattr(self.manager.get_plugin(_key(plugin)), hook, None))

    def behind(self, error: BaseException) -> PluginError | None:
        """Return the error of a third-party plugin in whose code an unforeseen one was raised; None if there is none.

        This is for the objects that plugins build: networks, losses, trackers, commands.
        """
        if is_of_the_machine(error):
            return None
        packages = {self.package_of(plugin): plugin for plugin in self.records if plugin.distribution != BUILT_IN}
        for frame, _ in reversed(list(traceback.walk_tb(error.__traceback__))):
            plugin = packages.get(top_of(frame.f_globals))
            if plugin is not None:
                where = place_of(error, self.package_of(plugin))
                return PluginError(f"the {plugin.title} failed at {where} ({reason(error)}): {MEND}")
        return None

    def unknown(self, kind: str, name: str, nearest: str) -> str:
        """Say that a name is not known, or that it is broken with the plugin that is called like it.

        `nearest` says what is known; plugins that are broken, and may have it, are named too.
        """
        faults = [plugin for plugin in self.records if plugin.error]
        own = [plugin for plugin in faults if _plain(name) in (_plain(plugin.name), _plain(plugin.distribution))]
        if own:
            return f"{kind} {name!r} is broken, as its {own[0].title} is: {own[0].error}"
        if bare := _without_entry_point(name):
            nearest = (
                f"the package {bare} is installed, but has no entry point of the group kit: add "
                "[project.entry-points.kit] to its pyproject.toml, and install it again"
            )
        maybe = "".join(f"; or it is of the {plugin.title}, which is broken: {plugin.error}" for plugin in faults)
        loaded = {plugin.distribution for plugin in self.records}
        absent = [path for path in self.expected if path not in loaded]
        if absent:
            nearest = (
                f"the run was made with a plugin file: give it first, kit {OPTION} {f' {OPTION} '.join(absent)} ..."
            )
        return f"no {kind} is called {name!r}: {nearest}{maybe}"

    def mark_broken(self, key: str, reason: str) -> None:
        """Record why a registered plugin can't be used."""
        self._records[key] = replace(self._records[key], error=reason)

    def _run(self, plugin: Plugin, hook: str, work: Callable[[], T]) -> T:
        """Run code of a plugin, as a call of a hook if it has a name; raise `Failed` if it fails.

        Only strangers are held on a leash, which takes time.
        """
        began, value = time.perf_counter(), None
        try:
            own = plugin.distribution == BUILT_IN
            value = work() if own else leashed(f"{plugin.name!a} of {plugin.distribution}", work)
            return value
        except Failed:
            raise
        except Exception as error:
            raise Failed(reason(error)) from None
        finally:
            took = 1000 * (time.perf_counter() - began)
            specs = len(value) if isinstance(value, list) else None
            if hook:
                self.calls.append(HookCall(hook, plugin.name, plugin.distribution, specs, took))


def _warn_of_older(plugin: Plugin) -> None:
    """Say on stderr, once a process, that a plugin is of the last contract; of several that train, one says it."""
    if is_last(plugin.contract) and os.environ.get("RANK", "0") == "0":
        print_text(
            f"warning: the {plugin.title} is written for contract {plugin.contract}: it works through a shim until "
            f"contract {CONTRACT + 1} (docs/plugins.md says what to change)",
            sys.stderr,
        )


def _without_entry_point(name: str) -> str:
    """Return the installed package of this name that should be a plugin's but is none; empty if there is none."""
    for each in (name, f"kit-{name}"):
        with contextlib.suppress(Exception):
            if each and not distribution(each).entry_points.select(group=hookspecs.NAME):
                return each
    return ""


def _plain(name: str) -> str:
    """Return a name as it is compared with those of packages: `kit-leaves` and `Leaves` are one."""
    return re.sub(r"[-_. ]+", "-", name.lower()).removeprefix("kit-")


def _key(plugin: Plugin) -> str:
    return f"{plugin.distribution}:{plugin.name}"


def _wrong_hook(name: str, function: Any) -> str:
    """Return why a function is no hook of this name, in some words; empty if it is one."""
    if not hasattr(function, MARK):
        return "has no @hookimpl above it"
    given = signature(getattr(hookspecs, name)).parameters
    odd = [
        each for each, one in signature(function).parameters.items() if one.default is one.empty and each not in given
    ]
    return f"takes {odd[0]!r}, which kit does not give: {', '.join(given) or 'nothing'}" if odd else ""


def _names_of(part: Any) -> list[str]:
    """Return the words that a command, or a group of them, adds to the command line; raise if it can't be built."""
    from typer import Typer
    from typer.main import get_group

    alone = Typer()
    (alone.registered_groups if hasattr(part, "typer_instance") else alone.registered_commands).append(part)
    return list(get_group(alone).commands)


def _wrong_command(names: list[str], owners: dict[str | None, str]) -> str:
    """Return why these words can't be added to the command line; empty if they can."""
    for name in names:
        if name in owners:
            return f"the command {name!r} is already provided by {owners[name]}"
        if wrong := wrong_name(name):
            return f"the command {name!a} {wrong}"
    return ""


def _built_in_first(implementation: pluggy.HookImpl) -> tuple[bool, str]:
    """Return a sort key with built-in plugins first: no distribution takes a built-in command by sorting before it."""
    return not implementation.plugin_name.startswith(f"{BUILT_IN}:"), implementation.plugin_name


def load_plugins() -> Plugins:
    """Load all installed plugins, and the plugin files that the person names (`kit.hooks.single_files`).

    `KIT_PLUGINS=a,b` keeps only these entry points or distributions of the third-party plugins.
    """
    plugins = Plugins()
    for module in BUILT_IN_MODULES:
        name = module.removeprefix("kit_").replace("_", "-")
        plugins.load(partial(_beside_kit, module), Plugin(name, kit.__version__, BUILT_IN))
    wanted = os.environ.get("KIT_PLUGINS")
    chosen = None if wanted is None else {name.strip() for name in wanted.split(",")} - {""}
    for find, plugin in _strangers():
        if chosen is None or plugin.name in chosen or plugin.distribution in chosen:
            plugins.load(find, plugin)
    for path in single_files.named():
        plugins.load(partial(single_files.load, path), Plugin(path.stem, FILE, str(path)))
    return plugins


def _beside_kit(name: str) -> object:
    """Import a built-in plugin; raise if another package of its name comes first."""
    found = find_spec(name)
    place = Path(found.origin).resolve().parents[1] if found is not None and found.origin else None
    if place is not None and place not in (HOME, HOME / "plugins", HOME / "competitions"):
        raise ImportError(f"{place} has another package of this name, which comes first: remove it")
    return import_module(name)


def _strangers() -> Iterator[tuple[Callable[[], object], Plugin]]:
    """Yield the third-party plugins, each with the function that imports it."""
    try:
        found = [*entry_points(group=hookspecs.NAME)]
    except Exception:
        # One package whose entry points can't be read hides those of all others.
        found, seen = [], set()
        for each in distributions():
            version, name = _identity(each)
            if name in seen:
                continue
            seen.add(name)
            try:
                found += each.entry_points.select(group=hookspecs.NAME)
            except Exception as error:
                text = f"its entry_points.txt can't be read ({reason(error)})"
                yield partial(_refuse, text), Plugin("entry_points.txt", version, name)
    for entry_point in found:
        if entry_point.value.split(":")[0].split(".")[0].strip() not in BUILT_IN_MODULES:
            yield partial(_named_by, entry_point), Plugin(entry_point.name, *_identity(entry_point.dist))


def _named_by(entry_point: EntryPoint) -> object:
    """Import what an entry point names."""
    try:
        return entry_point.load()
    except (ModuleNotFoundError, AttributeError) as error:
        if has_foreign_frame(error):
            raise  # it is there, and fails itself
        named = f"{entry_point.name} = {entry_point.value}"
        raise Failed(
            f"its entry point {named!r} names nothing ({reason(error)}): correct it, install it again"
        ) from None


def _refuse(text: str) -> object:
    raise ImportError(text)


def _identity(distribution: Distribution | None) -> tuple[str, str]:
    """Return version and name of a distribution; the name has its folder added if it is kit's own."""
    try:
        name, version = (distribution.name, distribution.version) if distribution is not None else ("unknown", "")
        name = str(name or "unknown")
        if distribution is not None and re.sub(r"[-_.]+", "-", name).lower() == BUILT_IN:
            name = f"{name} in {distribution.locate_file('')}"
        return str(version), name
    except Exception:
        return "", "unknown"
