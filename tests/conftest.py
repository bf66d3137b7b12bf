"""Fixtures shared by all tests: the real videos and model files beside the project, and one local Ray."""

import functools
import gc
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jaxtyping
import pytest

from buckets import BUCKET
from file_server import FileServer, serving
from mien.storage.emulator import Emulator
from mien.storage.local import LocalStore

if TYPE_CHECKING:
    from mien.datasets.dataset import Dataset
    from mien.datasets.formats import FormatConfig

_CHECKED = (
    *("clip_norm", "expression_transformer", "face_id", "layers"),
    *("positions", "predictor", "reconstruction", "subjects"),
)
"""Models whose shapes are checked at every call. Others are compiled in tests, and no compiler follows the checks."""
jaxtyping.install_import_hook(
    ["mien.losses", "mien.objectives", *(f"mien.models.{name}" for name in _CHECKED)], "beartype.beartype"
)

ROOT = Path(__file__).parent.parent
SHARED = Path(os.environ.get("MIEN_SHARED", ROOT.parent / "shared")).resolve()  # as places are told


@pytest.fixture
def unchecked() -> Iterator[None]:
    """As outside of tests: shapes in signatures are not checked, so what refuses a wrong one is the code itself."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


def pytest_collection_finish() -> None:
    """What the imports made stays: without it a full collection of garbage takes 0.4 s, and some tests ask for one."""
    gc.freeze()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Of several workers (`-n 2`) one alone has the local Ray, and begins with what needs it; no file is split."""
    from xdist.scheduler import LoadScopeScheduling

    class FileScheduling(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.partition("::")[0]
            return "ray" if _needs_ray(file) else file

    return FileScheduling(config, log)  # the largest scope goes first


@functools.cache
def _needs_ray(file: str) -> bool:
    return "local_ray" in (ROOT / file).read_text(encoding="utf-8")


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


@pytest.fixture(scope="session")
def put_finished(tmp_path_factory: pytest.TempPathFactory) -> "Callable[[LocalStore, FormatConfig], Dataset]":
    """`put_finished(store, kind)`: the finished dataset of `sample_datasets`, a copy of the first of its kind."""
    from mien.datasets.dataset import Dataset
    from sample_datasets import make_finished

    templates = dict["FormatConfig", Path]()

    def put(store: LocalStore, kind: "FormatConfig") -> Dataset:
        if kind not in templates:
            templates[kind] = tmp_path_factory.mktemp("template") / "dataset"
            make_finished(LocalStore(templates[kind]), kind)
        shutil.copytree(templates[kind], store.root, dirs_exist_ok=True)
        return Dataset(store)

    return put


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
