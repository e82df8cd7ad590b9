"""What the commands of one call share: the plugins, loaded once."""

from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kit.hooks.registry import Registry

_registry: ContextVar["Registry"] = ContextVar("registry")


def share_registry(registry: "Registry") -> None:
    """Keep the specs of the loaded plugins for the command that follows (`kit.cli.app.main`)."""
    _registry.set(registry)


def current_registry() -> "Registry":
    """The specs of the plugins that `kit.cli.app.main` has loaded."""
    return _registry.get()
