"""Pickles where a model keeps its files: none runs, each is one clear error. Row 34 of SECURITY.md."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from mien.errors import AssetError
from mien.features.registry import build, resolve
from mien.features.vit import VitConfig
from pickle_bomb import WRAPPINGS


@pytest.fixture
def folder(tiny: Callable[[str], Path], tmp_path: Path) -> Path:
    return shutil.copytree(tiny("vit"), tmp_path / "model")


@pytest.mark.parametrize("wrapping", WRAPPINGS)
@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "preprocessor_config.json"])
def test_a_pickle_in_the_place_of_a_file_is_refused(
    folder: Path, tmp_path: Path, name: str, wrapping: str, no_network: None
) -> None:
    mark = tmp_path / "unpickled"
    (folder / name).write_bytes(WRAPPINGS[wrapping](mark))
    with pytest.raises(AssetError, match=name):
        build(resolve(VitConfig(model=str(folder), size_px=32)))
    assert not mark.exists()


@pytest.mark.parametrize("wrapping", ["pickle", "pt"])
def test_weights_that_are_a_pickle_are_not_read(folder: Path, tmp_path: Path, wrapping: str, no_network: None) -> None:
    mark = tmp_path / "unpickled"
    (folder / "pytorch_model.bin").write_bytes(WRAPPINGS[wrapping](mark))
    build(resolve(VitConfig(model=str(folder), size_px=32)))
    (folder / "model.safetensors").unlink()
    with pytest.raises(AssetError, match=r"has no model\.safetensors, the only format that is read"):
        build(resolve(VitConfig(model=str(folder), size_px=32)))
    assert not mark.exists()
