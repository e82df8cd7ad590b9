"""Send a checked csv to Kaggle: what is allowed, the bytes, and the one request that must not be repeated."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, BinaryIO

import requests

from kit.console import Console, Progress, duration
from kit.errors import CREDENTIALS, INTERRUPTED, NETWORK, KitError
from kit.files import sha256
from kit.kaggle import retry
from kit.kaggle.client import Kaggle
from kit.kaggle.retry import Fault, Retry, asked_wait, open_session, reason
from kit.kaggle.submissions import MARK, Submission, describe, enter, entries, listing, moment, reference, runs_of
from kit.submission.write import CheckedCsv

EARLIER_PAGES = 5  # of a hundred submissions, searched for the same bytes
# Seconds before each look for a submission that may or may not have been accepted.
LOOKS = (0.5, 1.0, 2.0, 4.0, 8.0)


@dataclass(frozen=True)
class Quota:
    """What may be sent now.

    Args:
        used: submissions today.
        most: allowed per day.
        left: still allowed now.
        by_total: the limit is the number for the whole competition.
        deadline: of the competition, if it is over.

    Each is None if Kaggle doesn't say.
    """

    used: int | None
    most: int | None
    left: int | None
    by_total: bool
    deadline: datetime | None

    @classmethod
    def ask(cls, kaggle: Kaggle, console: Console) -> "Quota":
        """Ask Kaggle; warn if the server can't say, raise `KitError` if the competition takes no submissions."""
        facts = _asked(kaggle, "GetCompetition") or {}
        page = kaggle.competition.url or kaggle.slug
        if facts.get("submissionsDisabled"):
            raise KitError(f"{kaggle.slug} takes no submissions (Kaggle has disabled them): look at {page}")
        if facts.get("isKernelsSubmissionsOnly"):
            raise KitError(f"{kaggle.slug} takes submissions of notebooks only, no csv: look at {page}")
        deadline = moment(facts.get("deadline"))
        over = deadline if deadline.year > 1 and deadline < datetime.now(UTC) else None
        most = int(facts.get("maxDailySubmissions") or 0) or None
        limits = _asked(kaggle, "GetSubmissionLimits")
        if limits is None:
            console.warn("Kaggle does not say how many submissions are left today: sending all the same")
            return cls(None, most, None, False, over)
        used, total, left = (int(limits.get(name) or 0) for name in ("numToday", "numTotal", "numAllowedNow"))
        if (used, total, left) == (0, 0, 0):
            # Kaggle says so of a person without a team, which the first submission creates.
            return cls(0, most, most, False, over)
        return cls(used, most or used + left, left, bool(limits.get("limitedByTotal")), over)

    def say(self, console: Console) -> None:
        """Tell the person; raise `KitError` if nothing is left."""
        if self.deadline is not None:
            console.say(
                f"the deadline ({self.deadline:%Y-%m-%d}) is over: late submissions are accepted and scored, not ranked"
            )
        if self.left is None:
            return
        if self.left == 0 and self.by_total:
            raise KitError("nothing was sent: the competition's total of submissions is used up", CREDENTIALS)
        resets = f"resets at 00:00 UTC, in {duration(_until_reset())}"
        if self.left == 0:
            raise KitError(
                f"nothing was sent: no submission is left today, {self.used} of {self.most} are used; it {resets}: "
                "run the same command then",
                CREDENTIALS,
            )
        console.say(f"today: {self.used} of {self.most} submissions used, {self.left} left (resets at 00:00 UTC)")


@dataclass(frozen=True)
class Sent:
    """A submission that was sent.

    Args:
        submission: as it was sent.
        digest: SHA-256 of its csv.
        left: how many are left today after it, None if Kaggle doesn't say.
        late: the deadline is over, so it is not ranked.
    """

    submission: Submission
    digest: str
    left: int | None
    late: bool


def send(kaggle: Kaggle, csv: CheckedCsv, message: str, agree: Callable[[str], None], console: Console) -> Sent:
    """Send a checked csv once and enter it in its run's record.

    Args:
        kaggle: the competition's.
        csv: without errors.
        message: for the description.
        agree: called with what speaks against it, if anything does: the same bytes were sent before, or this would use
            the last submission of the day; raises to stop.
        console: says what is allowed, what was sent before, and the progress.

    Raises:
        KitError: no submission is left, Kaggle refuses, the network fails, or it is unknown whether it was accepted.
    """
    digest = sha256(csv.path)
    before = listing(kaggle, EARLIER_PAGES)
    quota = Quota.ask(kaggle, console)
    quota.say(console)
    same = _same_bytes(csv.competition.name, digest, before)
    for each in same:
        score = "" if each.public is None else f", public score {each.public:g}"
        console.warn(f"the same bytes were sent before: {each.ref}, {each.date[:16]}, {each.status}{score}")
    doubts = [f"the same bytes were sent before as {same[-1].ref}"] if same else []
    doubts += ["this uses the last submission of today"] if quota.left == 1 else []
    if doubts:
        agree(" and ".join(doubts))
    token = _upload(kaggle, csv.path, console)
    ref = _create(kaggle, token, describe(message, digest), {each.ref for each in before}, console)
    console.say(f"sent as {ref}")
    now = datetime.now(UTC).isoformat(timespec="seconds")
    sent = Submission(ref, now, "PENDING", None, None, message, csv.path.name, "", digest[:MARK])
    if csv.run is not None:
        enter(csv.run, sent, digest)
    return Sent(sent, digest, None if quota.left is None else quota.left - 1, quota.deadline is not None)


def _asked(kaggle: Kaggle, method: str) -> dict[str, Any] | None:
    """Return Kaggle's answer, or None after a few failed tries, because nothing depends on it."""
    try:
        return kaggle.call(method, tries=3)
    except KitError as error:
        if error.code == CREDENTIALS:
            raise
        return None


def _until_reset() -> float:
    """Return the seconds until the next 00:00 UTC."""
    now = datetime.now(UTC)
    return (now.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1) - now).total_seconds()


def _same_bytes(competition: str, digest: str, before: list[Submission]) -> list[Submission]:
    """Return earlier submissions of the same csv, by the marks in Kaggle's listing and by the records of runs."""
    listed = {each.ref: each for each in before}
    same = {each.ref: each for each in before if each.mark == digest[:MARK]}
    for run in runs_of(competition):
        for entry in entries(run.record):
            if entry["sha256"] == digest and entry["ref"] not in same:
                same[entry["ref"]] = listed.get(entry["ref"]) or Submission.noted({**entry})
    return [same[ref] for ref in sorted(same)]


def _upload(kaggle: Kaggle, path: Path, console: Console) -> str:
    """Upload the bytes to Kaggle's storage, which submits nothing yet, and return the token that stands for them."""
    tries, status = Retry("the upload", console), path.stat()
    with open_session() as session:
        while True:
            # Each try has an address of its own, so a half-finished earlier one does no harm.
            started = kaggle.call(
                "StartSubmissionUpload",
                content_length=status.st_size,
                last_modified_epoch_seconds=int(status.st_mtime),
                file_name=path.name,
            )
            fault = _put(session, str(started.get("createUrl")), path, console)
            if fault is None:
                return str(started.get("token"))
            tries.pause(fault)


def _put(session: requests.Session, address: str, path: Path, console: Console) -> Fault | None:
    """Send a file to a signed address, which is a secret; return what went wrong, or None."""
    size = path.stat().st_size
    try:
        with path.open("rb") as file, console.progress("upload", size, "bytes") as progress:
            response = session.put(address, data=_Watched(file, size, progress), allow_redirects=False)
    except requests.RequestException as error:
        return Fault(reason(error))
    if response.status_code in (200, 201):
        return None
    return Fault(f"Kaggle's storage refuses it (status {response.status_code})", asked_wait(response.headers))


class _Watched:
    """A file that reports how much of it was read; requests takes its length and reads it piece by piece."""

    def __init__(self, file: BinaryIO, size: int, progress: Progress) -> None:
        self.file, self.size, self.progress = file, size, progress

    def __len__(self) -> int:
        return self.size

    def __iter__(self) -> Iterator[bytes]:
        return iter(lambda: self.read(1 << 16), b"")

    def read(self, count: int = -1) -> bytes:
        """Read the next bytes."""
        piece = self.file.read(count)
        self.progress.advance(len(piece))
        return piece


def _create(kaggle: Kaggle, token: str, description: str, known: set[int], console: Console) -> int:
    """Submit the uploaded bytes once and return Kaggle's number; after a doubtful answer, look for it in the list."""
    shows = f"kit submissions {kaggle.competition.name} shows what Kaggle has"
    try:
        answer = kaggle.call("CreateSubmission", once=True, blob_file_tokens=token, submission_description=description)
        ref, said = reference(answer), str(answer.get("message") or "an answer without a number")
    except Fault as fault:
        ref, said = 0, fault.text
    except KeyboardInterrupt:
        raise KitError(f"interrupted while it was being sent: {shows}", INTERRUPTED) from None
    if ref:
        return ref
    console.warn(f"Kaggle's answer leaves open whether it was sent ({said}): looking for it in the list")
    mark = Submission.read({"description": description}).mark
    try:
        for pause in LOOKS:
            retry.sleep(pause)
            found = [each.ref for each in listing(kaggle) if each.mark == mark and each.ref not in known]
            if found:
                return max(found)
    except KitError as error:
        raise KitError(f"it is unknown whether it was sent ({said}; {error}): {shows}", NETWORK) from None
    raise KitError(f"probably not sent ({said}) and not repeated: Kaggle does not list it; {shows}", NETWORK)
