"""A server of weights on this machine: honest, or with one of the faults that servers have."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

REVISION = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class Served:
    """What lies on the server, and what was asked of it."""

    files: dict[str, bytes]
    stop_after: int | None = None
    """Break off after so many bytes of an answer."""
    ranges: bool = True
    whole: int = 0
    """Said of the file's length when a part of it is asked for, instead of the truth."""
    etag: str = ""
    """Said instead of the content's sha256."""
    asked: list[tuple[str, str, str]] = field(default_factory=list)
    """Method, path, range."""
    address: str = ""


@contextmanager
def serving(files: dict[str, bytes]) -> Iterator[Served]:
    served = Served(files)
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"served": served}))
    served.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield served
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    served: Served

    def log_message(self, *_: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def _answer(self, *, with_body: bool) -> None:
        asked = self.headers.get("Range", "")
        self.served.asked.append((self.command, self.path, asked))
        content = self.served.files.get(self.path)
        if content is None:
            self.send_response(404)
            known = any(path.startswith(self.path.rpartition("/")[0]) for path in self.served.files)
            self.send_header("X-Error-Code", "EntryNotFound" if known else "RepoNotFound")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        start = int(asked[6:].split("-")[0]) if asked and self.served.ranges else 0
        if start >= len(content) > 0:
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(content)}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{self.served.whole or len(content)}")
        self.send_header("Content-Length", str(len(content) - start))
        self.send_header("ETag", f'"{self.served.etag or hashlib.sha256(content).hexdigest()}"')
        self.send_header("X-Repo-Commit", REVISION)
        self.end_headers()
        if with_body:
            self.wfile.write(content[start : self._end(start)])

    def _end(self, start: int) -> int | None:
        return None if self.served.stop_after is None else start + self.served.stop_after
