"""What is checked: a plugin, and each spec that it gives, with all that its checks share."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from kit.errors import KitError, nearest
from kit.hooks.manager import BUILT_IN, HOOKS, Plugin, Plugins
from kit.hooks.registry import Registry

HOOK_OF = {
    "competition": "kit_competitions",
    "dataset": "kit_datasets",
    "submission": "kit_submissions",
    "metric": "kit_metrics",
    "model": "kit_models",
    "head": "kit_heads",
    "loss": "kit_losses",
    "optimizer": "kit_optimizers",
    "augmentation": "kit_augmentations",
    "tracker": "kit_trackers",
}
SEVERAL = {"dataset": ("miniature", "dataset")}  # kinds of checks of one spec; otherwise one, of the same name


@dataclass
class Subject:
    """One thing to check, and what its checks share.

    Args:
        kind: of the checks that are made.
        name: of the spec, or of the plugin.
        spec: as the plugin gave it; None for the plugin itself.
        plugin: its record.
        module: its module.
        registry: all plugins, with this one.
        folder: an empty folder for everything that is written; removed afterwards.
        kept: what was made for one check and serves the next, by name.
    """

    kind: str
    name: str
    spec: Any
    plugin: Plugin
    module: Any
    registry: Registry
    folder: Path
    kept: dict[str, Any] = field(default_factory=dict)

    def own(self, kind: str) -> list[Any]:
        """Return the specs of a kind that the plugin gives."""
        return specs_of(self.module, kind)


def specs_of(module: Any, kind: str) -> list[Any]:
    """Return the specs of a kind that a plugin's module gives, as it gives them; none if its hook is broken."""
    hook = getattr(module, HOOK_OF[kind], None)
    try:
        found = hook() if callable(hook) else []
    except Exception:  # the checks of the package say what is wrong with it
        return []
    return [spec for spec in found if hasattr(spec, "name")] if isinstance(found, list) else []


def subjects_of(plugin: Plugin, registry: Registry, folder: Path) -> Iterator[Subject]:
    """Yield all that is to be checked of a plugin; of one that can't be loaded, the package alone."""
    module = registry.plugins.module_of(plugin)
    kept: dict[str, Any] = {}
    yield Subject("package", plugin.name, None, plugin, module, registry, folder, kept)
    if module is None:
        return
    if callable(getattr(module, "kit_commands", None)):
        yield Subject("command", plugin.name, None, plugin, module, registry, folder, kept)
    for kind in HOOK_OF:
        for spec in specs_of(module, kind):
            for each in SEVERAL.get(kind, (kind,)):
                yield Subject(each, spec.name, spec, plugin, module, registry, folder, kept)


def find_plugins(name: str | ModuleType | None, registry: Registry) -> list[Plugin]:
    """Return the plugins that a name means; by default all that are not built in.

    A name is that of an entry point, of a distribution (each of its plugins), of a module (which need not be
    installed) or of a competition (the plugin that gives it). A module stands for itself.

    Raises:
        KitError: nothing has this name.
    """
    plugins = registry.plugins
    if name is None:
        return [plugin for plugin in plugins.records if plugin.distribution != BUILT_IN]
    if not isinstance(name, str):
        return [_of_module(name, plugins)]
    records = plugins.records
    for key in (_entry_point, _distribution, lambda plugin: _module_name(plugin, plugins)):
        found = [plugin for plugin in records if key(plugin) == _plain(name)]
        if found:
            return found
    for plugin in records:
        for competition in specs_of(plugins.module_of(plugin), "competition"):
            if name in (competition.name, competition.slug, *competition.aliases):
                return [plugin]
    if _gives_hooks(name):
        return [_of_module(import_module(name), plugins)]
    known = sorted({plugin.name for plugin in records} | {spec.name for spec in registry.competitions})
    raise KitError(registry.plugins.unknown("plugin", name, nearest(name, known)))


def _gives_hooks(name: str) -> bool:
    """Whether a name is that of a module that can be imported and has hooks."""
    if not re.fullmatch(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*", name):
        return False
    try:
        module = import_module(name)
    except ModuleNotFoundError as error:
        if error.name not in (name, name.partition(".")[0]):
            raise
        return False
    return any(hasattr(module, hook) for hook in HOOKS)


def _of_module(module: Any, plugins: Plugins) -> Plugin:
    """Return the record of a module, which is registered if it is not yet."""
    for plugin in plugins.records:
        if plugins.module_of(plugin) is module:
            return plugin
    name = module.__name__
    plugins.add(module, name, f"{name} under test", "")
    return next(plugin for plugin in plugins.records if (plugin.name, plugin.version) == (name, ""))


def _plain(name: str) -> str:
    return re.sub(r"[-_. ]+", "-", name.lower())


def _entry_point(plugin: Plugin) -> str:
    return _plain(plugin.name)


def _distribution(plugin: Plugin) -> str:
    return "" if plugin.distribution == BUILT_IN else _plain(plugin.distribution)


def _module_name(plugin: Plugin, plugins: Plugins) -> str:
    return _plain(getattr(plugins.module_of(plugin), "__name__", ""))
