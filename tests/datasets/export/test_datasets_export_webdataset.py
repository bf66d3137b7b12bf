"""Tar shards, read back by tarfile and by Ray's own reader."""

import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import ray.data
from PIL import Image

from export_datasets import NO_FACE, pictures
from mien.datasets.dataset import Dataset

Export = Callable[..., tuple[Path, dict[str, Any]]]


def entries(folder: Path) -> dict[str, bytes]:
    found = {}
    for path in sorted(folder.glob("data/*.tar")):
        with tarfile.open(path) as tar:
            found |= {member.name: tar.extractfile(member).read() for member in tar}  # type: ignore[union-attr]
    return found


def test_a_key_is_a_frame_with_its_picture_as_it_is_stored(coloured: Dataset, export_to: Export) -> None:
    folder, record = export_to(coloured, "webdataset")
    found = entries(folder)
    keys = list(dict.fromkeys(name.partition(".")[0] for name in found))
    assert len(keys) == sum(map(len, coloured)) - 3
    assert record["num_left_out"] == 3, "a frame without a face has no picture"
    kind = "png" if isinstance(coloured.sample(0)["crop"], np.ndarray) else "jpg"
    about = json.loads(found[f"{keys[1]}.json"])
    assert (about["frame"], about["face"], about["score"], about["box"]) == (1, 2, None, [None] * 4)
    assert (about["subject"], about["time_s"], about["end_s"]) == ("s0", 0.04, None)
    picture = np.array(Image.open(io.BytesIO(found[f"{keys[2]}.{kind}"])))
    assert np.abs(picture.astype(int) - pictures(6, 0)[3]).mean() < 3
    if kind == "jpg":
        assert found[f"{keys[2]}.jpg"] == coloured.sample(0)["crop"][3]
    landmarks = np.load(io.BytesIO(found[f"{keys[2]}.landmarks.npy"]))
    assert np.array_equal(landmarks, coloured.sample(0)["landmarks"][3])
    assert "3 frames without the face" in (folder / "README.md").read_text()


def test_a_key_is_a_sample_with_its_video(one: Dataset, export_to: Export) -> None:
    folder, _ = export_to(one, "webdataset", "unit=sample")
    found = entries(folder)
    key = next(iter(found)).partition(".")[0]
    with av.open(io.BytesIO(found[f"{key}.mp4"])) as container:
        shown = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    about = json.loads(found[f"{key}.json"])
    assert len(shown) == about["num_frames"] == len(about["frames"]["time_s"]) == 6
    assert about["frames"]["face"] == [1, 2, 0, 1, 1, 1]
    assert shown[NO_FACE].max() < 16
    assert len(found) == 3 * len(["mp4", "json", "landmarks.npy", "feature.npy"])


def test_ray_reads_it(one: Dataset, export_to: Export, local_ray: None) -> None:
    folder, _ = export_to(one, "webdataset")
    rows = ray.data.read_webdataset(str(folder / "data")).take_all()
    assert len(rows) == sum(map(len, one)) - 3
    row = next(row for row in rows if row["json"]["clip_id"] == one.clip_ids[1] and row["json"]["frame"] == 5)
    assert np.abs(row["jpg"].astype(int) - pictures(9, 1)[5]).mean() < 3
    assert np.array_equal(row["landmarks.npy"], one.sample(1)["landmarks"][5])


def test_no_tar_is_larger_than_told_and_nothing_is_lost(one: Dataset, export_to: Export) -> None:
    folder, _ = export_to(one, "webdataset", "shard_mb=0.05")
    paths = sorted(folder.glob("data/*.tar"))
    assert len(paths) > 3
    assert max(path.stat().st_size for path in paths) <= 50_000
    assert len({name.partition(".")[0] for name in entries(folder)}) == sum(map(len, one)) - 3


def test_keys_are_not_split_over_tars_and_a_tar_is_the_same_each_time(one: Dataset, export_to: Export) -> None:
    folder, _ = export_to(one, "webdataset", "shard_mb=0.05")
    seen = list[str]()
    for path in sorted(folder.glob("data/*.tar")):
        with tarfile.open(path) as tar:
            names = tar.getnames()
            assert {member.mtime for member in tar} == {0}
        keys = list(dict.fromkeys(name.partition(".")[0] for name in names))
        assert len(names) == 4 * len(keys)
        assert not set(keys) & set(seen)
        seen += keys
