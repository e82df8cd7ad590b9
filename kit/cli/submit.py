"""`kit submit`: write, check and send a submission."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kit.cli.options import Json, Postprocess
from kit.errors import INTERRUPTED, KitError

if TYPE_CHECKING:
    from kit.console import Console
    from kit.hooks.registry import Registry
    from kit.kaggle.client import Kaggle
    from kit.kaggle.submissions import Submission
    from kit.kaggle.submit import Sent
    from kit.run import Run
    from kit.submission.write import CheckedCsv


def command(
    target: Annotated[str | None, typer.Argument(metavar="RUN|COMPETITION", help="By default the newest run.")] = None,
    message: Annotated[
        str | None, typer.Option("-m", "--message", metavar="TEXT", help="Description; by default run and score.")
    ] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until Kaggle has scored it and show the score.")] = False,
    file: Annotated[
        Path | None, typer.Option("--file", metavar="FILE.csv", help="Send this csv instead of a run's predictions.")
    ] = None,
    predictions: Annotated[
        Path | None,
        typer.Option("--predictions", metavar="FILE", help="Use what kit predict --out wrote, not what is in the run."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Write the csv there, not into the run; send nothing.")
    ] = None,
    postprocess: Postprocess = False,
    yes: Annotated[
        bool, typer.Option("--yes", help="Send without asking, as the last of the day or the same bytes again.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Write and check the csv but send nothing.")] = False,
    json: Json = False,
) -> None:
    """Write submission.csv, check it and send it to Kaggle.

    It is checked against the sample submission. A csv that fails the check is never sent, nor are the predictions of a
    run trained on a miniature.

    \b
    Example:
        kit submit --dry-run
        kit submit histo --wait -m "larger images"
        kit submit histo --file blend.csv
        kit submit recursion --postprocess --dry-run
        kit submit --out submission.csv
    """
    from kit.cli.context import current_registry
    from kit.console import Console

    console, registry = Console(json), current_registry()
    if file is not None and (out or predictions):
        raise KitError("--file is a csv that is ready: drop it, or drop --out and --predictions")
    if out is not None and (wait or message):
        raise KitError("--out sends nothing: drop --wait and --message, or drop --out")
    dry_run = dry_run or out is not None
    if file is not None:
        csv = _given(registry, target, file, dry_run)
    else:
        csv = _written(registry, target, dry_run, postprocess, out, predictions)
    document: dict[str, Any] = {
        "run": csv.run.id if csv.run else None,
        "path": csv.path,
        "valid": csv.valid,
        "findings": [{"level": finding.level, "text": finding.text} for finding in csv.findings],
        "sent": False,
        **dict.fromkeys(("ref", "status", "public", "private", "cross_validated", "left_today", "late", "error")),
    }
    if csv.run is not None:
        document["cross_validated"] = csv.run.score
    for finding in csv.findings:
        console.say(f"{finding.level}: {finding.text}")
    if dry_run or not csv.valid:
        console.say(f"{csv.path}: {'checked, ready to send' if csv.valid else 'not ready to send'}")
        console.result(document)
        raise typer.Exit(0 if csv.valid else 2)
    if csv.competition.kaggle != "competition":
        name, graded = csv.competition.name, registry.submissions.get(csv.competition.submission).grade is not None
        following = f"   next: kit grade {name} --truth FILE" if graded else ""
        console.say(f"{csv.path}: checked; {name} has no Kaggle competition to send it to{following}")
        console.result(document)
        return
    from kit.kaggle.client import Kaggle
    from kit.kaggle.submit import send

    with Kaggle(csv.competition, console) as kaggle:
        sent = send(kaggle, csv, _message(csv, message), lambda text: _agree(text, yes), console)
        submission = _score(kaggle, csv, sent, console) if wait else sent.submission
    if not wait:
        console.say(f"kit submissions {csv.competition.name} shows the score")
    shown = {name: getattr(submission, name) for name in ("ref", "status", "public", "private")}
    error = submission.error or None
    console.result({**document, "sent": True, **shown, "left_today": sent.left, "late": sent.late, "error": error})
    if submission.status == "ERROR":
        raise typer.Exit(2)


def _given(registry: "Registry", target: str | None, file: Path, dry_run: bool) -> "CheckedCsv":
    """Return the person's csv, checked; refuse to send one that was checked against a miniature."""
    from kit.submission.write import check_file

    if target is None:
        raise KitError(f"--file needs the competition: kit submit COMPETITION --file {file} (kit list names them)")
    csv = check_file(registry, _competition(registry, target) or _find(registry, target).config.competition, file)
    if csv.origin == "miniature" and not dry_run and csv.competition.kaggle == "competition":
        raise KitError(
            f"{file} could only be checked against a miniature, so it is not sent: "
            f"kit download {csv.competition.name} --force downloads the real data"
        )
    return csv


def _written(
    registry: "Registry",
    target: str | None,
    dry_run: bool,
    postprocess: bool,
    out: Path | None,
    predictions: Path | None,
) -> "CheckedCsv":
    """Return the csv of a run's predictions, checked; refuse to send one made from a miniature."""
    from kit.submission.write import write_submission

    if predictions is not None and not predictions.is_file():
        raise KitError(f"no predictions at {predictions}: kit predict RUN --out {predictions} writes them")
    run = _find(registry, target)
    on_kaggle = registry.competitions.get(run.config.competition).kaggle == "competition"
    if not dry_run and run.record["origin"] == "miniature" and on_kaggle:
        raise KitError(f"run {run.id} was trained on a miniature, which is never sent: kit submit {run.id} --dry-run")
    return write_submission(registry, run, postprocess, out, predictions)


def _competition(registry: "Registry", target: str) -> str | None:
    """Return the name of the competition that `target` refers to, if any."""
    try:
        name: str = registry.competitions.get(target).name
    except KitError:
        return None
    return name


def _find(registry: "Registry", target: str | None) -> "Run":
    """Find the run by its name, or the newest of a competition, or the newest of all."""
    from kit.runs import find_run

    competition = None if target is None else _competition(registry, target)
    if target is not None and competition is None:
        return find_run(target)

    return find_run(None, "test.npz", competition)


def _message(csv: "CheckedCsv", given: str | None) -> str:
    if given is not None:
        return given
    if csv.run is None:
        return csv.path.name
    score = csv.run.score or {}
    promise = f", cross-validated {score['metric']} {score['value']:.4f}" if score.get("value") is not None else ""
    return f"{csv.run.id}, {csv.run.config.model}{promise}"


def _agree(text: str, yes: bool) -> None:
    """Ask before sending all the same; raise `KitError` on no, or where nobody can be asked."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise KitError(f"nothing was sent: {text}; repeat the command with --yes to send it all the same")
    if not typer.confirm(f"{text}: send it?", err=True):
        raise KitError("nothing was sent: repeat the command with --yes to send it")


def _score(kaggle: "Kaggle", csv: "CheckedCsv", sent: "Sent", console: "Console") -> "Submission":
    """Wait for the score, enter it into the run's record and show it beside the cross-validated one."""
    from kit.kaggle.submissions import enter, wait_for_score

    ref, name = sent.submission.ref, csv.competition.name
    try:
        scored = wait_for_score(kaggle, ref, console)
    except KeyboardInterrupt:
        raise KitError(f"interrupted, but sent as {ref}: kit submissions {name} shows the score", INTERRUPTED) from None
    if csv.run is not None:
        enter(csv.run, scored, sent.digest)
    if scored.status == "ERROR":
        console.say(f"error: Kaggle can't score submission {ref}: {scored.error or 'it gives no reason'}")
        return scored
    own = (csv.run.score if csv.run else None) or {}
    late = ", late (not ranked)" if sent.late else ""
    rows: list[tuple[str, str, str]] = []
    if own.get("value") is not None:
        interval = "" if own["low"] is None else f"{own['low']:.4f} to {own['high']:.4f}"
        rows.append(("cross-validated", f"{own['value']:.4f}", interval))
    for label, value in (("public", scored.public), ("private", scored.private)):
        if value is not None:
            rows.append((label + late, f"{value:.5g}", ""))
    console.table("", [csv.competition.metric, "score", "95 % interval"], rows)
    return scored
