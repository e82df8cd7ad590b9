"""A local server that speaks Kaggle's protocol to the real client, with faults to order.

    with KaggleServer(tmp_path) as server:
        server.add_competition("leaves", {"train.csv": b"id,label\\n"}, zipped={"train.csv"}, max_daily=5)
        server.add_competition("big", archive=Path("big.zip"))              # the listing is read from the zip
        server.add_dataset("owner/name", {"weights.bin": b"..."}, etag="opaque")
        server.connect(monkeypatch)                    # in this process; auth="key" (default), "token" or "none"
        subprocess.run(command, env={**os.environ, **server.environment()})

One HTTP server is the proxy for two hosts, `localhost` (the API) and `storage.test` (signed URLs), so that the client
strips what it strips between hosts. What arrived is in `server.requests`, `server.calls("storage")` and
`server.uploads`; what a submission becomes is ordered by `server.next_submission(["PENDING", "ERROR"], error="rows")`.

Faults wait in a queue and are taken in order by the requests that they fit. `where` is a method ("CreateSubmission"),
"storage" (GET), "upload" (PUT) or "*"; `times=None` is for ever, `skip=n` lets n fitting requests pass first.

    fault("ListDataFiles", status=429, headers={"Retry-After": "1"}, message="...")
    fault("CreateSubmission", status=500, after=True)      the answer is lost (so for drop, html, expired)
    fault("storage", "cut", after=1000, rst=False)         the body ends there (API answers and uploads too)
    fault("storage", "stall", after=1000)                  then silence; without `after` not even a header
    fault("storage", "ignore_range")                       200 and the whole file
    fault("storage", "changed", content=None, etag_only=False)   from this request on; None: the same length, inverted
    fault("storage", "expired")                            403 XML; expire_signatures() ends all that were given out
    fault("storage", "expire_after", gets=2)               at once and for ever: each signed URL serves so many GETs
    fault("storage", "wrong_length", by=-10)               ends early, looks complete; by=10: promises more
    fault("storage", "wrong_total", by=10)                 in Content-Range
    fault("storage", "corrupt", at=5)                      one byte of this answer's body is flipped
    fault("storage", "slow", rate=100_000)                 bytes a second
    kinds without options: html, drop (no answer at all), no_length (chunked); redirect (to=URL or a fresh signed URL)
"""

import os
import random
import re
import select
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from helpers.kaggle_methods import Api
from helpers.kaggle_objects import (
    FOR_ANYONE,
    NONE,
    PIECE,
    STORAGE,
    Answer,
    ApiError,
    Competition,
    Fault,
    Holding,
    Request,
    json_answer,
    login_page,
    xml_error,
)
from helpers.kaggle_wire import Http

KINDS: dict[str, set[str]] = {
    "status": {"status", "headers", "message", "after"},
    "cut": {"after", "rst"},
    "stall": {"after"},
    "changed": {"content", "etag_only"},
    "wrong_length": {"by"},
    "wrong_total": {"by"},
    "corrupt": {"at"},
    "slow": {"rate"},
    "redirect": {"to"},
    "expire_after": {"gets"},
    **{kind: {"after"} for kind in ("html", "drop", "expired")},
    **{kind: set() for kind in ("ignore_range", "no_length")},
}


class KaggleServer(Api):
    """See the top of this file."""

    def __init__(self, folder: Path) -> None:
        super().__init__(Path(tempfile.mkdtemp(prefix="kaggle-", dir=folder)))
        self.requests: list[Request] = []
        self.errors: list[Exception] = []
        self.closing = threading.Event()
        self.pending_faults: list[Fault] = []
        self._lock = threading.RLock()
        self._random: Callable[[str], Fault] = lambda where: NONE
        self._http = Http(self)
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}"
        self.storage_url = f"http://{STORAGE}"

    def __enter__(self) -> "KaggleServer":
        threading.Thread(target=self._http.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, kind: Any, *_: Any) -> None:
        self.closing.set()
        self._http.shutdown()
        self._http.server_close()
        for connection in list(self._http.open):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue
        if self.errors and kind is None:
            raise AssertionError("the Kaggle double itself failed") from self.errors[0]

    def add_competition(
        self, slug: str, files: Mapping[str, bytes | Path] | None = None, archive: Path | None = None, **options: Any
    ) -> Competition:
        """`options` are fields of Competition and Holding; those of files count until the first download."""
        self.competitions[slug] = Competition(slug, self.folder, files, archive, **options)
        return self.competitions[slug]

    def add_dataset(
        self, slug: str, files: Mapping[str, bytes | Path] | None = None, archive: Path | None = None, **options: Any
    ) -> Holding:
        self.datasets[slug] = Holding(slug, self.folder, files, archive, **options)
        return self.datasets[slug]

    def environment(self, auth: str = "key") -> dict[str, str]:
        """What a client needs; HOME is a folder of this server's, lest it finds the credentials of whoever tests."""
        (home := self.folder / "home").mkdir(exist_ok=True)
        login = {"KAGGLE_API_TOKEN": ""}
        login |= {"KAGGLE_USERNAME": self.account.username, "KAGGLE_KEY": self.account.key} if auth == "key" else {}
        login |= {"KAGGLE_API_TOKEN": self.account.token} if auth == "token" else {}
        proxy = {"http_proxy": self.url, "HTTP_PROXY": self.url, "no_proxy": "", "NO_PROXY": ""}
        place = {"HOME": str(home), "KAGGLE_CONFIG_DIR": str(home / ".kaggle")}
        return {"KAGGLE_API_ENVIRONMENT": "LOCALHOST", **proxy, **place, **login}

    def connect(self, monkeypatch: Any, auth: str = "key") -> None:
        """Points this process at the server, and takes away what other credentials it has."""
        for name in [name for name in os.environ if name.startswith("KAGGLE_")]:
            monkeypatch.delenv(name)
        for name, value in self.environment(auth).items():
            monkeypatch.setenv(name, value)

    def signed_url(self, slug: str, name: str = "") -> str:
        """As a download would be sent to; ask for it with the proxy `server.url`."""
        with self._lock:
            return self._sign(self.competitions.get(slug) or self.datasets[slug], name)

    def calls(self, where: str) -> list[Request]:
        """The requests of one kind, when they have been answered: `sent` is what the server could send."""
        found = [one for one in list(self.requests) if one.where == where]
        return [one for one in found if one.done.wait(0.5) or True]

    def next_submission(self, statuses: list[str | None], public: str = "", private: str = "", error: str = "") -> None:
        """What the next submission becomes, listing by listing."""
        self.scores.append({"statuses": statuses, "public": public, "private": private, "error": error})

    def expire_signatures(self) -> None:
        with self._lock:
            for state in self.signatures.values():
                state[0] = 0.0

    def fault(self, where: str, kind: str = "status", *, times: int | None = 1, skip: int = 0, **options: Any) -> None:
        """Orders one; see the top of this file."""
        if kind not in KINDS or not set(options) <= KINDS[kind]:
            raise TypeError(f"no fault {kind} with {sorted(options)}")
        if kind == "expire_after":
            self.signature_gets = options["gets"]
            return
        with self._lock:
            self.pending_faults.append(Fault(where, kind, options, float("inf") if times is None else times, skip))

    def clear_faults(self) -> None:
        with self._lock:
            self.pending_faults.clear()
            self.signature_gets = float("inf")
            self._random = lambda where: NONE

    def random_faults(self, seed: int, probability: float, in_a_row: int = 3, kinds: Iterable[str] = ()) -> None:
        """For each API call and each GET of the storage one of the faults that a client can get over, or none."""
        source, row = random.Random(seed), 0
        chosen = set(kinds) or {"cut", "drop", "status", "ignore_range", "expired", "wrong_length"}

        def draw(where: str) -> Fault:
            nonlocal row
            hit = source.random() < probability
            kind = source.choice(sorted(chosen if where == "storage" else chosen - {"ignore_range", "expired"}))
            status = {"status": source.choice([429, 500, 502, 503, 504]), "headers": {"Retry-After": "0"}}
            some = {"after": source.choice([0, 1, 10, 100, 10_000, 1_000_000])}
            options: dict[str, dict[str, Any]] = {"status": status, "cut": some, "stall": some}
            options |= {"wrong_length": {"by": 10}, "slow": {"rate": PIECE}}
            row = row + 1 if hit and row < in_a_row and where != "upload" else 0
            return Fault(where, kind, options.get(kind, {})) if row else NONE

        self._random = draw

    def _arrived(self, record: Request) -> Fault:
        with self._lock:
            self.requests.append(record)
            for fault in self.pending_faults:
                if fault.where not in ("*", record.where):
                    continue
                if fault.skip:
                    fault.skip -= 1
                    continue
                fault.times -= 1
                if fault.times <= 0:
                    self.pending_faults.remove(fault)
                record.fault = fault.kind
                return fault
            drawn = self._random(record.where)
            record.fault = drawn.kind
            return drawn

    def _answer(self, record: Request, fault: Fault, api: bool) -> Answer:
        early = self._instead(record, fault, api)
        if early and not fault.get("after"):
            return early
        if record.where == "page":
            return login_page()
        answer = self._call(record) if api else self._object(record, fault)
        return early or answer

    def _instead(self, record: Request, fault: Fault, api: bool) -> Answer | None:
        """The answer of a fault that answers itself."""
        if fault.kind == "status":
            code, headers = fault.get("status"), fault.get("headers", {})
            return json_answer({"code": code, "message": fault.get("message", "Something went wrong")}, code, headers)
        if fault.kind == "redirect":
            again = "http://localhost/login" if api else self._resign(unquote(urlsplit(record.path).path))
            return Answer(302, {"Location": fault.get("to") or again})
        return {"html": login_page(), "drop": Answer(0), "expired": xml_error(403, "ExpiredToken")}.get(fault.kind)

    def _call(self, record: Request) -> Answer:
        login = record.headers.get("authorization", "")
        known = self.account.allows(login) or (not login and record.where in FOR_ANYONE)
        if not known and record.where != "IntrospectToken":
            return json_answer({"code": 401, "message": "Unauthenticated"}, 401)
        method = getattr(self, record.where, None) if record.where[0].isupper() else None
        if method is None:
            return json_answer({"code": 404, "message": "Not found"}, 404)
        try:
            with self._lock:
                done = method(record.json)
        except ApiError as error:
            return json_answer({"code": error.code, "message": str(error)}, error.code)
        return done if isinstance(done, Answer) else json_answer(done)

    def _object(self, record: Request, fault: Fault) -> Answer:
        split = urlsplit(record.path)
        with self._lock:
            state = self.signatures.get(parse_qs(split.query).get("Signature", [""])[0], [0.0, 0])
            stored, fresh = self.signed.get(unquote(split.path)), state[0] > time.time()
            state[1] += 1
            if record.method != "GET" or not fresh or state[1] > self.signature_gets or stored is None:
                return xml_error(403, "ExpiredToken" if record.method == "GET" else "SignatureDoesNotMatch")
            if fault.kind == "changed":
                stored.change(self.folder, fault.get("content"), fault.get("etag_only", False))
            path, headers = stored.path, {**stored.headers(), "Content-Type": "application/octet-stream"}
        size, condition = path.stat().st_size, record.headers.get("if-range")
        wanted = re.fullmatch(r"bytes=(\d*)-(\d*)", record.headers.get("range", ""))
        wrong = condition is not None and condition not in (headers.get("ETag"), headers["Last-Modified"])
        if wanted is None or not any(wanted.groups()) or wrong or fault.kind == "ignore_range":
            return Answer(200, headers, path, 0, size)
        first = int(wanted[1]) if wanted[1] else max(0, size - int(wanted[2]))
        last = min(int(wanted[2]), size - 1) if wanted[1] and wanted[2] else size - 1
        if first > last:
            return Answer(416, {"Content-Range": f"bytes */{size}"})
        total = size + (fault.get("by", 1) if fault.kind == "wrong_total" else 0)
        return Answer(206, {**headers, "Content-Range": f"bytes {first}-{last}/{total}"}, path, first, last - first + 1)

    def _silence(self, connection: socket.socket) -> None:
        while not self.closing.wait(0.02):
            readable, _, _ = select.select([connection], [], [], 0)
            if readable and not connection.recv(PIECE):
                return
