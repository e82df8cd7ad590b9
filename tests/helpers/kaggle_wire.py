"""HTTP and the faults in it, for the double of Kaggle; see kaggle_server.py."""

import os
import re
import socket
import socketserver
import struct
from collections.abc import Iterable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

from helpers.kaggle_objects import PIECE, STORAGE, Answer, Fault, Request, xml_error

if TYPE_CHECKING:
    from helpers.kaggle_server import KaggleServer


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: "Http"

    def log_message(self, format: str, *words: Any) -> None:
        pass

    def _serve(self) -> None:
        kaggle, split = self.server.kaggle, urlsplit(self.path)
        host = split.hostname or self.headers.get("Host", "").partition(":")[0]
        called = re.fullmatch(r"(?:/api)?/v1/[\w.]+/(\w+)", split.path) if host != STORAGE else None
        where = called[1] if called else "upload" if self.command == "PUT" else "storage"
        where = "page" if where == "storage" and host == "localhost" else where
        headers = {name.lower(): value for name, value in self.headers.items()}
        path = split.path + ("?" + split.query if split.query else "")
        record = Request(where, self.command, host, path, headers)
        fault = kaggle._arrived(record)
        try:
            if where == "upload":
                answer = self._upload(record, fault)
            else:
                record.body = b"".join(self._read())
                answer = kaggle._answer(record, fault, bool(called))
            self._send(answer, fault, record)
        except OSError:
            self.close_connection = True  # the client has gone
        except Exception as error:
            kaggle.errors.append(error)
            self.close_connection = True
        finally:
            record.done.set()

    do_GET = do_POST = do_PUT = do_HEAD = _serve

    def _read(self) -> Iterator[bytes]:
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            while size := int(self.rfile.readline(), 16):
                yield self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return
        left = int(self.headers.get("Content-Length", 0))
        while left and (piece := self.rfile.read(min(left, PIECE))):
            left -= len(piece)
            yield piece

    def _upload(self, record: Request, fault: Fault) -> Answer:
        kaggle = self.server.kaggle
        early = kaggle._instead(record, fault, api=False)
        token = parse_qs(urlsplit(record.path).query).get("upload_id", [""])[0]
        upload = next((one for one in kaggle.uploads if one.token == token), None)
        if fault.kind == "drop" and not fault.get("after"):
            return Answer(0)
        stop = fault.get("after", 0) if fault.kind in ("cut", "stall") else None
        wanted = re.fullmatch(r"bytes (?:(\d+)-\d+|\*)/\d+", record.headers.get("content-range", ""))
        lost = upload is None or (early is not None and not fault.get("after"))
        with open(os.devnull if lost or upload is None else upload.path, "r+b") as file:
            file.seek(int(wanted[1] or 0) if wanted else 0)
            if not lost and not wanted:
                file.truncate()
            for piece in self._read():
                file.write(piece[: None if stop is None else max(0, stop - record.sent)])
                record.sent += len(piece)
                if stop is not None and record.sent >= stop:
                    break
        if stop is not None:
            return Answer(-1)
        if early is not None:
            return early
        if upload is None:
            return xml_error(404, "NoSuchUpload")
        size = upload.path.stat().st_size
        unfinished = {"Range": f"bytes=0-{size - 1}"} if size else {}
        return Answer(200) if upload.complete else Answer(308 if wanted else 400, unfinished)

    def _send(self, answer: Answer, fault: Fault, record: Request) -> None:
        kind = fault.kind
        silent = (kind == "stall" and "after" not in fault.options) or (kind == "cut" and not answer.length)
        if answer.status > 0 and not silent:
            record.status = answer.status
            by = fault.get("by", 0) if kind == "wrong_length" else 0
            size = {"Transfer-Encoding": "chunked"} if kind == "no_length" else {"Content-Length": answer.length + by}
            self.send_response(answer.status)
            for name, value in {**answer.headers, **size}.items():
                self.send_header(name, str(value))
            self.end_headers()
            limit = answer.length + min(by, 0)
            limit = min(limit, fault.get("after", 0)) if kind in ("cut", "stall") else limit
            if self.command != "HEAD" and limit > 0:
                self._body(answer, limit, fault, record)
            if kind == "no_length":
                self.wfile.write(b"0\r\n\r\n")
        if kind == "stall":
            record.done.set()
            self.server.kaggle._silence(self.connection)
        if answer.status <= 0 or kind in ("cut", "stall", "wrong_length"):
            self.close_connection = True
        if fault.get("rst"):
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def _body(self, answer: Answer, limit: int, fault: Fault, record: Request) -> None:
        kind = fault.kind
        if isinstance(answer.body, bytes):
            self._pieces([answer.body[:limit]], limit, fault, record)
            return
        with open(answer.body, "rb", buffering=0) as file:
            if kind in ("slow", "corrupt", "no_length"):
                file.seek(answer.start)
                step = max(1, min(PIECE, fault.get("rate", PIECE * 20) // 20))
                pieces = (file.read(min(step, limit - at)) for at in range(0, limit, step))
                self._pieces(pieces, limit, fault, record)
                return
            try:
                self.connection.sendfile(file, answer.start, limit)
            finally:
                record.sent = max(0, file.tell() - answer.start)

    def _pieces(self, pieces: Iterable[bytes], limit: int, fault: Fault, record: Request) -> None:
        kind = fault.kind
        bad = fault.get("at", limit // 2) % limit if kind == "corrupt" else -1
        for piece in pieces:
            if 0 <= bad - record.sent < len(piece):
                at = bad - record.sent
                piece = piece[:at] + bytes([piece[at] ^ 0xFF]) + piece[at + 1 :]
            if kind == "slow" and self.server.kaggle.closing.wait(len(piece) / fault.get("rate")):
                return
            self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece) if kind == "no_length" else piece)
            record.sent += len(piece)


class Http(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, kaggle: "KaggleServer") -> None:
        self.kaggle = kaggle
        self.open: set[socket.socket] = set()
        super().__init__(("127.0.0.1", 0), Handler)

    def server_bind(self) -> None:
        socketserver.TCPServer.server_bind(self)  # without asking for this machine's name

    def process_request(self, request: Any, client_address: Any) -> None:
        self.open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self.open.discard(request)
        if request.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, 8) == struct.pack("ii", 1, 0):
            request.close()  # with a reset
        else:
            super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass  # a client that has gone; what matters is in KaggleServer.errors
