"""Functions imported at their first call, which keep the top level of a plugin light."""

from collections.abc import Callable
from functools import cache
from importlib import import_module
from typing import Any


def lazy(reference: str) -> Callable[..., Any]:
    """Return a stand-in for the function `module:function`, written like an entry point.

    The first call imports the module. `kit.testing.check_plugin` finds references that lead nowhere.
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
