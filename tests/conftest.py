"""Fixtures shared by all tests: the real videos and model files beside the project, and one local Ray."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SHARED = Path(os.environ.get("MIEN_SHARED", ROOT.parent / "shared"))


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
def local_ray(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """One local Ray for the whole session, ended by its own handle."""
    from mien.pipelines import cluster

    with cluster.session(cluster.ClusterConfig(num_cpus=2, object_store_gb=0.5)):
        yield
