"""Write and check a competition's csv before anyone sees it: a run's predictions, or a file of any origin."""

import contextlib
from dataclasses import dataclass, replace
from pathlib import Path

from kit.data.open_run import OpenRun
from kit.data.store import Store
from kit.decision.apply import with_rule
from kit.decision.tune import has_rule
from kit.errors import KitError
from kit.files import atomic, need_writable, sha256
from kit.hooks.foreign import faulty
from kit.hooks.registry import Registry
from kit.hooks.specs import Competition, Finding
from kit.run import Run
from kit.runs import all_runs, step_to
from kit.scoring.predictions import Predictions, need_sound
from kit.task import ORDINAL


@dataclass(frozen=True)
class CheckedCsv:
    """A csv and the findings of its check.

    Args:
        competition: the one that it is for.
        path: of the csv.
        findings: of the check; a csv with an `error` must not be sent.
        run: the run whose submission.csv has these bytes; None if there is none.
        origin: of the data that it was checked against (or its run was trained on); None if unknown.
    """

    competition: Competition
    path: Path
    findings: list[Finding]
    run: Run | None
    origin: str | None

    @property
    def valid(self) -> bool:
        """Whether it may be sent."""
        return not any(finding.level == "error" for finding in self.findings)


def postprocessed(opened: OpenRun, predictions: Predictions) -> Predictions:
    """Apply the competition's own post-processing; a `KitError` if it has none."""
    step = opened.submission.postprocess
    if step is None:
        raise KitError(f"{opened.competition.name} has no post-processing: drop --postprocess")
    return step(predictions, opened.index)


def write_submission(
    registry: Registry, run: Run, postprocess: bool = False, out: Path | None = None, made: Path | None = None
) -> CheckedCsv:
    """Write `submission.csv` into a run, or to `out`, and check it against the sample submission alone.

    With `postprocess`, apply the competition's post-processing first. A csv that is not fit to be sent does not replace
    an earlier one. The predictions are those in the run, or in the file `made` that `kit predict --out` wrote.
    """
    if made is None and not run.has("test.npz"):
        raise KitError(f"run {run.id} has no predictions: {step_to(run, 'test.npz')}")
    if out is None:
        run.need_writable("give --out FILE to write the csv elsewhere and send nothing")
    else:
        need_writable(out.parent, "give another --out FILE")
    opened = OpenRun(registry, run)
    source = made or run.reading("test.npz")
    found = Predictions.load(source)
    if found.classes != opened.index.output_names:
        again = f"kit predict {run.id}{f' --out {made}' if made else ''} predicts anew"
        raise KitError(f"{source} has predictions of other classes: {again}")
    need_sound(run, found.values, found.ids)
    predictions = replace(with_rule(run, found), task=opened.index.task)
    if postprocess:
        predictions = replace(postprocessed(opened, predictions), task=opened.index.task)
    findings: list[Finding] = []
    path = out or run.path / "submission.csv"
    with contextlib.suppress(_Unfit), run.writing(path.name) if out is None else atomic(path) as temporary:
        opened.submission.write(predictions, opened.index, temporary)
        if not temporary.stat().st_size:
            raise faulty(opened.submission.write, "wrote nothing to the path that it is given")
        findings += opened.submission.check(temporary, opened.index.root)
        if any(finding.level == "error" for finding in findings):
            raise _Unfit
    if has_rule(opened.competition.task, opened.metric) and run.decision is None:
        task = opened.index.task
        plain = "the largest probability decides" if task.softmax else "every class has the threshold 0.5"
        plain = "the expected grade is rounded" if task is ORDINAL else plain
        findings.append(Finding("warning", f"{plain}: kit thresholds {run.id} tunes that"))
    return CheckedCsv(opened.competition, path, findings, run, run.record["origin"])


class _Unfit(Exception):
    """A csv must not be sent, so it is not kept."""


def check_file(registry: Registry, competition: str, path: Path) -> CheckedCsv:
    """Check a csv of any origin against the sample submission of a competition."""
    store = Store.of(registry, competition)
    known = store.competition
    if path.name == "submission.csv" and (path.parent / "run.json").is_file():
        Run.open(path.parent).reading(path.name)
    findings = registry.submissions.get(known.submission).check(path, store.root)
    run = _run_with(path, known.name) if path.is_file() else None
    origin = run.record["origin"] if run else store.origin or store.note.get("origin")
    return CheckedCsv(known, path, findings, run, origin)


def _run_with(path: Path, competition: str) -> Run | None:
    """Return the newest run of a competition whose submission.csv has the bytes of this file; None if there is none."""
    digest = sha256(path)
    for run in reversed(all_runs()):
        if run.record["config"]["competition"] == competition and run.has("submission.csv"):
            own = run.path / "submission.csv"
            if own.stat().st_size == path.stat().st_size and sha256(own) == digest:
                return run
    return None
