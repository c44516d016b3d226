"""A local HTTP server of weight files: correct, or with one of the faults that servers have."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

REVISION = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class WeightsServer:
    """The files of a server, its faults, and the requests that it got."""

    files: dict[str, bytes]
    stop_after: int | None = None
    """Close the connection after this many bytes of a body."""
    ranges: bool = True
    """Whether requests for a part of a file are answered with that part."""
    claimed_size: int = 0
    """The size of a file in answers to requests for a part of it, if it is not to be the true one."""
    etag: str = ""
    """The ETag of answers, if it is not to be the sha256 of the content."""
    requests: list[tuple[str, str, str]] = field(default_factory=list)
    """Method, path, range."""
    address: str = ""


@contextmanager
def serve(files: dict[str, bytes]) -> Iterator[WeightsServer]:
    """Serve files in a thread, on a free port of this machine."""
    weights = WeightsServer(files)
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"weights": weights}))
    weights.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield weights
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    weights: WeightsServer

    def log_message(self, *_: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def _answer(self, *, with_body: bool) -> None:
        requested = self.headers.get("Range", "")
        self.weights.requests.append((self.command, self.path, requested))
        content = self.weights.files.get(self.path)
        if content is None:
            self._send_not_found()
            return
        start = int(requested[6:].split("-")[0]) if requested and self.weights.ranges else 0
        if start >= len(content) > 0:
            self._send_without_body(416, "Content-Range", f"bytes */{len(content)}")
            return
        self._send_content_headers(content, start)
        if with_body:
            self.wfile.write(content[start : self._end(start)])

    def _send_not_found(self) -> None:
        folder = self.path.rpartition("/")[0]
        exists = any(path.startswith(folder) for path in self.weights.files)
        self._send_without_body(404, "X-Error-Code", "EntryNotFound" if exists else "RepoNotFound")

    def _send_without_body(self, status: int, header: str, value: str) -> None:
        self.send_response(status)
        self.send_header(header, value)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _send_content_headers(self, content: bytes, start: int) -> None:
        self.send_response(206 if start else 200)
        if start:
            size = self.weights.claimed_size or len(content)
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{size}")
        self.send_header("Content-Length", str(len(content) - start))
        self.send_header("ETag", f'"{self.weights.etag or hashlib.sha256(content).hexdigest()}"')
        self.send_header("X-Repo-Commit", REVISION)
        self.end_headers()

    def _end(self, start: int) -> int | None:
        return None if self.weights.stop_after is None else start + self.weights.stop_after
