import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from gcs_conformance import Place

from mien.errors import StorageError
from mien.storage.emulator import Emulator

ENDS_S = 10

PARENT = """
import os, sys
from mien.storage.emulator import Emulator
with Emulator() as emulator:
    fork = os.fork() if "fork" in sys.argv else None
    if fork != 0:
        print(emulator.pid, fork or os.getpid(), flush=True)
    sys.stdin.read()
"""


def test_it_is_a_child_in_our_process_group() -> None:
    with Emulator() as emulator:
        child = psutil.Process(emulator.pid)
        assert child.ppid() == os.getpid()
        assert os.getpgid(emulator.pid) == os.getpgid(0)
        assert {each.laddr.ip for each in child.net_connections("inet")} == {"127.0.0.1"}
    assert not child.is_running()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
@pytest.mark.parametrize("how", ["alone", "fork"])
def test_it_ends_with_its_parent_however_that_ends(number: signal.Signals, how: str) -> None:
    """A fork of the parent that lives on holds the pipe that the child watches."""
    words = [sys.executable, "-c", PARENT, how]
    parent = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    child, fork = map(psutil.Process, map(int, parent.stdout.readline().split()))
    try:
        parent.send_signal(number)
        assert psutil.wait_procs([child], timeout=ENDS_S)[1] == []
        assert how == "alone" or fork.status() != psutil.STATUS_ZOMBIE
    finally:
        parent.kill()
        if how == "fork":
            fork.kill()
        parent.communicate()


def test_objects_in_a_folder_outlive_it(tmp_path: Path) -> None:
    with Emulator(tmp_path) as emulator:
        emulator.create_bucket("bucket")
        with contextlib.closing(Place("bucket", "", emulator.url)) as place:
            place.blob("x").upload_from_string(b"data")
        with pytest.raises(StorageError, match="another emulator uses this folder"), Emulator(tmp_path):
            pass
    with Emulator(tmp_path) as emulator, contextlib.closing(Place("bucket", "", emulator.url)) as place:
        assert place.blob("x").download_as_bytes() == b"data"


def test_without_a_folder_nothing_outlives_it() -> None:
    with Emulator() as emulator:
        emulator.create_bucket("bucket")
    with emulator:
        emulator.create_bucket("bucket")
        with pytest.raises(ValueError, match="gs://bucket: exists already"):
            emulator.create_bucket("bucket")


def test_ending_it_twice_is_no_error() -> None:
    with Emulator() as emulator:
        emulator.stop()


def test_a_proxy_of_the_environment_is_passed_by(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    with Emulator() as emulator:
        assert emulator.traffic() == {}
