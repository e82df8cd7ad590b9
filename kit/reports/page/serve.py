"""Serve one page on this machine's own address."""

from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from kit.errors import KitError

HOST = "127.0.0.1"
PATHS = ("/", "/report.html")


class PageServer(ThreadingHTTPServer):
    """A server of one file to browsers on this machine, at `address`."""

    daemon_threads = True

    def __init__(self, path: Path, port: int) -> None:
        try:
            super().__init__((HOST, port), _Handler)
        except OSError as error:
            raise KitError(
                f"port {port} of {HOST} is not available ({error.strerror}): give another --port, or drop it"
            ) from None
        self.content = path.read_bytes()

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: a browser that hangs up is none of the person's concern."""

    @property
    def address(self) -> str:
        """The page's address."""
        return f"http://{HOST}:{self.server_port}/"


class _Handler(BaseHTTPRequestHandler):
    server: PageServer
    server_version, sys_version = "kit", ""

    def do_GET(self) -> None:
        """Send the page to requests that use this machine's own name: a foreign page that points its own name here may
        not read it."""
        port = self.server.server_port
        if self.headers.get("Host") not in (f"{HOST}:{port}", f"localhost:{port}"):
            self.send_error(403, "not this machine's own name")
        elif self.path not in PATHS:
            self.send_error(404)
        else:
            self.send_response(200)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("Content-Length", str(len(self.server.content)))
            self.send_header("Cache-Control", "no-store")
            self.send_header("X-Content-Type-Options", "nosniff")
            self.end_headers()
            self.wfile.write(self.server.content)

    def log_message(self, format: str, *arguments: object) -> None:
        """Log nothing, so that the terminal stays readable."""
