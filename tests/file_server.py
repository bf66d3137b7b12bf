"""A web server of files on 127.0.0.1 that misbehaves on demand: ranges, ETags, redirects, cuts, refusals, silence."""

import hashlib
import re
import threading
from collections import defaultdict, deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

EXPIRED = b"<?xml version='1.0'?><Error><Code>ExpiredToken</Code><Message>Request has expired</Message></Error>"


@dataclass
class Rule:
    """What becomes of one request."""

    status: int = 0
    """Answered with this status and nothing else is done; 0 for none."""
    headers: dict[str, str] = field(default_factory=dict)
    """Over those that would be sent; an empty value leaves one out."""
    body: bytes = b""
    """Of a refusal."""
    cut_after: int | None = None
    """Bytes of the body after which the connection ends."""
    hold_after: int | None = None
    """Bytes of the body after which the server waits for `release`."""


@dataclass
class Asked:
    """One request that came."""

    path: str
    headers: dict[str, str]
    sent_bytes: int = 0


class FileServer(ThreadingHTTPServer):
    """Serves `files` (path -> bytes) by the rules of each path, one per request, in order."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files = dict[str, bytes]()
        self.rules = defaultdict[str, deque[Rule]](deque)
        self.always = dict[str, Rule]()
        """Rules of paths that are never used up."""
        self.asked = list[Asked]()
        self.has_ranges = True
        self.has_validators = True
        self.held, self.release = threading.Event(), threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def put(self, name: str, data: bytes, *rules: Rule) -> str:
        """Serve a file; returns its address."""
        self.files[f"/{name}"] = data
        self.rules[f"/{name}"] = deque(rules)
        return f"{self.url}/{name}"

    def num_asked(self, name: str) -> int:
        return sum(asked.path.partition("?")[0] == f"/{name}" for asked in self.asked)

    def sent_bytes(self, name: str) -> int:
        """Bytes of bodies of a file that were sent."""
        return sum(asked.sent_bytes for asked in self.asked if asked.path.partition("?")[0] == f"/{name}")

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up is no error of the server."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: FileServer

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        asked = Asked(self.path, {name.lower(): value for name, value in self.headers.items()})
        self.server.asked.append(asked)
        rules = self.server.rules[path]
        rule = rules.popleft() if rules else self.server.always.get(path, Rule())
        if rule.status:
            self._send(asked, rule, rule.status, {}, rule.body)
        elif path not in self.server.files:
            self._send(asked, rule, 404, {}, b"no such file")
        else:
            self._send_file(asked, rule, self.server.files[path])

    def _send_file(self, asked: Asked, rule: Rule, data: bytes) -> None:
        etag = f'"{hashlib.sha256(data).hexdigest()[:16]}"'
        headers = {"Content-Type": "application/octet-stream"}
        headers |= {"ETag": etag} if self.server.has_validators else {}
        wanted = re.fullmatch(r"bytes=(\d+)-", asked.headers.get("range", ""))
        is_same = asked.headers.get("if-range", etag) == etag
        if not (self.server.has_ranges and wanted and is_same):
            self._send(asked, rule, 200, headers, data)
        elif (start := int(wanted[1])) >= len(data):
            self._send(asked, rule, 416, headers | {"Content-Range": f"bytes */{len(data)}"}, b"")
        else:
            headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
            self._send(asked, rule, 206, headers, data[start:])

    def _send(self, asked: Asked, rule: Rule, status: int, headers: dict[str, str], body: bytes) -> None:
        if rule.headers.get("Transfer-Encoding"):
            body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(body))} | headers | rule.headers).items():
            if value:
                self.send_header(name, value)
        self.end_headers()
        end = len(body) if rule.cut_after is None else rule.cut_after
        held_at = end if rule.hold_after is None else rule.hold_after
        self._write(asked, body[:held_at])
        if rule.hold_after is not None:
            self.server.held.set()
            self.server.release.wait(60)
            self._write(asked, body[held_at:end])
        is_short = "Content-Length" in rule.headers or rule.cut_after is not None
        self.close_connection = self.close_connection or is_short

    def _write(self, asked: Asked, data: bytes) -> None:
        asked.sent_bytes += len(data)  # before it goes: who has read it finds it counted
        self.wfile.write(data)
        self.wfile.flush()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  of the base class
        pass


@contextmanager
def serving() -> Iterator[FileServer]:
    """A server for the length of a block."""
    with FileServer() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.release.set()
            server.shutdown()
            thread.join()
