"""Functions that are imported when they are first called, so that a plugin's top stays light."""

from collections.abc import Callable
from functools import cache
from importlib import import_module
from typing import Any


def lazy(reference: str) -> Callable[..., Any]:
    """Return a function that stands for `module:function`, in the notation of entry points.

    The module is imported at the first call. `kit.testing.check_plugin` finds references that lead nowhere.
    """
    module, _, name = reference.partition(":")

    @cache
    def found() -> Callable[..., Any]:
        function: Callable[..., Any] = getattr(import_module(module), name)
        return function

    def call(*arguments: Any, **options: Any) -> Any:
        return found()(*arguments, **options)

    call.__name__ = call.__qualname__ = name
    call.resolve = found  # type: ignore[attr-defined]
    return call
