"""The plugins, loaded once per call and shared by its commands."""

from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kit.hooks.registry import Registry

_registry: ContextVar["Registry"] = ContextVar("registry")


def share_registry(registry: "Registry") -> None:
    """Keep the specs of the loaded plugins for the command that follows (`kit.cli.app.main`)."""
    _registry.set(registry)


def current_registry() -> "Registry":
    """Return the specs of the plugins loaded by `kit.cli.app.main`."""
    return _registry.get()


def shared_registry() -> "Registry | None":
    """Return the same; None before the plugins are loaded."""
    return _registry.get(None)
