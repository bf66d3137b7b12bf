import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mien.datasets
from mien.datasets.dataset import Dataset, Sample
from mien.datasets.verify import verify
from mien.demos.quickstart import run
from mien.demos.sample_videos import truth_of


@pytest.fixture(scope="module")
def made(local_ray: None, assets_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path]:
    folder = tmp_path_factory.mktemp("quickstart")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MIEN_ASSETS", str(assets_dir))
        return run(folder), folder


@pytest.fixture
def dataset(made: tuple[dict[str, Any], Path]) -> Dataset:
    return mien.datasets.open(made[1] / "dataset")


def test_it_ends_with_a_picture_and_the_next_command(made: tuple[dict[str, Any], Path]) -> None:
    result, folder = made
    assert Path(result["contact_sheet"]).read_bytes()[:4] == b"\x89PNG"
    assert result["next"] == f"mien inspect {folder / 'dataset'}"
    assert (result["num_clips"], result["num_samples"], result["subjects"]) == (3, 4, {"a": 1, "b": 1})


def test_the_dataset_is_whole(dataset: Dataset) -> None:
    assert verify(dataset)["ok"]
    assert dataset.failures.num_rows == 0


def iou(a: Any, b: Any) -> float:
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    shared = max(0.0, width) * max(0.0, height)
    area = [(box[2] - box[0]) * (box[3] - box[1]) for box in (a, b)]
    return float(shared / (sum(area) - shared))


def true_boxes(sample: Sample) -> list[list[Any]]:
    """Boxes of the faces that are wholly visible, per frame."""
    truth = json.loads(truth_of(Path(sample.row["source_uri"])).read_text())
    return [[face["box"] for face in frame["faces"] if face["visible"] == 1] for frame in truth["frames"]]


def test_every_crop_is_where_the_generator_put_a_face(dataset: Dataset) -> None:
    checked = 0
    for sample in dataset:
        boxes, found = true_boxes(sample), np.asarray(sample["box"])
        for row in np.flatnonzero(np.isfinite(found).all(axis=1)):
            if boxes[row]:
                assert max(iou(found[row], box) for box in boxes[row]) >= 0.6
                checked += 1
    assert checked > 350


def test_the_crop_shows_the_whole_face_and_keeps_its_aspect(dataset: Dataset) -> None:
    for sample in dataset:
        square, box = np.asarray(sample["crop_box"]), np.asarray(sample["box"])
        rows = np.isfinite(box).all(axis=1)
        np.testing.assert_allclose(square[rows, 2] - square[rows, 0], square[rows, 3] - square[rows, 1], rtol=1e-3)
        assert (square[rows, :2] <= box[rows, :2] + 1).all()
        assert (square[rows, 2:] >= box[rows, 2:] - 1).all()


def test_frames_without_a_face_are_rows_that_say_so(dataset: Dataset) -> None:
    hidden = next(sample for sample in dataset if sample.row["subject"] == "b")
    status = np.asarray(hidden["face"])
    assert 5 <= (status == 0).sum() <= 30
    assert all(not crop for crop, value in zip(hidden["crop"], status, strict=True) if value == 0)


def test_the_same_command_does_nothing_twice(made: tuple[dict[str, Any], Path], assets_dir: Path) -> None:
    result, folder = made
    before = {path: path.stat().st_mtime_ns for path in (folder / "videos").glob("*.mp4")}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MIEN_ASSETS", str(assets_dir))
        assert run(folder) == result
    assert {path: path.stat().st_mtime_ns for path in (folder / "videos").glob("*.mp4")} == before
