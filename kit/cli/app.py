"""The `kit` command: collect the sub-commands, print errors as one line."""

import atexit
import contextlib
import errno
import os
import signal
import sys
import traceback
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from typer.main import get_command

from kit import __version__
from kit.cli import (
    adapt,
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
    new,
    pack,
    plugins,
    predict,
    pseudo_label,
    report,
    runs,
    submissions,
    submit,
    test_plugin,
    thresholds,
    train,
    verify,
)
from kit.cli.context import share, shared_registry, typed
from kit.cli.process import Signals, drop, reader_gone, ready_streams
from kit.console import json_text, print_error, print_text, writing
from kit.errors import BAD_INPUT, DISK, INTERRUPTED, Ended, KitError, out_of_memory, too_little_memory
from kit.files import FULL
from kit.hooks import single_files
from kit.hooks.leash import left_running
from kit.hooks.manager import Plugins, load_plugins
from kit.hooks.registry import Registry

COMMANDS = {
    "list": list_,
    "info": info,
    "adapt": adapt,
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
    "new": new,
    "plugins": plugins,
    "test-plugin": test_plugin,
}


def _version(wanted: bool) -> None:
    if wanted:
        print_text(f"kit {__version__}", sys.stdout)
        raise typer.Exit


def _callback(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show an error's traceback; allowed anywhere on the line.")
    ] = False,
    plugin: Annotated[
        list[str] | None,
        typer.Option(
            "--plugin", metavar="FILE.py", help="Load a plugin that is one file; first on the line, repeatable."
        ),
    ] = None,
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
    if plugin:  # `_run` has taken those in front
        raise KitError("--plugin stands behind another option: give it first, kit --plugin FILE.py ...")
    if context.invoked_subcommand is None:
        print_text(context.get_help(), sys.stdout)


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
        app.command(name, context_settings=getattr(module, "SETTINGS", None))(module.command)
    plugins.add_commands(app)
    return app


def main(arguments: list[str] | None = None) -> None:
    """Run one command and exit with its status; see `kit.errors` for the codes."""
    # Threads that spin while waiting make torch eight times slower beside any other busy process.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    ready_streams()
    with Signals() as signals:
        try:
            code = _run([word for word in arguments if word != "--debug"])
            with writing(sys.stdout):
                sys.stdout.flush()
            if signals.unanswered is not None:
                raise signals.unanswered
        except SystemExit:
            drop(sys.stdout)
            raise
        except BaseException as error:
            told = _judged(error, signals)
            if told is None or ("--debug" in arguments and told.message):
                # Python ends with 1 after a traceback; this ends with the status of the error.
                sys.excepthook = partial(_show, told, arguments)
                raise
            code = _tell(told, arguments)
    drop(sys.stderr)
    if left_running():
        atexit._run_exitfuncs()
        os._exit(code)
    sys.exit(code)


def _run(words: list[str]) -> int:
    """Run one command; return its status."""
    files, words = single_files.split_off(words)
    with single_files.also(files):
        plugins = load_plugins()
        broken = [
            plugin for plugin in plugins.records if plugin.error and plugin.distribution in map(os.path.abspath, files)
        ]
        if broken and words[:1] != ["plugins"]:
            raise KitError(f"the plugin file {broken[0].distribution} can't be used: {broken[0].error}")
        return _run_with(plugins, words)


def _run_with(plugins: Plugins, words: list[str]) -> int:
    share(Registry(plugins), words, _run)
    # Not by typer's own `main`, which turns an EOFError or Ctrl-C into something that hides its cause.
    command = get_command(make_app(plugins))
    try:
        with command.make_context("kit", words) as context:
            status = command.invoke(context)
    except typer.Exit as end:
        status = end.exit_code
    return status if isinstance(status, int) else 0


# What takes less memory where a command has no --batch-size and no --size.
_OTHER_RUN = "take a run of a smaller --size or --model"
SMALLER = {
    "lr-find": "give a smaller --set batch_size=... or --set size=...",
    **dict.fromkeys(("predict", "evaluate", "gradcam"), _OTHER_RUN),
}


@dataclass(frozen=True)
class Told:
    """How an error is told: in one line, with the exit status and several ways to mend it; by default as a fault."""

    message: str
    code: int = 1
    ways: tuple[str, ...] = ()


def _judged(error: BaseException, signals: Signals) -> Told | None:
    """Return how an error is told; None for a fault of kit, which needs its traceback."""
    ended = signals.unanswered
    if isinstance(error, KitError):
        if ended is None or error.code == INTERRUPTED:
            return Told(str(error), ended.code if ended is not None else error.code, error.ways)
    elif ended is None and isinstance(error, KeyboardInterrupt):
        ended = Ended(signal.SIGINT)
    if ended is not None:
        return Told("interrupted" if ended.code == INTERRUPTED else f"ended by {ended.name}", ended.code)
    if isinstance(error, typer.Abort):
        return Told("interrupted", INTERRUPTED)
    if isinstance(error, OSError):
        return _judged_os(error)
    if full := too_little_memory(error):
        mended = out_of_memory(full, *filter(None, [SMALLER.get(next(iter(typed()), ""))]))
        return Told(str(mended), mended.code)
    file = path_near(error)
    told = {
        EOFError: Told(
            f"{file or 'a file'} ends too early ({error}): restore it, or remove it if kit made it", BAD_INPUT
        ),
        RecursionError: Told(f"{file or 'a file'} is nested too deeply: correct it", BAD_INPUT),
        UnicodeEncodeError: Told(
            f"the system's encoding can't hold {getattr(error, 'object', '')!a}: set PYTHONUTF8=1", BAD_INPUT
        ),
    }
    for kind, found in told.items():
        if isinstance(error, kind):
            return found
    # typer's errors about wrong options format themselves.
    say, context = getattr(error, "format_message", None), getattr(error, "ctx", None)
    if say is None:
        foreign = shared.plugins.behind(error) if (shared := shared_registry()) is not None else None
        return None if foreign is None else Told(str(foreign), foreign.code)
    if getattr(error, "option_name", "") == single_files.OPTION:
        return Told(
            f"{single_files.OPTION} stands before the command: kit {single_files.OPTION} FILE.py ...", BAD_INPUT
        )
    hint = f"({context.command_path if context else 'kit'} --help lists what it takes)"
    return Told(f"{say()} {hint}", getattr(error, "exit_code", BAD_INPUT))


def _judged_os(error: OSError) -> Told:
    """Return how an error of the system is told, with the path that it is about where that is known."""
    if isinstance(error, BrokenPipeError) and reader_gone():
        # There is nobody left to tell; 141 is what a shell gives for a tool that SIGPIPE ends.
        return Told("", 141)
    mend = "free some space there" if error.errno in FULL else "check that path and its permissions"
    near = None if error.filename is not None else path_near(error)
    if error.filename is None and error.errno == errno.ENOENT and not _has_folder():
        return Told("the current folder is gone: cd to another one", DISK)
    return Told(f"{near}: {error.strerror or error}: {mend}" if near is not None else f"{error}: {mend}", DISK)


def _has_folder() -> bool:
    try:
        os.getcwd()
    except OSError:
        return False
    return True


def path_near(error: BaseException) -> Path | None:
    """Return the path that the code was at work on when it failed: the innermost local variable that holds one."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    for frame in reversed(frames):
        for value in frame.f_locals.values():
            if isinstance(value, Path):
                return value
    return None


def _tell(told: Told, arguments: list[str]) -> int:
    """Print an error; return the exit status."""
    if told.message:
        print_error(told.message, told.ways)
        if "--json" in arguments:
            document = {"error": told.message, "code": told.code, **({"ways": told.ways} if told.ways else {})}
            with contextlib.suppress(OSError, KitError):
                print_text(json_text(document, None), sys.stdout)
    drop(sys.stdout)
    return told.code


def _show(told: Told | None, arguments: list[str], kind: type, error: BaseException, trace: object) -> None:
    """Print an error with its traceback, and end with its status."""
    print_text("".join(traceback.format_exception(error)).rstrip(), sys.stderr)
    code = 1 if told is None else _tell(told, arguments)
    drop(sys.stdout)
    drop(sys.stderr)
    raise SystemExit(code)
