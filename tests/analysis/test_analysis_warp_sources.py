"""Fields of files, of two frames and of two pictures, against what is known of them."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from mien.analysis import synthetic, warp_between
from mien.analysis.warp_between import FlowConfig, LandmarksWarpConfig
from mien.analysis.warp_sources import FieldFileConfig, FramesConfig, PicturesConfig, SyntheticWarpConfig
from mien.datasets.dataset import Dataset
from mien.errors import ConfigError, DatasetError
from mien.faces.crop import crop
from mien.video.decode import Span, decode_clip
from training_runs import make_tokens

FIELD = np.random.default_rng(0).normal(size=(5, 6, 2))


def moved(columns: dict[str, Any]) -> dict[str, Any]:
    """Landmarks of every frame lie one px further to the right than those of the frame before."""
    first, num = np.asarray(columns["landmarks"])[0] * 32, len(columns["landmarks"])
    shift = np.stack([np.arange(num), np.zeros(num), np.zeros(num)], 1)
    return columns | {"landmarks": (first[None] + shift[:, None]).astype(np.float32)}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return make_tokens(tmp_path_factory.mktemp("tokens") / "dataset", lambda _, columns: moved(columns))


def test_a_field_is_found_in_a_file(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", FIELD)
    np.savez(tmp_path / "b.npz", other=FIELD, warp_field=2 * FIELD)
    assert np.array_equal(np.asarray(FieldFileConfig(file=str(tmp_path / "a.npy")).read().values), FIELD)
    found = FieldFileConfig(file=str(tmp_path / "b.npz")).read()
    assert np.array_equal(np.asarray(found.values), 2 * FIELD)
    assert (found.name, found.facts["array"]) == ("warp_field_frame0", "warp_field")
    assert FieldFileConfig(file=str(tmp_path / "b.npz"), array="other").read().facts["array"] == "other"
    with pytest.raises(ConfigError, match=r"has no array c, only other, warp_field; set source\.array"):
        FieldFileConfig(file=str(tmp_path / "b.npz"), array="c").read()
    with pytest.raises(ConfigError, match=r"source\.file: is required"):
        FieldFileConfig().read()


def test_two_frames_of_a_clip_by_landmarks(dataset: Dataset) -> None:
    sample = dataset.sample(1)
    rows, times = np.flatnonzero(sample["face"]), np.asarray(sample["time_s"])
    source = FramesConfig(dataset=dataset.uri, clip=sample.clip_id, by=LandmarksWarpConfig())
    found = source.read()
    assert found.facts["rows"] == [rows[0], rows[-1]]
    assert found.facts["time_s"] == [times[rows[0]], times[rows[-1]]]
    middle = np.asarray(found.values)[16, 16]
    assert middle == pytest.approx([rows[-1] - rows[0], 0], abs=0.2), "every frame moves one px"
    later = FramesConfig(dataset=dataset.uri, clip=sample.clip_id, by=LandmarksWarpConfig(), from_s=times[rows[2]])
    assert later.read().facts["rows"] == [rows[2], rows[-1]]


def test_two_frames_of_a_clip_by_flow_are_those_frames(dataset: Dataset) -> None:
    sample = dataset.sample(1)
    rows = np.flatnonzero(sample["face"])
    crops = sample.crops()
    expected = warp_between.by_flow(crops[rows[0]], crops[rows[-1]], FlowConfig())
    assert np.allclose(np.asarray(FramesConfig(dataset=dataset.uri, clip=sample.clip_id).read().values), expected)


def test_frames_that_do_not_make_a_pair_are_refused(dataset: Dataset, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="lead to one frame of clip"):
        FramesConfig(dataset=dataset.uri, from_s=1e6).read()
    with pytest.raises(ConfigError, match="clip nobody: is not in"):
        FramesConfig(dataset=dataset.uri, clip="nobody").read()
    bare = make_tokens(tmp_path / "bare", lambda _, columns: {k: v for k, v in columns.items() if k != "landmarks"})
    with pytest.raises(DatasetError, match=r"has no landmarks; set source\.by\.kind=flow"):
        FramesConfig(dataset=bare.uri, by=LandmarksWarpConfig()).read()


def test_two_pictures_by_flow(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    still = cv2.GaussianBlur(rng.integers(0, 255, (64, 64, 3), np.uint8), (0, 0), 3)
    for name, pixels in (("a", still), ("b", np.roll(still, 2, axis=1))):
        Image.fromarray(pixels).save(tmp_path / f"{name}.png")
    source = PicturesConfig(first=str(tmp_path / "a.png"), second=str(tmp_path / "b.png"), size_px=64)
    assert np.median(np.asarray(source.read().values)[16:-16, 16:-16], axis=(0, 1)) == pytest.approx([2, 0], abs=0.2)
    (tmp_path / "a.png").write_bytes(b"no picture")
    with pytest.raises(DatasetError, match=r"a\.png: is no image of JPEG.*; give another picture"):
        source.read()
    with pytest.raises(ConfigError, match=r"source\.first and source\.second: are required"):
        PicturesConfig.parse({"first": "a.png"}, "test")


def test_two_pictures_of_a_real_face_by_landmarks(
    faces_dir: Path, assets_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MIEN_ASSETS", str(assets_dir))
    frame = next(decode_clip(faces_dir / "d0.mp4", Span(0.0, 0.9))).rgb
    boxes = {"a": (40.0, 80.0, 470.0, 510.0), "b": (30.0, 80.0, 460.0, 510.0)}
    for name, box in boxes.items():
        Image.fromarray(crop(frame, box, 256)[0]).save(tmp_path / f"{name}.png")
    Image.fromarray(np.zeros((256, 256, 3), np.uint8)).save(tmp_path / "black.png")
    source = PicturesConfig(
        first=str(tmp_path / "a.png"), second=str(tmp_path / "b.png"), size_px=256, by=LandmarksWarpConfig()
    )
    moved_px = np.asarray(source.read().values)[64:-64, 64:-64].mean((0, 1))
    assert moved_px == pytest.approx([10 * 256 / 430, 0], abs=1), "the box moved 10 px to the left"
    with pytest.raises(DatasetError, match=r"black\.png: shows no face that the landmarker finds"):
        source.model_copy(update={"second": str(tmp_path / "black.png")}).read()


def test_a_made_field_is_that_of_the_seed() -> None:
    found = SyntheticWarpConfig(height_px=20, width_px=30).read()
    assert np.array_equal(np.asarray(found.values), synthetic.warp(20, 30))
    assert found.name == "synthetic_warp_field"
