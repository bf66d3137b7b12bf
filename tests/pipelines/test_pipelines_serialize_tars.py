"""Videos in tars, on the disk and in a bucket: the same crops as from the folder that was packed."""

import json
from pathlib import Path, PurePath
from typing import Any

import pytest

import mien.datasets
from buckets import BUCKET, read_from
from mien import assets
from mien.datasets.verify import verify
from mien.pipelines import stages
from mien.pipelines.plan import preview_plan
from mien.pipelines.serialize import SerializeConfig, SerializeReport, run
from mien.pipelines.sink import FAILURE
from mien.storage.emulator import Emulator
from mien.storage.gcs import GcsStore
from mien.storage.tar import split_member
from tars import pack

FAST = {"crop": {"size_px": 64}, "fps": 3, "num_thumbs": 2}


@pytest.fixture(autouse=True)
def _models(assets_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIEN_ASSETS", str(assets_dir))


def config(source: str, output: Path, **values: Any) -> SerializeConfig:
    return SerializeConfig.parse({**FAST, "source": source, "output": str(output), **values}, "test")


def checksums_by_video(output: Path) -> dict[str, str]:
    """Name of a video, without where it lies -> sums of all values of its sample but the id, which knows the place."""
    dataset = mien.datasets.open(output)
    assert verify(dataset)["problems"] == []
    sums = dict[str, str]()
    for row in dataset.index.to_pylist():
        packed = split_member(row["source_uri"])
        name = PurePath(packed.name if packed else row["source_uri"]).name
        values = json.loads(row["checksums"])
        del values["clip_id"]
        sums[name] = json.dumps(values, sort_keys=True)
    return sums


def made(source: str, output: Path, **values: Any) -> tuple[SerializeReport, dict[str, str]]:
    report = run(config(source, output, **values))
    return report, checksums_by_video(output)


def test_tars_give_the_same_crops_as_the_folder_that_was_packed(
    local_ray: None, emulator: Emulator, faces_dir: Path, tmp_path: Path
) -> None:
    folder, tars = tmp_path / "folder", tmp_path / "tars"
    for place in (folder, tars):
        place.mkdir()
    videos = {name: (faces_dir / name).read_bytes() for name in ("d18.mp4", "d19.mp4", "s32.mp4")}
    for name, data in videos.items():
        (folder / name).write_bytes(data)
    pack(tars / "0.tar", {"d18.mp4": videos["d18.mp4"], "d18.json": b'{"subject": "anna"}'})
    pack(tars / "1.tar", {f"x/{name}": videos[name] for name in ("d19.mp4", "s32.mp4")})
    store = GcsStore(f"gs://{BUCKET}/tars-whole")
    for path in tars.iterdir():
        store.replace(path.name, path.read_bytes())
    _, expected = made(str(folder), tmp_path / "a")
    assert sorted(expected) == sorted(videos)
    report, packed = made(str(tars), tmp_path / "b")
    assert (report.num_clips, report.num_failed) == (3, 0)
    assert packed == expected
    assert made(store.uri, tmp_path / "c")[1] == expected
    subjects = [row["subject"] for row in mien.datasets.open(tmp_path / "c").index.to_pylist()]
    assert subjects == ["anna", "", ""]


def test_a_damaged_tar_is_one_failure_and_its_good_members_are_made(faces_dir: Path, tmp_path: Path) -> None:
    path = pack(tmp_path / "0.tar", {name: (faces_dir / name).read_bytes() for name in ("d18.mp4", "d19.mp4")})
    path.write_bytes(path.read_bytes()[:-150_000])
    job = config(str(path), tmp_path / "out", fps=1)
    report, rows = preview_plan(job)
    assert report.num_clips == 2
    cutter = stages.load_cutter(job, {"face_detector": assets.read("face_detector")})
    (_, num_frames, no_failure), (cut, _, failure) = (stages.cut_row(cutter, row) for row in rows)
    assert (num_frames, no_failure) == (8, "")
    assert failure.startswith(f"{path}: is not a sound tar: it is cut off within d19.mp4: at least ")
    assert json.loads(cut.column(FAILURE)[0].as_py())["stage"] == "decode"


def test_strides_of_members_in_a_bucket_are_planned_from_headers_read_by_range(
    emulator: Emulator, faces_dir: Path, tmp_path: Path
) -> None:
    data = pack(
        tmp_path / "0.tar", {name: (faces_dir / name).read_bytes() for name in ("d9.mp4", "s20.mp4")}
    ).read_bytes()
    store = GcsStore(f"gs://{BUCKET}/tars-strides")
    store.replace("0.tar", data)
    emulator.reset_traffic()
    clips = {"kind": "stride", "length_s": 5, "stride_s": 5}
    report, rows = preview_plan(config(store.uri, tmp_path / "out", clips=clips))
    assert report.num_clips == 4 + 2  # of 19.57 and 9.9 s
    assert all(row["end_s"] - row["start_s"] <= 5 for row in rows), "no header was given up"
    assert read_from(emulator)[1] < 0.08 * len(data), "each index is read once"
    local, _ = preview_plan(config(str(tmp_path / "0.tar"), tmp_path / "out", clips=clips))
    assert local == report
