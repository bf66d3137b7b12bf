"""A field becomes a picture with its numbers; what is none is refused, and nothing is written."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mien.analysis.analyze_warp import WarpConfig, run
from mien.errors import ConfigError, DatasetError, RefusedError
from mien.storage.local import LocalStore

FIELD = np.random.default_rng(0).normal(size=(12, 14, 2))


def of_array(folder: Path, values: np.ndarray, **figure: Any) -> WarpConfig:
    np.save(folder / "field.npy", values)
    source = {"kind": "file", "file": str(folder / "field.npy")}
    return WarpConfig.parse(
        {"source": source, "output": str(folder / "out"), "figure": {"size_in": [6, 2], "dpi": 40, **figure}}, "test"
    )


def test_a_plane_and_a_volume_have_their_own_numbers(tmp_path: Path) -> None:
    plane = run(of_array(tmp_path, FIELD)).document
    assert plane["mean_magnitude"] == pytest.approx(np.linalg.norm(FIELD, axis=-1).mean())
    assert json.loads((tmp_path / "out" / "warp_field_frame0.json").read_text())["components"] == plane["components"]
    first = (tmp_path / "out" / "warp_field_frame0.png").read_bytes()
    volume = np.random.default_rng(1).normal(size=(3, 12, 14, 3))
    report = run(of_array(tmp_path, volume, depth=2), fresh=True)
    assert report.document["is_volumetric"]
    assert report.text.splitlines()[2].startswith("displacement: volumetric, mean")
    assert (tmp_path / "out" / "warp_field_frame0.png").read_bytes() != first


def test_the_made_field_has_the_name_of_the_seed(tmp_path: Path) -> None:
    report = run(WarpConfig.parse({"source": {"kind": "synthetic"}, "output": str(tmp_path)}, "test"))
    found = {entry.name for entry in LocalStore(tmp_path).list()}
    assert found == {"synthetic_warp_field.png", "synthetic_warp_field.json", "analysis.json", "config.yaml"}
    assert report.see == f"{tmp_path}/synthetic_warp_field.png"


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (np.zeros((3, 4, 5, 6, 7)), "is no displacement field"),
        (np.zeros((8, 8, 2), np.uint8), "is uint8, so pixels and not displacements"),
        (np.full((8, 8, 2), np.nan), "not finite"),
    ],
)
def test_what_is_no_field_leaves_nothing_behind(tmp_path: Path, values: np.ndarray, words: str) -> None:
    with pytest.raises(DatasetError, match=words):
        run(of_array(tmp_path, values))
    assert not (tmp_path / "out").exists()


def test_bad_configs_are_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"source: is required; give source\.kind=file"):
        run(WarpConfig(output=str(tmp_path / "out")))
    with pytest.raises(ConfigError, match="there are 1 slices"):
        run(of_array(tmp_path, FIELD, depth=1))
    run(of_array(tmp_path, FIELD))
    with pytest.raises(RefusedError, match=r"these keys differ: figure\.arrows_per_side"):
        run(of_array(tmp_path, FIELD, arrows_per_side=3))
