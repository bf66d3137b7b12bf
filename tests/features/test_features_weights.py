"""The hub's client talks to a hub on loopback, in a process of its own because it reads its settings once."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from mien.errors import AssetError
from mien.features import weights

COMMIT = "0123456789abcdef0123456789abcdef01234567"
FILES = {"config.json": b"{}", "model.safetensors": b"weights", "README.md": b"not wanted"}

SCRIPT = """
import sys
from mien.errors import AssetError
from mien.features import weights
weights.TIMEOUT_S = 0.2
forbidden = sys.argv[1] == "no requests"
def audit(event, arguments):
    if forbidden and event in {"socket.connect", "socket.getaddrinfo"}:
        print("REQUEST", arguments[1:])
sys.addaudithook(audit)
try:
    found = weights.find(sys.argv[2], sys.argv[3])
    print(found.folder.name, found.revision, *sorted(file.name for file in found.folder.iterdir()))
except AssetError as error:
    print("AssetError:", error)
"""

Find = Callable[..., str]


class Hub(ThreadingHTTPServer):
    """The few answers of the hub that a download needs; `status` other than 200 refuses, 0 never answers."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files = dict(FILES)
        self.status = 200
        self.error_code = ""
        self.num_requests = 0
        self.silence = threading.Event()


class Handler(BaseHTTPRequestHandler):
    server: Hub

    def do_HEAD(self) -> None:  # the hub's client asks for the headers of a file first
        self.do_GET()

    def do_GET(self) -> None:
        hub = self.server
        hub.num_requests += 1
        if hub.status == 0:
            hub.silence.wait(20)
            return
        path = self.path.partition("?")[0]
        if hub.status != 200:
            self.answer(b'{"error": "refused"}', hub.status)
        elif path.startswith("/api/models/owner/name/revision/"):
            self.answer(json.dumps({"id": "owner/name", "sha": COMMIT, "siblings": []}).encode())
        elif path.startswith("/api/models/owner/name/tree/"):
            tree = [
                {"type": "file", "path": file, "size": len(content), "oid": "0" * 40}
                for file, content in hub.files.items()
            ]
            self.answer(json.dumps(tree).encode())
        else:
            self.answer(hub.files[path.rpartition("/")[2]])

    def answer(self, content: bytes, status: int = 200) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Content-Type", "application/json")
        self.send_header("ETag", '"0123"')
        self.send_header("X-Repo-Commit", COMMIT)
        if self.server.error_code:
            self.send_header("X-Error-Code", self.server.error_code)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def hub() -> Iterator[Hub]:
    with Hub() as hub:
        thread = threading.Thread(target=hub.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield hub
        hub.silence.set()
        hub.shutdown()
        thread.join()


@pytest.fixture
def find(hub: Hub, tmp_path: Path) -> Find:
    """`weights.find` in a new process whose hub is the one on loopback; returns what it printed."""

    def find(requests: str = "requests", model: str = "owner/name", revision: str = "main", **variables: str) -> str:
        endpoint = f"http://127.0.0.1:{hub.server_port}"
        settings = {"HF_ENDPOINT": endpoint, "HF_HOME": str(tmp_path), "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
        environment = {
            **os.environ,
            "HF_HUB_OFFLINE": "0",
            "MIEN_OFFLINE": "0",
            "NO_PROXY": "*",
            **settings,
            **variables,
        }
        command = [sys.executable, "-c", SCRIPT, requests, model, revision]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout

    return find


def test_a_model_is_fetched_once_and_its_commit_known(find: Find, hub: Hub) -> None:
    expected = f"{COMMIT} {COMMIT} config.json model.safetensors\n"
    assert find() == expected
    assert find("no requests") == expected
    assert find("no requests", HF_HUB_OFFLINE="1") == expected
    assert find("no requests", MIEN_OFFLINE="1") == expected


@pytest.mark.parametrize("variable", ["HF_HUB_OFFLINE", "MIEN_OFFLINE"])
def test_offline_makes_no_request(find: Find, hub: Hub, variable: str) -> None:
    printed = find("no requests", **{variable: "1"})
    assert printed.startswith(
        "AssetError: owner/name: the weights cannot be had: it is not cached, and MIEN_OFFLINE or"
    )
    assert "REQUEST" not in printed
    assert hub.num_requests == 0


def test_every_refusal_names_the_model_the_reason_and_three_remedies(find: Find, hub: Hub) -> None:
    hub.status = 500
    printed = find(revision="v1")
    assert printed.startswith("AssetError: owner/name: the weights cannot be had: the hub does not hand it out: ")
    files = "config.json model.safetensors preprocessor_config.json"
    assert f"run `hf download owner/name --revision v1 {files} --local-dir DIR`" in printed
    assert "set features.model=DIR" in printed
    assert "or set features.weights=random to try the pipeline with features that mean nothing" in printed


@pytest.mark.parametrize(
    ("status", "error_code", "reason"),
    [
        (404, "RepoNotFound", "the hub has no such model, or only after `hf auth login`"),
        (401, "RepoNotFound", "the hub has no such model, or only after `hf auth login`"),
        (404, "RevisionNotFound", "the hub has the model, but not this revision"),
        (403, "GatedRepo", "it is gated; accept its licence, then `hf auth login`"),
        (0, "", "the hub does not hand it out: "),
    ],
)
def test_the_reason_is_the_hub_s(find: Find, hub: Hub, status: int, error_code: str, reason: str) -> None:
    hub.status, hub.error_code = status, error_code
    assert f"cannot be had: {reason}" in find()
    assert hub.num_requests == 1, "it is not tried again and again"


def test_a_hub_that_cannot_be_reached_is_no_traceback(find: Find, hub: Hub) -> None:
    printed = find(HF_ENDPOINT="http://127.0.0.1:9")
    assert "cannot be had: the hub does not hand it out: [Errno 111] Connection refused" in printed


def test_a_model_without_safetensors_is_refused(find: Find, hub: Hub) -> None:
    hub.files = {"config.json": b"{}", "pytorch_model.bin": b"a pickle"}
    printed = find()
    assert "owner/name: has no model.safetensors at revision main" in printed
    assert "features.revision=REVISION" in printed


@pytest.mark.parametrize("model", ["no/such/folder", "/no/such", "name", "~/nothing", "a b/c", ""])
def test_what_is_neither_folder_nor_name_is_refused_without_a_request(model: str, no_network: None) -> None:
    with pytest.raises(AssetError, match="is neither a folder nor the name of a model on the hub"):
        weights.find(model, "main")


def test_a_folder_is_taken_as_it_is(tmp_path: Path, no_network: None) -> None:
    assert weights.find(str(tmp_path), "main") == (tmp_path, "local")
