"""Submissions as Kaggle lists them, and their entries in the records of the runs they came from.

An entry of `submissions` in run.json: sha256 of the csv, ref, date, message, status, public, private, error.
"""

import math
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from kit.console import Console, duration
from kit.errors import NETWORK, KitError
from kit.files import sha256
from kit.kaggle import retry
from kit.kaggle.client import Kaggle
from kit.record import RunRecord, Submitted
from kit.run import Run
from kit.runs import all_runs

LONGEST_DESCRIPTION = 500  # characters
MARK = 12  # digits of the csv's SHA-256 at the end of a description, by which kit recognises it
FIRST_PAUSE, LONGEST_PAUSE, GROWTH = 2.0, 15.0, 1.5  # seconds between two requests for a score
LONGEST_WAIT = 3600.0  # seconds for a score
FINAL = ("COMPLETE", "ERROR")
NOTED = ("ref", "date", "message", "status", "public", "private", "error")

_MARKED = re.compile(rf"\s*\[kit ([0-9a-f]{{{MARK}}})\]\s*$")


@dataclass(frozen=True)
class Submission:
    """One submission. `mark` is the beginning of its csv's SHA-256, empty if something other than kit sent it."""

    ref: int
    date: str
    status: str
    public: float | None
    private: float | None
    message: str
    file: str
    error: str
    mark: str

    @classmethod
    def read(cls, row: dict[str, Any]) -> "Submission":
        """Read Kaggle's document, which omits default values."""
        description = str(row.get("description") or "")
        marked = _MARKED.search(description)
        return cls(
            ref=reference(row),
            date=str(row.get("date") or ""),
            status=str(row.get("status") or "PENDING"),
            public=_score(row.get("publicScore")),
            private=_score(row.get("privateScore")),
            message=description[: marked.start()] if marked else description,
            file=str(row.get("fileName") or ""),
            error=" ".join(str(row.get("errorDescription") or "").split()),
            mark=marked[1] if marked else "",
        )

    def entry(self, digest: str) -> dict[str, Any]:
        """Return the entry for a run's record."""
        return {"sha256": digest, **{name: getattr(self, name) for name in NOTED}}

    @classmethod
    def noted(cls, entry: dict[str, Any]) -> "Submission":
        """Build it from the entry in a run's record."""
        return cls(**{name: entry[name] for name in NOTED}, file="", mark=entry["sha256"][:MARK])


def reference(document: dict[str, Any]) -> int:
    """Return Kaggle's number of a submission; 0 if the document has none."""
    text = str(document.get("ref") or "0")
    return int(text) if text.isdecimal() else 0


def describe(text: str, digest: str) -> str:
    """Return a description with the mark of its csv, cut to the length that Kaggle accepts."""
    mark = f"[kit {digest[:MARK]}]"
    return f"{' '.join(text.split())[: LONGEST_DESCRIPTION - len(mark) - 1]} {mark}".strip()


def moment(text: object) -> datetime:
    """Parse a time of Kaggle's, in UTC; return the year 1 if it can't be read."""
    try:
        found = datetime.fromisoformat(str(text))
    except ValueError:
        found = datetime.min
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def listing(kaggle: Kaggle, pages: int = 1) -> list[Submission]:
    """Return the submissions, newest first; a page has a hundred."""
    found = [Submission.read(row) for row in kaggle.submissions(pages)]
    return sorted(found, key=lambda each: (moment(each.date), each.ref), reverse=True)


def runs_of(competition: str) -> list[Run]:
    """Return the runs of a competition on this machine."""
    return [run for run in all_runs() if run.record["config"]["competition"] == competition]


def entries(record: RunRecord) -> list[Submitted]:
    """Return the entries of submissions in a run's record."""
    return record.get("submissions") or []


def match(submissions: Sequence[Submission], runs: Sequence[Run]) -> dict[int, Run]:
    """Return the run of each submission by its number: from the run's record, or by the mark of the run's csv."""
    found: dict[int, Run] = {entry["ref"]: run for run in runs for entry in entries(run.record)}
    marks: dict[str, list[Run]] = {}
    if any(each.mark and each.ref not in found for each in submissions):
        for run in runs:
            if run.has("submission.csv"):
                marks.setdefault(sha256(run.path / "submission.csv")[:MARK], []).append(run)
    for each in submissions:
        alike = marks.get(each.mark, [])
        if each.ref not in found and alike:
            found[each.ref] = next((run for run in alike if run.id in each.message), alike[-1])
    return found


def enter(run: Run, submission: Submission, digest: str = "") -> None:
    """Enter a submission, or its new state, in its run's record, with the newest score as the leaderboard's.

    Args:
        run: whose record to update.
        submission: as it is now.
        digest: SHA-256 of its csv; by default that of the earlier entry or of the run's csv.
    """
    own = digest or (sha256(run.path / "submission.csv") if run.has("submission.csv") else "")

    def entered(record: RunRecord) -> dict[str, Any]:
        # The record may have changed while waiting for a score.
        known: dict[int, Any] = {entry["ref"]: entry for entry in entries(record)}
        before = known[submission.ref]["sha256"] if submission.ref in known and not digest else own
        known[submission.ref] = submission.entry(before)
        ordered = [known[ref] for ref in sorted(known)]
        scored = [entry for entry in ordered if entry["status"] == "COMPLETE"]
        board = {"leaderboard": {name: scored[-1][name] for name in ("public", "private")}} if scored else {}
        return {"submissions": ordered, **board}

    run.update(entered)


def wait_for_score(kaggle: Kaggle, ref: int, console: Console) -> Submission:
    """Poll the listing, with growing pauses, until a submission is scored or refused.

    Raises:
        KitError: an hour has passed, or Kaggle refuses to list.
    """
    shows = f"kit submissions {kaggle.competition.name} shows the score later"
    began, paused, pause = time.monotonic(), 0.0, FIRST_PAUSE
    status, named = "PENDING", {"PENDING", *FINAL}
    with console.waiting(f"submission {ref}") as waiting:
        while True:
            try:
                found = next((each for each in listing(kaggle) if each.ref == ref), None)
            except KitError as error:
                if error.code != NETWORK:
                    raise KitError(f"submission {ref} was sent, but: {error}; {shows}", error.code) from None
                found = None
            if found is not None:
                status = found.status
                if status in FINAL:
                    return found
            if status not in named:
                named.add(status)
                console.warn(f"Kaggle calls submission {ref} {status!r}, which this kit does not know: still waiting")
            waiting.tell(status)
            if max(paused, time.monotonic() - began) >= LONGEST_WAIT:
                raise KitError(f"submission {ref} is still {status} after {duration(LONGEST_WAIT)}: {shows}", NETWORK)
            retry.sleep(pause)
            paused, pause = paused + pause, min(pause * GROWTH, LONGEST_PAUSE)


def _score(text: object) -> float | None:
    try:
        value = float(str(text))
    except ValueError:
        return None
    return value if math.isfinite(value) else None
