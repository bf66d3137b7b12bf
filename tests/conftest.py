"""Fixtures shared by all tests: the real videos and model files beside the project, and one local Ray."""

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from buckets import BUCKET
from file_server import FileServer, serving
from mien.storage.emulator import Emulator

ROOT = Path(__file__).parent.parent
SHARED = Path(os.environ.get("MIEN_SHARED", ROOT.parent / "shared")).resolve()  # as places are told


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the checkout."""
    return ROOT


@pytest.fixture(scope="session")
def faces_dir() -> Path:
    """Eight real face videos."""
    folder = SHARED / "data" / "faces"
    if not folder.is_dir():
        pytest.skip("needs the real face videos of shared/data/faces beside the checkout (or MIEN_SHARED)")
    return folder


@pytest.fixture(scope="session")
def assets_dir() -> Path:
    """Real model files: BlazeFace short range and the face landmarker."""
    folder = SHARED / "data" / "models"
    if not folder.is_dir():
        pytest.skip("needs the model files of shared/data/models beside the checkout (or MIEN_SHARED)")
    return folder


@pytest.fixture(scope="session")
def emulator() -> Iterator[Emulator]:
    """One emulator of Cloud Storage with one bucket; `gs://` leads to it in this process and those it starts."""
    with Emulator() as server, pytest.MonkeyPatch.context() as patch:
        patch.setenv("STORAGE_EMULATOR_HOST", server.url)
        patch.setenv("MIEN_RETRY_S", "10")
        server.create_bucket(BUCKET)
        yield server


@pytest.fixture
def web() -> Iterator[FileServer]:
    """A web server of its own for every test."""
    with serving() as server:
        yield server


@pytest.fixture(scope="session")
def local_ray(emulator: Emulator) -> Iterator[None]:
    """One local Ray for the whole session, ended by its own handle; its workers know the emulator."""
    from mien.pipelines import cluster

    with cluster.session(cluster.ClusterConfig(num_cpus=2, object_store_gb=0.5)):
        yield


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """A file system in memory, mounted by `small_disk("size=1m")`; other options remount it."""
    disk = tmp_path / "disk"

    def mount(options: str) -> Path:
        verb = f"remount,{options}" if disk.exists() else options
        disk.mkdir(exist_ok=True)
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", verb, "tmpfs", str(disk)], capture_output=True, text=True, check=False
        )
        if done.returncode:
            pytest.skip(f"needs the right to mount a small disk: {done.stderr.strip()}")
        return disk

    yield mount
    if disk.is_mount():
        subprocess.run(["umount", "--lazy", str(disk)], check=True)
