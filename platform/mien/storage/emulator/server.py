"""The HTTP server: one thread per connection, on 127.0.0.1 only, with faults and a meter between client and calls.

Beside Cloud Storage's paths it answers `POST /__faults` with a list of rules, `GET /__fired`, `GET /__traffic` and
`DELETE /__traffic`. Run as a program it serves for its parent process and ends with it.
"""

import contextlib
import itertools
import json
import logging
import os
import select
import signal
import socket
import socketserver
import struct
import sys
import threading
import time
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from mien.errors import ConfigError, StorageError
from mien.storage.emulator import faults
from mien.storage.emulator.disk import Folder, Memory
from mien.storage.emulator.faults import NO_FAULT, Fault, Faults
from mien.storage.emulator.messages import Answer, Refusal, Request, bad_request, json_answer, refusal_answer
from mien.storage.emulator.objects import Store
from mien.storage.emulator.routes import Router
from mien.storage.emulator.traffic import Meter, Traffic

HOST = "127.0.0.1"
_SLICE_BYTES = 1 << 18
_BODILESS = {204, 304}
_PARENT_POLL_S = 1.0

logger = logging.getLogger(__name__)

_BIT_STRIDE = 7919
_num_flipped = itertools.count()


class Server(ThreadingHTTPServer):
    """Cloud Storage on loopback."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, port: int = 0, folder: Path | None = None) -> None:
        """Bind a port; clients can connect from now on and are answered as soon as `serve_forever` runs.

        Args:
            port: 0 takes a free one.
            folder: Where objects outlive the server; without it they are kept in memory.

        Raises:
            StorageError: The port is taken, or the folder cannot be used.
        """
        self.store = Store(Folder(folder) if folder else Memory())
        self.router, self.faults, self.meter = Router(self.store), Faults(), Meter()
        try:
            super().__init__((HOST, port), _Handler)
        except (OSError, OverflowError) as error:
            self.store.close()
            raise StorageError(f"{HOST}:{port}: cannot be served ({error}); give another port") from error

    def server_bind(self) -> None:
        """Bind without looking the host up by name, which can take seconds."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = HOST, self.server_address[1]

    @property
    def url(self) -> str:
        """What `STORAGE_EMULATOR_HOST` must be."""
        return f"http://{HOST}:{self.server_port}"

    def server_close(self) -> None:
        """Close the port, and release the folder."""
        super().server_close()
        self.store.close()

    def ensure_bucket(self, name: str) -> None:
        """Make a bucket unless it is there.

        Raises:
            ConfigError: The name cannot be one.
        """
        try:
            self.store.create_bucket({"name": name})
        except Refusal as refusal:
            if refusal.status != HTTPStatus.CONFLICT:
                raise ConfigError(refusal.message) from refusal

    def handle_error(self, request: object, client_address: object) -> None:  # noqa: ARG002  of the base class
        """A client that hangs up is none; anything else is told."""
        if not isinstance(sys.exception(), ConnectionError | TimeoutError):
            logger.exception("the emulator failed on a connection")

    def control(self, request: Request) -> Answer:
        """Calls about the emulator itself.

        Raises:
            Refusal: 400 for rules that cannot be used or an unknown call.
        """
        match request.method, request.path:
            case "POST", "/__faults":
                self.faults.set(json.loads(request.body))
            case "GET", "/__fired":
                return json_answer(self.faults.fired())
            case "GET", "/__traffic":
                return json_answer({kind: counts._asdict() for kind, counts in self.meter.read().items()})
            case "DELETE", "/__traffic":
                self.meter.reset()
            case _:
                raise bad_request(f"{request.method} {request.path}: no such call")
        return Answer(204)


class _Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # headers and body are two sends; the second must not wait for an acknowledgement

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the name of the base class
        """Say nothing: a test makes thousands of requests."""

    def _serve(self) -> None:
        try:
            body = self._read_body()
        except ValueError as error:
            self.close_connection = True
            self._send(refusal_answer(bad_request(f"the size of the body cannot be read: {error}")))
            return
        headers = {name.lower(): value for name, value in self.headers.items()}
        base = f"http://{headers.get('host', '')}"
        method = "GET" if self.command == "HEAD" else self.command
        request = Request.parse(method, self.path, headers, body, base)
        if _is_web_page(headers):
            self._send(refusal_answer(Refusal(403, "forbidden", "the emulator serves programs of this machine alone")))
            return
        if request.path.startswith("/__"):
            self._send(self._control(request))
            return
        kind = self.server.router.kind(request)
        self.server.meter.add(kind, Traffic(1, len(body), 0))
        self._act(request, kind)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = _serve  # noqa: N815  of the base class

    def _control(self, request: Request) -> Answer:
        try:
            return self.server.control(request)
        except ValueError as error:
            return refusal_answer(bad_request(str(error)))
        except Refusal as refusal:
            return refusal_answer(refusal)

    def _act(self, request: Request, kind: str) -> None:
        """Answer, or fail as a rule demands."""
        fault = self._take(faults.BEFORE)
        if fault.kind == "reset":
            self._reset()
            return
        if fault.kind == "stall":
            time.sleep(fault.seconds)
        answer = self._answer(request) if fault.kind != "status" else _injected(fault)
        if fault.kind == "lost_ack":
            self._reset()
        else:
            self._send(answer, self._take(faults.BODY) if len(answer.body) else NO_FAULT, kind)

    def _take(self, kinds: tuple[str, ...]) -> Fault:
        return self.server.faults.take(f"{self.command} {self.path}", kinds)

    def _answer(self, request: Request) -> Answer:
        try:
            return self.server.router.answer(request)
        except Exception as error:  # a defect of the emulator or a full disk: the client must not wait for ever
            logger.exception("%s %s", self.command, self.path)
            return refusal_answer(Refusal(500, "backendError", f"{type(error).__name__}: {error}"))

    def _read_body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            return b"".join(iter(self._read_chunk, b""))
        return self._read(int(self.headers.get("Content-Length") or 0))

    def _read_chunk(self) -> bytes:
        line = self.rfile.readline() or b"0"
        chunk = self._read(int(line.partition(b";")[0], 16))
        self._read(2)  # the line end, without which it was not the last chunk, but a client that hung up
        return chunk

    def _read(self, size: int) -> bytes:
        """So many bytes: half a body, of a client that was killed, must not become an object."""
        data = self.rfile.read(size)
        if len(data) != size:
            raise ConnectionAbortedError(f"{len(data)} of {size} bytes came")
        return data

    def _send(self, answer: Answer, fault: Fault = NO_FAULT, kind: str = "") -> None:
        """Write the reply; `kind` is what its bytes are counted as."""
        body = memoryview(_flipped(answer.body) if fault.kind == "flip" else answer.body)
        size = len(body)
        if fault.kind == "truncate":
            body, self.close_connection = body[: size // 2], True
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        if answer.status not in _BODILESS:
            self.send_header("Content-Length", str(size))
        self.end_headers()
        if self.command != "HEAD":
            self._send_body(body, kind)

    def _send_body(self, body: memoryview, kind: str) -> None:
        """Send in slices, each counted before it goes: who has read a reply finds it counted, who hangs up ends it."""
        for start in range(0, len(body), _SLICE_BYTES):
            part = body[start : start + _SLICE_BYTES]
            if kind:
                self.server.meter.add(kind, Traffic(0, 0, len(part)))
            self.wfile.write(part)

    def _reset(self) -> None:
        """End the connection with RST instead of FIN, which needs its last reference gone."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        self.rfile.close()
        self.connection.close()


def _injected(fault: Fault) -> Answer:
    return refusal_answer(Refusal(fault.status, fault.reason, "a fault rule of the emulator"))


def _is_web_page(headers: dict[str, str]) -> bool:
    """Whether a page in a browser asks, from another site or through a name that it made point at this machine."""
    host = headers.get("host", HOST).rpartition(":")[0] or headers.get("host", HOST)
    return "origin" in headers or host not in {HOST, "localhost"}


def _flipped(body: bytes | memoryview) -> bytes:
    """One bit is wrong, at first in the middle, then elsewhere: no line spoils two replies alike."""
    wrong = bytearray(body)
    byte, bit = divmod((4 * len(wrong) + _BIT_STRIDE * next(_num_flipped)) % (8 * len(wrong)), 8)
    wrong[byte] ^= 1 << bit
    return bytes(wrong)


def serve(server: Server) -> None:
    """Serve in this thread until Ctrl-C."""
    with contextlib.suppress(KeyboardInterrupt):
        server.serve_forever(poll_interval=0.1)


def serve_for_parent(folder: str) -> None:
    """Serve on a free port, tell it on stdout, and end as soon as the parent process does, however it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle; this process follows it
    parent = os.getppid()
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    try:
        server = Server(0, Path(folder) if folder else None)
    except StorageError as error:
        sys.stdout.write(json.dumps({"error": str(error)}) + "\n")
        return
    sys.stdout.write(json.dumps({"url": server.url}) + "\n")
    sys.stdout.flush()
    with server:
        serve(server)


def _end_with(parent: int) -> None:
    """Leave at once when stdin, a pipe that the parent holds, ends; or when the parent is gone but a fork holds it."""
    while os.getppid() == parent:
        if select.select([sys.stdin], [], [], _PARENT_POLL_S)[0]:
            break
    os._exit(0)  # every change on disk is complete at every moment


if __name__ == "__main__":
    serve_for_parent(sys.argv[1] if len(sys.argv) > 1 else "")
