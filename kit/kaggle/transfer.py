"""Fetch one file from signed addresses: resume at the byte, in parallel ranges while that pays off, check its MD5.

Beside the file, until it is complete:

    <name>.part        its bytes, each in its place
    <name>.part.json   which file it is: ETag, length, MD5
    <name>.part.map    the parts being fetched: where each begins, how far it is, where it ends
"""

import base64
import os
import re
import struct
import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import ClassVar

import requests

from kit.console import Console
from kit.errors import NETWORK, KitError
from kit.files import cant_write, read_json, write_json
from kit.kaggle.connections import LEAST_SPLIT, UNKNOWN, Hash, Lanes, Part, Window, new_map, read_map
from kit.kaggle.retry import Fault, Retry, asked_wait, open_session, reason

HASHED_AT_ONCE = 16 << 20  # bytes; less would wake this thread for every chunk
PROOFS = 3  # times that a file may arrive with the wrong MD5


@dataclass(frozen=True)
class Identity:
    """Which file a server sends: `total` in bytes, -1 if it doesn't say; `md5` in hexadecimal, or empty."""

    __pydantic_config__: ClassVar = {"extra": "forbid"}

    etag: str
    modified: str
    total: int
    md5: str

    @property
    def validator(self) -> str:
        """The value for `If-Range`; a weak ETag says nothing about bytes."""
        return self.etag if self.etag and not self.etag.startswith("W/") else self.modified


class Changed(Exception):
    """The server sends another file than before, or can't resume within it: start again."""


class Transfer:
    """The transfer of one file to `path`. Call `begin`, look at `identity`, then `run`; after a kill, the same again.

    Args:
        sign: returns a fresh signed address.
        path: of the complete file in the end.
        what: its name in messages.
        console: shows progress and pauses.
    """

    def __init__(self, sign: Callable[[], str], path: Path, what: str, console: Console) -> None:
        self.sign, self.path, self.what, self.console = sign, path, what, console
        self.part_path = path.with_name(path.name + ".part")
        self.note_path, self.map_path = (path.with_name(path.name + end) for end in (".part.json", ".part.map"))
        self.retries = Retry(what, console)
        self.session = open_session()
        self.session.headers["Accept-Encoding"] = "identity"
        self.address, self.address_lock = "", threading.Lock()
        self.ranges = True  # until the server ignores one
        self.identity: Identity | None = None
        self.parts: list[Part] = []
        self.first: requests.Response | None = None
        self.doubts = 0  # answers in a row that don't fit what has arrived
        self.most = 0  # the most bytes that had ever arrived

    @property
    def done(self) -> int:
        """Bytes that have arrived."""
        return sum(part.at - part.begin for part in self.parts)

    @property
    def left(self) -> int:
        """Bytes still to come; 0 if the length is unknown."""
        return max(self.identity.total - self.done, 0) if self.identity else 0

    def begin(self) -> Identity:
        """Learn which file it is, and take over what an earlier call left of it."""
        self._recall()
        while True:
            try:
                part = next((part for part in self.parts if part.at < part.end), None)
                if self.identity is None or part is not None:
                    self.first, found = self._open(part.at if part else 0, UNKNOWN, self.identity)
                    if self.identity is None:
                        self._note(found)
                        return found
                return self.identity
            except Changed:
                self._forget()
            except Fault as fault:
                self.retries.pause(fault)

    def run(self) -> None:
        """Fetch what is missing, check the MD5, and move the file into place."""
        for _ in range(PROOFS):
            while True:
                identity = self.identity or self.begin()
                try:
                    digest = self._fetch(identity)
                    break
                except Changed:
                    self._forget()
            if digest == identity.md5 and identity.total in (-1, self.part_path.stat().st_size):
                os.replace(self.part_path, self.path)
                self._forget()
                return
            self.console.warn(f"{self.what} arrived with wrong bytes (its MD5 differs): fetching it again")
            self.most = 0
            self._forget()
        raise KitError(
            f"{self.what} arrived with wrong bytes {PROOFS} times: run the same command again later", NETWORK
        )

    def _recall(self) -> None:
        try:
            self.identity = read_json(self.note_path, Identity)
            self.parts = read_map(self.map_path)
            size = self.part_path.stat().st_size
            if not self.parts or any(part.begin < part.at and part.at > size for part in self.parts):
                raise ValueError("they don't belong together")
        except (OSError, KitError, ValueError, struct.error):
            self._forget()

    def _forget(self) -> None:
        """Discard what has arrived, to start again."""
        for path in (self.note_path, self.map_path, self.part_path):
            path.unlink(missing_ok=True)
        if self.first is not None:
            self.first.close()
        self.identity, self.parts, self.first = None, [], None

    def _note(self, identity: Identity) -> None:
        self.identity, self.parts = identity, [Part(0, 0, identity.total if identity.total >= 0 else UNKNOWN)]
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.part_path.write_bytes(b"")
            new_map(self.map_path, self.parts[0])
        except OSError as error:
            raise cant_write(self.part_path, error) from None
        write_json(self.note_path, asdict(identity))

    def _fetch(self, identity: Identity) -> str:
        """Fetch all parts by one lane or several; return the MD5 of the file if there is one to compare it with."""
        hashing = Hash(self.part_path) if identity.md5 else None
        lanes = Lanes(self.parts, lambda part: self._open_part(part, identity), self.part_path, self.map_path)
        window = Window()
        with self.console.progress(f"download {self.what}", max(identity.total, 0), "bytes", self.done) as progress:
            try:
                while not self._whole() or (hashing and hashing.at < self._frontier()):
                    lanes.fill()
                    min_behind = 1 if self._whole() else HASHED_AT_ONCE
                    behind = hashing is not None and self._frontier() - hashing.at >= min_behind
                    fault = lanes.finished(0.0 if behind else 0.05)
                    note = f"{lanes.wanted} connections" if lanes.wanted > 1 else ""
                    progress.advance(self.done - progress.done, note)
                    if self.done > self.most:
                        self.most = self.done
                        self.retries.progress()
                    if fault is not None:
                        lanes.narrow()
                        self.retries.pause(fault)
                    elif window.over(self.done) and self.left > LEAST_SPLIT and self.ranges:
                        lanes.widen(window.rate)
                    if hashing and behind:
                        hashing.advance(self._frontier())
            except OSError as error:
                raise cant_write(self.part_path, error) from None
            finally:
                lanes.stop()
        return hashing.digest() if hashing else ""

    def _whole(self) -> bool:
        return all(part.at >= part.end for part in self.parts)

    def _frontier(self) -> int:
        """Return how far the file has arrived without a gap."""
        reached = 0
        for part in sorted(self.parts, key=lambda part: part.begin):
            if part.begin > reached:
                break
            reached = max(reached, part.at)
        return reached

    def _open_part(self, part: Part, identity: Identity) -> requests.Response:
        """Return a response with the remaining bytes of a part."""
        first, self.first = self.first, None
        if first is not None:
            return first
        return self._open(part.at, part.end, identity)[0]

    def _open(self, at: int, end: int, expected: Identity | None) -> tuple[requests.Response, Identity]:
        """Request the bytes from `at` on, and check that the response sends just those, of the same file."""
        headers = {}
        if self.ranges:
            headers["Range"] = f"bytes={at}-" + (str(end - 1) if end < UNKNOWN else "")
            if expected and expected.validator:
                headers["If-Range"] = expected.validator
        address = self._address()
        try:
            response = self.session.get(address, headers=headers, stream=True)
        except requests.RequestException as error:
            raise Fault(reason(error)) from None
        try:
            return response, self._judge(response, at, expected, address)
        except BaseException:
            response.close()
            raise

    def _judge(self, response: requests.Response, at: int, expected: Identity | None, address: str) -> Identity:
        status = response.status_code
        if status == 429:
            raise Fault("Kaggle's storage wants fewer requests", max(asked_wait(response.headers), 1.0))
        if status >= 500:
            raise Fault(f"Kaggle's storage failed (status {status})", asked_wait(response.headers))
        if status not in (200, 206, 416):
            self._drop(address)
            raise Fault(f"Kaggle's storage refuses the address (status {status}), asking for a fresh one")
        if response.headers.get("Content-Type", "").startswith("text/html"):
            self._drop(address)
            raise Fault("a web page came instead of the file")
        found, begins = _identity(response)
        if status == 416 or begins != at or found != (expected or found):
            self._doubt(ignored=status == 200 and begins != at)
        self.doubts = 0
        return found

    def _doubt(self, ignored: bool) -> None:
        """Doubt an answer that doesn't fit: one may be a server's slip, the second in a row is believed."""
        self.doubts += 1
        if self.doubts < 2:
            raise Fault("an answer does not fit the bytes that have arrived")
        self.doubts = 0
        # This server can't resume within a file.
        self.ranges = self.ranges and not ignored
        raise Changed

    def _address(self) -> str:
        with self.address_lock:
            if not self.address:
                self.address = self.sign()
            return self.address

    def _drop(self, address: str) -> None:
        """Drop an address that has expired; another lane may have a fresh one already."""
        with self.address_lock:
            if self.address == address:
                self.address = ""


def _identity(response: requests.Response) -> tuple[Identity, int]:
    """Return which file a response sends, and at which byte it begins."""
    headers = response.headers
    etag, length = headers.get("ETag", ""), headers.get("Content-Length", "")
    begins, total = 0, int(length) if length.isdecimal() else -1
    if response.status_code == 206:
        match = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+)", headers.get("Content-Range", "").strip())
        if match is None or int(match[2]) >= int(match[3]):
            raise Fault("the answer does not say which bytes it holds")
        begins, total = int(match[1]), int(match[3])
    bare = etag.strip('"').lower()
    md5 = bare if re.fullmatch(r"[0-9a-f]{32}", bare) else ""
    named = re.search(r"md5=([A-Za-z0-9+/]{22}==)", headers.get("x-goog-hash", ""))
    if named:
        md5 = base64.b64decode(named[1]).hex()
    return Identity(etag, headers.get("Last-Modified", ""), total, md5), begins
