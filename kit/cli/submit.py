"""`kit submit`."""

from typing import TYPE_CHECKING, Annotated

import typer

from kit.cli.options import Json

if TYPE_CHECKING:
    from kit.plugin.registry import Registry
    from kit.run import Run


def command(
    target: Annotated[
        str | None, typer.Argument(metavar="[RUN|COMPETITION]", help="By default the newest run with predictions.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Write and check the csv, send nothing.")] = False,
    json: Json = False,
) -> None:
    """Write submission.csv and check it against the sample submission.

    \b
    Example:
        kit submit --dry-run
        kit submit histo --dry-run
    """
    from kit.console import Console
    from kit.errors import KitError
    from kit.inference.submit import write_submission
    from kit.plugin.registry import Registry

    console, registry = Console(json), Registry()
    run = _find(registry, target)
    if not dry_run and run.record["origin"] == "sample":
        raise KitError(f"run {run.id} was trained on a sample, which is never sent: kit submit {run.id} --dry-run")
    path, findings = write_submission(registry, run)
    errors = [finding for finding in findings if finding.level == "error"]
    for finding in findings:
        console.say(f"{finding.level}: {finding.text}")
    if not errors and not dry_run:
        url = registry.competitions.get(run.config.competition).url
        raise KitError(f"this version of kit does not send: {path} is checked, upload it at {url}/submit")
    console.say(f"{path}: {'not fit to be sent' if errors else 'checked, fit to be sent'}")
    console.result(
        {
            "run": run.id,
            "path": path,
            "valid": not errors,
            "findings": [{"level": finding.level, "text": finding.text} for finding in findings],
            "sent": False,
        }
    )
    if errors:
        raise typer.Exit(2)


def _find(registry: "Registry", target: str | None) -> "Run":
    """The run that is meant: by name, by its competition (the newest), or the newest of all."""
    from kit.errors import KitError
    from kit.run import find_run

    try:
        competition = None if target is None else registry.competitions.get(target).name
    except KitError:
        return find_run(target)

    def suits(run: "Run") -> bool:
        return run.has("test.npz") and competition in (None, run.config.competition)

    return find_run(None, suits, "with predictions" + (f" of {competition}" if competition else ""))
