"""The `kit` command: collect the sub-commands, print errors as one line."""

import errno
import json
import os
import sys
from typing import Annotated

import typer

from kit import __version__
from kit.cli import (
    bench,
    blend,
    check,
    config,
    download,
    evaluate,
    explore,
    folds,
    gradcam,
    grade,
    info,
    join,
    list_,
    log,
    lr_find,
    models,
    pack,
    plugins,
    predict,
    pseudo_label,
    report,
    runs,
    submissions,
    submit,
    thresholds,
    train,
    verify,
)
from kit.cli.context import share_registry
from kit.errors import DISK, INTERRUPTED, KitError
from kit.hooks.manager import Plugins, load_plugins
from kit.hooks.registry import Registry

COMMANDS = {
    "list": list_,
    "info": info,
    "download": download,
    "check": check,
    "explore": explore,
    "folds": folds,
    "pack": pack,
    "bench": bench,
    "lr-find": lr_find,
    "train": train,
    "evaluate": evaluate,
    "thresholds": thresholds,
    "gradcam": gradcam,
    "predict": predict,
    "blend": blend,
    "join": join,
    "pseudo-label": pseudo_label,
    "submit": submit,
    "submissions": submissions,
    "grade": grade,
    "report": report,
    "verify": verify,
    "runs": runs,
    "log": log,
    "models": models,
    "config": config,
    "plugins": plugins,
}


def _version(wanted: bool) -> None:
    if wanted:
        print(f"kit {__version__}")
        raise typer.Exit


def _callback(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show an error's traceback; allowed anywhere on the line.")
    ] = False,
) -> None:
    """Run image competitions from the command line, from download to submission.

    \b
    Example: all steps on a synthetic miniature
        kit download histo --miniature
        kit check histo
        kit train histo --folds 3
        kit predict
        kit submit --dry-run
    """
    if context.invoked_subcommand is None:
        print(context.get_help())


def make_app(plugins: Plugins) -> typer.Typer:
    """Build the command line from the built-in commands and those of `plugins`."""
    app = typer.Typer(
        callback=_callback,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        invoke_without_command=True,
        add_completion=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    for name, module in COMMANDS.items():
        app.command(name)(module.command)
    plugins.add_commands(app)
    return app


def main(arguments: list[str] | None = None) -> None:
    """Run one command and exit with its status; see `kit.errors` for the codes."""
    # Threads that spin while waiting make torch eight times slower beside any other busy process.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in arguments
    ways: tuple[str, ...] = ()
    try:
        plugins = load_plugins()
        share_registry(Registry(plugins))
        words = [word for word in arguments if word != "--debug"]
        status = make_app(plugins)(args=words, prog_name="kit", standalone_mode=False)
        sys.exit(status if isinstance(status, int) else 0)
    except KitError as error:
        message, code, ways = str(error), error.code, error.ways
        if debug:
            raise
    except BrokenPipeError:
        # The reader of our output (head, less) has closed it; there is nothing left to say.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    except OSError as error:
        mend = {errno.ENOSPC: "free some space there", errno.EDQUOT: "free some space there"}.get(
            error.errno or 0, "check that path and its permissions"
        )
        message, code = f"{error}: {mend}", DISK
        if debug:
            raise
    except (KeyboardInterrupt, typer.Abort):
        message, code = "interrupted", INTERRUPTED
    except Exception as error:
        # typer's errors about wrong options format themselves; anything else is a fault of kit or of a plugin.
        say, code = getattr(error, "format_message", None), getattr(error, "exit_code", 1)
        if say is None:
            raise
        context = getattr(error, "ctx", None)
        message = f"{say()} ({context.command_path if context else 'kit'} --help lists what it takes)"
    print(f"error: {message}", *(f"  {number}. {way}" for number, way in enumerate(ways, 1)), sep="\n", file=sys.stderr)
    if "--json" in arguments:
        print(json.dumps({"error": message, "code": code, **({"ways": ways} if ways else {})}))
    sys.exit(code)
