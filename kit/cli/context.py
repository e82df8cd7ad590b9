"""What the commands of one call share: the plugins, loaded once, and the words that were typed."""

from collections.abc import Sequence
from contextvars import ContextVar

from kit.hooks import registry as registries
from kit.hooks.registry import Registry

_words: ContextVar[Sequence[str]] = ContextVar("words", default=())


def share(registry: Registry, words: Sequence[str]) -> None:
    """Keep the specs of the loaded plugins, and the words after `kit`, for the command (`kit.cli.app.main`)."""
    registries.share(registry)
    _words.set(words)


def current_registry() -> Registry:
    """Return the specs of the plugins loaded by `kit.cli.app.main`."""
    return registries.installed()


def shared_registry() -> Registry | None:
    """Return the same; None before the plugins are loaded."""
    return registries.shared()


def typed() -> Sequence[str]:
    """Return the words that were typed after `kit`."""
    return _words.get()


def need_card() -> None:
    """Raise `KitError` if there is a GPU that can't compute.

    What runs a network begins with this: a card that fails is named before data is read.
    """
    from kit.model import preflight

    preflight.need_card(typed())
