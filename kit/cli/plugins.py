"""`kit plugins`: list the installed plugins, and why some are broken; with `--trace`, see what they do."""

import contextlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kit.cli.options import Json

if TYPE_CHECKING:
    from kit.hooks.trace import FunctionCalls, HookCall

SETTINGS = {"allow_interspersed_args": False}


def command(
    line: Annotated[list[str] | None, typer.Argument(metavar="COMMAND", help="The command to trace.")] = None,
    trace: Annotated[
        bool, typer.Option("--trace", help="Run COMMAND, then list each call of a hook and of a plugin's functions.")
    ] = False,
    json: Json = False,
) -> None:
    """List the plugins, their hooks, and what is broken and why.

    Names that two plugins provide are listed as clashes. KIT_PLUGINS=a,b loads only those third-party plugins;
    KIT_PLUGINS= loads none. A plugin that is one file (kit --plugin FILE.py) is listed with its path. --trace prints
    below the command's own output, on stderr where that is JSON; with --json in front, the command prints on stderr.

    \b
    Example:
        kit plugins
        KIT_PLUGINS= kit plugins --json
        kit plugins --trace check histo
    """
    from kit.errors import KitError

    if trace and line:
        _trace(line, json)
    elif trace or line:
        raise KitError(
            "--trace needs a command: kit plugins --trace check histo"
            if trace
            else "kit plugins takes a command with --trace only: kit plugins --trace COMMAND..."
        )
    else:
        _list(json)


def _list(json: bool) -> None:
    from kit.cli.context import current_registry
    from kit.console import Console
    from kit.hooks.manager import BUILT_IN

    console = Console(json)
    registry = current_registry()
    plugins, clashes = registry.problems()
    console.table(
        "",
        ("name", "distribution", "version", "hooks"),
        [(p.name, p.distribution, p.version, ", ".join(p.hooks) if p.error is None else "BROKEN") for p in plugins],
    )
    for plugin in plugins:
        if plugin.error is not None:
            console.say(f"broken: {plugin.name} of {plugin.distribution} {plugin.version}: {plugin.error}")
    for clash in clashes:
        console.say(f"clash: {clash}")
    first = registry.before_kit()
    for clash in first:
        own = [each for each in clash.distributions if not each.startswith(f"{BUILT_IN} ")]
        console.say(f"before kit's own: {clash.kind} {clash.name!r} of {' and '.join(own)}")
    console.result(
        {
            "plugins": [vars(plugin) for plugin in plugins],
            "clashes": [vars(clash) for clash in clashes],
            "before_kit": [vars(clash) for clash in first],
        }
    )


def _trace(line: list[str], json: bool) -> None:
    """Run a command line; then tell what its plugins did, also when it failed."""
    from kit.cli.context import current_registry, run_line
    from kit.hooks.trace import tracing

    imports = [call for call in current_registry().plugins.calls if call.hook == "import"]
    with tracing() as trace:
        try:
            with contextlib.redirect_stdout(sys.stderr) if json else contextlib.nullcontext():
                status = run_line(line)
        finally:
            hooks = [call for call in current_registry().plugins.calls if call.hook != "import"]
            _tell([*imports, *hooks], trace.functions(), json, aside="--json" in line)
    raise typer.Exit(status)


def _tell(hooks: "list[HookCall]", functions: "list[FunctionCalls]", json: bool, aside: bool) -> None:
    from kit.console import Console

    console = Console(json)
    with contextlib.redirect_stdout(sys.stderr) if aside and not json else contextlib.nullcontext():
        console.table(
            f"calls of hooks: {len(hooks)}, {sum(call.milliseconds for call in hooks):,.0f} ms",
            ("hook", "answered by", "specs", "ms"),
            [(call.hook, _by(call), call.specs, round(call.milliseconds, 1)) for call in hooks],
        )
        if functions:
            console.table(
                f"calls of their functions: {sum(each.calls for each in functions):,}",
                ("function", "of", "plugin", "calls", "ms"),
                [
                    (each.function, each.spec, _short(each.plugin), each.calls, round(each.milliseconds, 1))
                    for each in functions
                ],
            )
    console.result({"hooks": [vars(call) for call in hooks], "functions": [vars(each) for each in functions]})


def _by(call: "HookCall") -> str:
    return f"{call.plugin} of {Path(call.distribution).name}" if call.plugin else "nobody"


def _short(plugin: str) -> str:
    """Return the plugin's own name: `plugin leaves of kit-leaves` -> `leaves`."""
    return plugin.removeprefix("plugin ").partition(" of ")[0]
