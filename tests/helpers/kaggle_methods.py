"""The methods of Kaggle's API, as the double does them; see kaggle_server.py."""

import secrets
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from helpers.kaggle_objects import (
    CREATED,
    RULES,
    STORAGE,
    Account,
    Answer,
    ApiError,
    Competition,
    Holding,
    Stored,
    Submission,
    Upload,
    bare,
    page,
)


class Api:
    """The methods as they are named on the wire; each gets the request's document and gives the answer's."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.account = Account()
        self.competitions: dict[str, Competition] = {}
        self.datasets: dict[str, Holding] = {}
        self.uploads: list[Upload] = []
        self.scores: list[dict[str, Any]] = []
        self.signatures: dict[str, list[float]] = {}
        self.signed: dict[str, Stored] = {}
        self.signature_seconds = 900.0
        self.signature_gets = float("inf")
        self.clock: Callable[[], datetime] = lambda: datetime.now(UTC)

    def _competition(self, ask: dict[str, Any], entered: bool = False) -> Competition:
        if (found := self.competitions.get(ask.get("competitionName", ""))) is None:
            raise ApiError(404, "Not found")
        if entered and not found.rules_accepted:
            raise ApiError(403, RULES)
        return found

    def _dataset(self, ask: dict[str, Any]) -> Holding:
        if (found := self.datasets.get(f"{ask.get('ownerSlug')}/{ask.get('datasetSlug')}")) is None:
            raise ApiError(404, "Not found")
        return found

    def _sign(self, holding: Holding, name: str = "") -> str:
        stored = holding.object(name)
        path = f"/kaggle-data/{holding.slug}/{name + '.zip' if name in holding.zipped else name or 'archive.zip'}"
        self.signed[path] = stored
        return self._resign(path)

    def _resign(self, path: str) -> str:
        signature, expires = secrets.token_hex(16), time.time() + self.signature_seconds
        self.signatures[signature] = [expires, 0]
        query = {"GoogleAccessId": "kaggle@test", "Expires": int(expires), "Signature": signature}
        return f"http://{STORAGE}{quote(path)}?{urlencode(query)}"

    def IntrospectToken(self, ask: dict[str, Any]) -> dict[str, Any]:
        known = {"active": True, "username": self.account.username, "userId": 7, "scope": "all", "clientId": "x"}
        return known if ask.get("token") == self.account.token else {}

    def ListCompetitions(self, ask: dict[str, Any]) -> dict[str, Any]:
        word = ask.get("search", "").lower()
        found = [one for one in self.competitions.values() if word in f"{one.slug} {one.title}".lower()]
        rows, token = page(found, ask)
        return bare({"competitions": [one.described() for one in rows], "nextPageToken": token})

    def GetCompetition(self, ask: dict[str, Any]) -> dict[str, Any]:
        return self._competition(ask).described()

    def ListDataFiles(self, ask: dict[str, Any]) -> dict[str, Any]:
        return self._files("files", self._competition(ask), ask)

    def ListDatasetFiles(self, ask: dict[str, Any]) -> dict[str, Any]:
        return self._files("datasetFiles", self._dataset(ask), ask)

    def _files(self, key: str, holding: Holding, ask: dict[str, Any]) -> dict[str, Any]:
        rows, token = page(list(holding.sizes.items()), ask)
        files = [bare({"name": name, "totalBytes": size, "creationDate": CREATED}) for name, size in rows]
        return bare({key: files, "nextPageToken": token})

    def GetCompetitionDataFilesSummary(self, ask: dict[str, Any]) -> dict[str, Any]:
        competition = self._competition(ask)
        if not competition.summary:
            raise ApiError(404, "Not found")
        kinds: dict[str, list[int]] = {}
        for name, size in competition.sizes.items():
            kinds.setdefault(Path(name).suffix, []).append(size)
        types = [bare({"extension": k, "fileCount": len(v), "totalSize": sum(v)}) for k, v in sorted(kinds.items())]
        return {"fileSummaryInfo": bare({"totalFileCount": len(competition.sizes), "fileTypes": types})}

    def DownloadDataFiles(self, ask: dict[str, Any]) -> Answer:
        return Answer(302, {"Location": self._sign(self._competition(ask, entered=True))})

    def DownloadDataFile(self, ask: dict[str, Any]) -> Answer:
        return Answer(302, {"Location": self._sign(self._competition(ask, entered=True), ask.get("fileName") or "?")})

    def DownloadDataset(self, ask: dict[str, Any]) -> Answer:
        return Answer(302, {"Location": self._sign(self._dataset(ask), ask.get("fileName", ""))})

    def GetLeaderboard(self, ask: dict[str, Any]) -> dict[str, Any]:
        rows, token = page(self._competition(ask).leaderboard, ask)
        ranks = [{"teamId": 1, "teamName": team, "submissionDate": CREATED, "score": score} for team, score in rows]
        return bare({"submissions": ranks, "nextPageToken": token})

    def GetSubmissionLimits(self, ask: dict[str, Any]) -> dict[str, Any]:
        return bare(self._competition(ask, entered=True).limits(self.clock()))

    def StartSubmissionUpload(self, ask: dict[str, Any]) -> dict[str, Any]:
        self._competition(ask, entered=True)
        token, path = secrets.token_hex(8), self.folder / f"upload-{len(self.uploads)}"
        path.touch()
        self.uploads.append(Upload(token, ask.get("fileName", ""), ask.get("contentLength", 0), path))
        return {"token": token, "createUrl": f"http://{STORAGE}/upload?upload_id={token}"}

    def CreateSubmission(self, ask: dict[str, Any]) -> dict[str, Any]:
        competition, now = self._competition(ask, entered=True), self.clock()
        if competition.submissions_disabled:
            raise ApiError(403, "Submissions are disabled for this competition.")
        if not competition.limits(now)["numAllowedNow"]:
            hours = 24 - (now - now.replace(hour=0, minute=0, second=0)).total_seconds() / 3600
            used = f"has used its daily Submission allowance ({competition.max_daily}) today"
            again = f"please try again tomorrow UTC ({hours:.1f} hours from now)."
            raise ApiError(400, f"Submission not allowed: Your team {used}, {again}")
        upload = next((one for one in self.uploads if one.token == ask.get("blobFileTokens")), None)
        if upload is None or not upload.complete:
            raise ApiError(400, "Submission file was not uploaded.")
        fate = self.scores.pop(0) if self.scores else {"statuses": ["PENDING", "COMPLETE"], "public": "0.95"}
        made = self.add_submission(competition.slug, ask.get("submissionDescription", ""), upload, now, **fate)
        return {"message": f"Successfully submitted to {competition.title or competition.slug}", "ref": made.ref}

    def ListSubmissions(self, ask: dict[str, Any]) -> dict[str, Any]:
        competition = self._competition(ask, entered=True)
        rows, token = page(sorted(competition.submissions, key=lambda one: (one.date, one.ref), reverse=True), ask)
        return bare({"submissions": [one.listed(self.account.username) for one in rows], "nextPageToken": token})

    def add_submission(
        self, slug: str, description: str = "", upload: Upload | None = None, date: datetime | None = None, **fate: Any
    ) -> Submission:
        """One that is there already; `fate` as for next_submission."""
        ref = 1000 + sum(len(one.submissions) for one in self.competitions.values())
        fate.setdefault("statuses", ["COMPLETE"])
        made = Submission(ref, date or self.clock(), description, upload, **fate)
        self.competitions[slug].submissions.append(made)
        return made
