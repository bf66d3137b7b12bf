import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from command_line import assert_refused, clean_environment, run_here
from mien.errors import ConfigError, StorageError
from mien.storage.emulator.listing import Listing
from mien.storage.emulator.server import Server

MIEN = [str(Path(sys.executable).parent / "python"), "-c", "import mien.cli; mien.cli.main()", "emulator"]


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    server.ensure_bucket("bucket")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def ask(server: Server, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, bytes]:
    with connected(server) as connection:
        connection.request(method, path, body, headers)
        response = connection.getresponse()
        return response.status, response.read()


def connected(server: Server) -> contextlib.closing[http.client.HTTPConnection]:
    return contextlib.closing(http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=30))


def test_it_listens_on_loopback_alone(server: Server) -> None:
    assert server.server_address[0] == "127.0.0.1"
    assert server.url == f"http://127.0.0.1:{server.server_port}"


def test_many_clients_keep_their_connections(server: Server) -> None:
    def work(number: int) -> int:
        with connected(server) as connection:
            sockets = set()
            for turn in range(25):
                body = f"{number}/{turn}".encode() * 100
                connection.request("POST", f"/upload/storage/v1/b/bucket/o?uploadType=media&name=o{number}", body)
                connection.getresponse().read()
                connection.request("GET", f"/bucket/o{number}")
                assert connection.getresponse().read() == body
                sockets.add(connection.sock)
            return len(sockets)

    with ThreadPoolExecutor(16) as pool:
        assert list(pool.map(work, range(16))) == [1] * 16


def test_a_body_may_come_in_chunks(server: Server) -> None:
    parts = iter([b"abc", b"de"])
    assert ask(server, "POST", "/upload/storage/v1/b/bucket/o?uploadType=media&name=x", parts)[0] == 200
    assert ask(server, "GET", "/bucket/x") == (200, b"abcde")


@pytest.mark.parametrize("head", ["Content-Length: 9\r\n\r\nhalf", "Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n"])
def test_half_a_body_becomes_no_object(server: Server, head: str) -> None:
    line = "POST /upload/storage/v1/b/bucket/o?uploadType=media&name=x HTTP/1.1\r\n"
    with socket.create_connection(("127.0.0.1", server.server_port), timeout=10) as connection:
        connection.sendall(f"{line}{head}".encode())
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(1) == b""
    assert ask(server, "GET", "/bucket/x")[0] == 404


def test_a_size_that_cannot_be_read_is_refused(server: Server) -> None:
    for headers in ({"Content-Length": "many"}, {"Transfer-Encoding": "chunked"}):
        assert ask(server, "POST", "/storage/v1/b", b"many\r\n", **headers)[0] == 400


def test_a_head_has_the_headers_of_a_get_and_no_body(server: Server) -> None:
    ask(server, "POST", "/upload/storage/v1/b/bucket/o?uploadType=media&name=x", b"abc")
    with connected(server) as connection:
        for _ in range(2):
            connection.request("HEAD", "/bucket/x")
            response = connection.getresponse()
            assert (response.read(), response.getheader("Content-Length")) == (b"", "3")


@pytest.mark.parametrize("headers", [{"Origin": "http://page.example"}, {"Host": "page.example:80"}, {"Host": "page"}])
def test_a_web_page_is_refused(server: Server, headers: dict[str, str]) -> None:
    for path in ("/upload/storage/v1/b/bucket/o?uploadType=media&name=x", "/__faults"):
        assert ask(server, "POST", path, b"[]", **headers)[0] == 403
    assert server.store.list_objects("bucket", Listing()).blobs == []
    assert ask(server, "GET", "/storage/v1/b/bucket", Host=f"localhost:{server.server_port}")[0] == 200


def test_faults_and_traffic_are_set_and_read_over_http(server: Server) -> None:
    assert ask(server, "POST", "/__faults", json.dumps([{"match": "GET", "fault": "status:503"}])) == (204, b"")
    assert [ask(server, "GET", "/storage/v1/b/bucket")[0] for _ in range(2)] == [503, 200]
    fired = json.loads(ask(server, "GET", "/__fired")[1])
    assert fired == [{"fault": "status:503", "request": "GET /storage/v1/b/bucket"}]
    assert json.loads(ask(server, "GET", "/__traffic")[1])["buckets.get"]["num_requests"] == 2
    ask(server, "DELETE", "/__traffic")
    assert json.loads(ask(server, "GET", "/__traffic")[1]) == {}
    assert [ask(server, "POST", path, "{")[0] for path in ("/__faults", "/__other")] == [400, 400]


def test_a_reset_is_one_and_not_an_end(server: Server) -> None:
    server.faults.set([{"match": "GET", "fault": "reset"}, {"match": "POST", "fault": "lost_ack"}])
    upload = b"POST /upload/storage/v1/b/bucket/o?uploadType=media&name=x HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc"
    for request in (b"GET /bucket/x HTTP/1.1\r\n\r\n", upload):
        with socket.create_connection(("127.0.0.1", server.server_port), timeout=10) as connection:
            connection.sendall(request)
            with pytest.raises(ConnectionResetError):
                connection.recv(1)
    assert ask(server, "GET", "/bucket/x") == (200, b"abc")


def test_a_truncated_body_ends_half_way(server: Server) -> None:
    ask(server, "POST", "/upload/storage/v1/b/bucket/o?uploadType=media&name=x", b"abcdef")
    server.faults.set([{"match": "GET", "fault": "truncate"}])
    with pytest.raises(http.client.IncompleteRead) as cut:
        ask(server, "GET", "/bucket/x")
    assert (cut.value.partial, cut.value.expected) == (b"abc", 3)


def test_a_port_that_is_taken_and_a_name_that_cannot_be_are_told(server: Server) -> None:
    with pytest.raises(StorageError, match=f"127.0.0.1:{server.server_port}: cannot be served"):
        Server(server.server_port)
    server.ensure_bucket("bucket")
    with pytest.raises(ConfigError, match="'X' cannot name a bucket"):
        server.ensure_bucket("X")


def test_the_command_serves_until_ctrl_c(tmp_path: Path) -> None:
    words = [*MIEN, "--port", "0", "--bucket", "faces", "--folder", str(tmp_path / "kept"), "--json"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    process = subprocess.Popen(words, env=clean_environment(), text=True, **pipes)  # type: ignore[call-overload]
    try:
        shown = "".join(iter(process.stdout.readline, "}\n")) + "}"
        url = json.loads(shown)["url"]
        assert f"export STORAGE_EMULATOR_HOST={url}\n" in process.stderr.readline()
        with socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2]))) as connection:
            connection.sendall(b"GET /storage/v1/b/faces HTTP/1.0\r\n\r\n")
            assert b"200 OK" in connection.recv(100)
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=10) == 0
        assert process.stdout.read() == ""
    finally:
        process.kill()
        process.communicate()
    assert (tmp_path / "kept" / "buckets").is_dir()


def test_the_command_tells_what_cannot_be(capfd: pytest.CaptureFixture[str], server: Server, tmp_path: Path) -> None:
    port, before = str(server.server_port), os.environ.get("STORAGE_EMULATOR_HOST")
    assert_refused(run_here(capfd, "emulator", "--port", port), 1, f"127.0.0.1:{port}: ", "give another port")
    assert_refused(run_here(capfd, "emulator", "--port", "0", "--bucket", "X"), 2, "'X' cannot name a bucket")
    (tmp_path / "file").write_text("")
    assert_refused(run_here(capfd, "emulator", "--port", "0", "--folder", str(tmp_path / "file")), 1, "file")
    assert os.environ.get("STORAGE_EMULATOR_HOST") == before
