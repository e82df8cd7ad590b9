"""What the double of Kaggle keeps and hands about; see kaggle_server.py."""

import base64
import hashlib
import json
import re
import tempfile
import threading
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from email.utils import formatdate
from pathlib import Path
from typing import Any

STORAGE = "storage.test"
CREATED = "2024-01-01T00:00:00Z"
PIECE = 1 << 20
RULES = "You must accept this competition's rules before you'll be able to download files."
FOR_ANYONE = {"DownloadDataset", "ListDatasetFiles"}


@dataclass
class Account:
    username: str = "ada"
    key: str = "secret-key-123"
    token: str = "KGAT_secret-token-456"

    def allows(self, header: str) -> bool:
        basic = base64.b64encode(f"{self.username}:{self.key}".encode()).decode()
        return header in (f"Basic {basic}", f"Bearer {self.token}")


@dataclass
class Request:
    """One request as it arrived and how it was answered; the names of the headers are in lower case."""

    where: str
    method: str
    host: str
    path: str
    headers: dict[str, str]
    body: bytes = b""
    status: int = 0
    sent: int = 0
    fault: str = ""
    done: threading.Event = field(default_factory=threading.Event, repr=False)

    @property
    def json(self) -> Any:
        return json.loads(self.body or b"{}")


@dataclass
class Fault:
    where: str
    kind: str
    options: dict[str, Any] = field(default_factory=dict)
    times: float = 1
    skip: int = 0

    def get(self, name: str, default: Any = None) -> Any:
        return self.options.get(name, default)


NONE = Fault("", "")


@dataclass
class Answer:
    """Status 0 hangs up without a word."""

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes | Path = b""
    start: int = 0
    length: int = -1

    def __post_init__(self) -> None:
        if isinstance(self.body, bytes):
            self.length = len(self.body)


class ApiError(Exception):
    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass
class Upload:
    """One file that was or is being sent up."""

    token: str
    file_name: str
    length: int
    path: Path

    @property
    def content(self) -> bytes:
        return self.path.read_bytes()

    @property
    def complete(self) -> bool:
        return self.path.stat().st_size == self.length


@dataclass
class Submission:
    """`statuses` are given out by successive listings, the last one for ever; None leaves the field out."""

    ref: int
    date: datetime
    description: str
    upload: Upload | None
    statuses: list[str | None]
    public: str = ""
    private: str = ""
    error: str = ""
    polls: int = 0

    def listed(self, team: str) -> dict[str, Any]:
        status = self.statuses[min(self.polls, len(self.statuses) - 1)]
        self.polls += 1
        shown = {"ref": self.ref, "date": stamp(self.date), "description": self.description, "status": status}
        shown |= {"fileName": self.upload.file_name, "totalBytes": self.upload.length} if self.upload else {}
        shown |= {"publicScore": self.public, "privateScore": self.private} if status == "COMPLETE" else {}
        shown |= {"errorDescription": self.error} if status == "ERROR" else {}
        return bare({**shown, "submittedBy": team, "teamName": team})


@dataclass
class Stored:
    """One object of the storage. `etag` is "md5", "opaque" or "none"."""

    path: Path
    etag: str = "md5"
    goog_hash: bool = False
    modified: float = 1_700_000_000.0
    version: int = 0
    _md5: dict[Path, bytes] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def md5(self) -> bytes:
        with self._lock:
            if self.path not in self._md5:
                with open(self.path, "rb") as file:
                    self._md5[self.path] = hashlib.file_digest(file, "md5").digest()
            return self._md5[self.path]

    def headers(self) -> dict[str, str]:
        found = {"Last-Modified": formatdate(self.modified, usegmt=True), "Accept-Ranges": "bytes"}
        if self.etag != "none":
            found["ETag"] = f'"{self.md5().hex()}"' if self.etag == "md5" else f'"CKih{self.version}-opaque"'
        if self.goog_hash:
            found["x-goog-hash"] = f"md5={base64.b64encode(self.md5()).decode()}"
        return found

    def change(self, folder: Path, content: bytes | Path | None, etag_only: bool) -> None:
        self.modified += 3600
        self.version += 1
        if etag_only:
            self.etag = "opaque"
            return
        handle, fresh = tempfile.mkstemp(dir=folder)
        with open(handle, "wb") as file:
            file.writelines([content] if isinstance(content, bytes) else inverted(self.path, content))
        self.path = Path(fresh)


@dataclass
class Holding:
    """The files of a competition or a dataset. Without `files` they are those in the archive."""

    slug: str
    folder: Path
    files: Mapping[str, bytes | Path] | None = None
    archive: Path | None = None
    zipped: Iterable[str] = ()
    etag: str = "md5"
    goog_hash: bool = False
    objects: dict[str, Stored] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.files is None and self.archive is not None:
            with zipfile.ZipFile(self.archive) as archive:
                self.sizes = {one.filename: one.file_size for one in archive.infolist() if not one.is_dir()}
        for name, content in (self.files or {}).items():
            self.sizes[name] = len(content) if isinstance(content, bytes) else content.stat().st_size

    def object(self, name: str = "") -> Stored:
        """The object that a download of this file meets, or of everything."""
        if name not in self.objects:
            if name and name not in self.sizes:
                raise ApiError(404, "Not found")
            self.objects[name] = Stored(self._path(name), self.etag, self.goog_hash)
        return self.objects[name]

    def _path(self, name: str) -> Path:
        if not name and self.archive is not None:
            return self.archive
        path = Path(tempfile.mkdtemp(dir=self.folder)) / (Path(name).name or "archive.zip")
        if not name or name in self.zipped:
            path = path if not name else path.with_name(path.name + ".zip")
            with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
                for member in [name] if name else self.sizes:
                    archive.writestr(zipfile.ZipInfo(member, (2024, 1, 1, 0, 0, 0)), self._content(member))
            return path
        content = (self.files or {}).get(name)
        if isinstance(content, Path):
            return content
        path.write_bytes(self._content(name))
        return path

    def _content(self, name: str) -> bytes:
        if self.files is not None:
            content = self.files[name]
            return content if isinstance(content, bytes) else content.read_bytes()
        assert self.archive is not None
        with zipfile.ZipFile(self.archive) as archive:
            return archive.read(name)


@dataclass
class Competition(Holding):
    title: str = ""
    rules_accepted: bool = True
    deadline: str = "2099-01-01T00:00:00Z"
    submissions_disabled: bool = False
    max_daily: int = 5
    summary: bool = True
    leaderboard: list[tuple[str, str]] = field(default_factory=lambda: [("first", "0.99"), ("second", "0.98")])
    submissions: list[Submission] = field(default_factory=list)

    def described(self) -> dict[str, Any]:
        url = f"https://www.kaggle.com/competitions/{self.slug}"
        found = {"id": 1 + len(self.slug), "ref": url, "url": url, "title": self.title or self.slug}
        found |= {"deadline": self.deadline, "enabledDate": CREATED, "userHasEntered": self.rules_accepted}
        found |= {"maxDailySubmissions": self.max_daily, "submissionsDisabled": self.submissions_disabled}
        return bare(found | {"category": "Playground"})

    def limits(self, now: datetime) -> dict[str, int]:
        counted = [one for one in self.submissions if one.statuses[-1] != "ERROR"]
        today = sum(one.date.date() == now.date() for one in counted)
        return {"numToday": today, "numTotal": len(counted), "numAllowedNow": max(0, self.max_daily - today)}


def bare(document: dict[str, Any]) -> dict[str, Any]:
    """Without defaults, as on the wire."""
    return {key: value for key, value in document.items() if value not in (None, "", 0, False) and value != []}


def stamp(when: datetime) -> str:
    return when.strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


def inverted(old: Path, new: Path | None) -> Iterator[bytes]:
    table = bytes(range(255, -1, -1)) if new is None else None
    with open(new or old, "rb") as file:
        while piece := file.read(PIECE):
            yield piece.translate(table)


def page(rows: list[Any], ask: dict[str, Any], largest: int = 200) -> tuple[list[Any], str]:
    token, size = ask.get("pageToken", ""), min(ask.get("pageSize") or 20, largest)
    if token and not re.fullmatch(r"page-\d+", token):
        raise ApiError(400, "Invalid page token")
    start = int(token[5:]) if token else (max(1, ask.get("page") or 1) - 1) * size
    return rows[start : start + size], f"page-{start + size}" if start + size < len(rows) else ""


def xml_error(status: int, code: str) -> Answer:
    body = f"<?xml version='1.0' encoding='UTF-8'?><Error><Code>{code}</Code><Message>Refused.</Message></Error>"
    return Answer(status, {"Content-Type": "application/xml; charset=UTF-8"}, body.encode())


def json_answer(document: dict[str, Any], status: int = 200, headers: dict[str, str] | None = None) -> Answer:
    return Answer(status, {"Content-Type": "application/json", **(headers or {})}, json.dumps(document).encode())


def login_page() -> Answer:
    body = b"<!DOCTYPE html><html><title>Kaggle: Login</title><body>Sign in</body></html>"
    return Answer(200, {"Content-Type": "text/html; charset=utf-8"}, body)
