"""The whole job from a bucket into a bucket, through a real Ray and the emulator."""

import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import mien.datasets
from buckets import failing, read_from
from long_videos import WORST_STARTS_S, lengthen
from mien.datasets.verify import verify
from mien.errors import PreflightError, Unavailable
from mien.pipelines.serialize import SerializeConfig, SerializeReport, dry_run, serialize
from mien.storage.emulator import Emulator
from mien.storage.gcs import GcsStore

NAMES = ("d18.mp4", "d19.mp4")


@pytest.fixture(scope="module")
def videos(emulator: Emulator, faces_dir: Path) -> str:
    """Two short real videos, and a file that is none."""
    store = GcsStore("gs://mien-test/videos")
    for name in NAMES:
        store.replace(f"subject_1/{name}", (faces_dir / name).read_bytes())
    store.replace("notes.txt", b"no video")
    GcsStore("gs://mien-test").replace("videos-elsewhere.mp4", b"begins alike")
    return store.uri


@pytest.fixture(autouse=True)
def _models(assets_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIEN_ASSETS", str(assets_dir))


def config(source: str, output: str, **values: Any) -> SerializeConfig:
    fast = {"crop": {"size_px": 64}, "fps": 5, "cluster": {"num_cpus": 2}}
    return SerializeConfig.parse({**fast, "source": source, "output": output, **values}, "test")


@pytest.fixture(scope="module")
def made(local_ray: None, videos: str, assets_dir: Path) -> Callable[[str], tuple[SerializeConfig, SerializeReport]]:
    """Kind of the shards -> the run that made a dataset of them in the bucket; each is made once."""

    @functools.cache
    def make(kind: str) -> tuple[SerializeConfig, SerializeReport]:
        values = config(videos, f"gs://mien-test/out-{kind}", format={"kind": kind})
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("MIEN_ASSETS", str(assets_dir))
            return values, serialize(values)

    return make


@pytest.mark.parametrize("kind", ["parquet", "hdf5"])
def test_a_bucket_becomes_a_verified_dataset_in_a_bucket_and_resumes(made: Any, videos: str, kind: str) -> None:
    values, report = made(kind)
    assert (report.num_clips, report.num_failed, report.path) == (2, 0, f"gs://mien-test/out-{kind}")
    dataset = mien.datasets.open(report.path)
    assert verify(dataset)["problems"] == []
    assert verify(dataset)["foreign"] == []
    assert [row["source_uri"] for row in dataset.index.to_pylist()] == [f"{videos}/subject_1/{name}" for name in NAMES]
    store = GcsStore(report.path)
    before = {entry.name: entry.generation for entry in store.list("data/")}
    assert serialize(values).num_clips == 2
    assert {entry.name: entry.generation for entry in store.list("data/")} == before


def test_a_local_copy_of_the_videos_gives_the_same_values(made: Any, faces_dir: Path, tmp_path: Path) -> None:
    folder = tmp_path / "videos"
    folder.mkdir()
    for name in NAMES:
        (folder / name).write_bytes((faces_dir / name).read_bytes())
    local = serialize(config(str(folder), str(tmp_path / "local")))
    datasets = [mien.datasets.open(report.path) for report in (made("parquet")[1], local)]
    checksums = [[row["checksums"] for row in dataset.index.to_pylist()] for dataset in datasets]
    without_ids = [[{k: v for k, v in json.loads(c).items() if k != "clip_id"} for c in column] for column in checksums]
    assert without_ids[0] == without_ids[1]


def test_patterns_and_single_objects_are_sources(emulator: Emulator, videos: str) -> None:
    def planned(source: str) -> list[str]:
        rows = dry_run(config(source, "gs://mien-test/none"))[1]
        return [row["source_uri"].rpartition("/")[2] for row in rows]

    assert planned(f"{videos}/*/d1*.mp4") == list(NAMES)
    assert planned(f"{videos}/subject_1/d19.mp4") == ["d19.mp4"]


@pytest.mark.parametrize(
    ("source", "output", "said"),
    [
        ("gs://mien-test/nothing", "gs://mien-test/out", "gs://mien-test/nothing: holds nothing"),
        ("gs://no-such-bucket/x", "gs://mien-test/out", "gs://no-such-bucket: does not exist"),
        ("gs://mien-test/videos", "gs://no-such-bucket/x", "output=gs://no-such-bucket/x: does not exist"),
    ],
)
def test_a_place_that_is_not_there_is_told_before_anything_starts(
    emulator: Emulator, videos: str, source: str, output: str, said: str
) -> None:
    with pytest.raises(PreflightError, match=said):
        serialize(config(source, output))


def test_a_source_that_may_be_listed_and_not_read_is_told_before_anything_starts(
    emulator: Emulator, videos: str
) -> None:
    with (
        failing(emulator, r"GET .*videos%2F.*alt=media", "status:403", 100),
        pytest.raises(PreflightError, match=r"d18\.mp4: permission denied .*storage.objectViewer"),
    ):
        serialize(config(videos, "gs://mien-test/unreadable"))
    assert list(GcsStore("gs://mien-test/unreadable").list()) == []


def test_an_output_that_may_not_be_written_is_told_before_anything_starts(emulator: Emulator, videos: str) -> None:
    with (
        failing(emulator, "POST .*upload", "status:403", 100),
        pytest.raises(PreflightError, match=r"output=gs://mien-test/forbidden: .*permission denied"),
    ):
        serialize(config(videos, "gs://mien-test/forbidden"))


@pytest.mark.slow
def test_an_outage_longer_than_the_budget_ends_resumable(local_ray: None, emulator: Emulator, videos: str) -> None:
    values = config(videos, "gs://mien-test/out-outage")
    with (
        failing(emulator, r"GET .*videos%2F.*alt=media", "status:503", 10_000, skip=1),  # the preflight reads one
        pytest.raises(Unavailable, match=r"the service does not answer .*; run the same command, it resumes"),
    ):
        serialize(values)
    assert serialize(values).num_failed == 0
    assert verify(mien.datasets.open(values.output))["problems"] == []


@pytest.mark.parametrize(
    ("match", "skip"),
    [(r"GET .*videos%2F.*alt=media", 1), ("POST /upload.*ifGenerationMatch=0", 3)],
    ids=["read", "write"],
)
def test_a_quota_that_is_used_up_ends_resumable_and_blames_no_clip(
    local_ray: None, emulator: Emulator, videos: str, match: str, skip: int
) -> None:
    values = config(videos, f"gs://mien-test/out-quota-{skip}", min_shard_mb=0)
    emulator.faults([{"match": match, "fault": "status:403:quotaExceeded", "skip": skip, "times": 10_000}])
    try:
        with pytest.raises(Unavailable, match=r"a quota of the project is used up .*it resumes$") as raised:
            serialize(values)
        assert emulator.fired()
    finally:
        emulator.faults([])
    assert "\n" not in str(raised.value)
    assert serialize(values).num_failed == 0
    dataset = mien.datasets.open(values.output)
    assert (verify(dataset)["problems"], verify(dataset)["foreign"], len(dataset)) == ([], [], 2)


@pytest.mark.parametrize("kind", ["random", "list"])
@pytest.mark.parametrize("name", NAMES)  # small ones: their index weighs most
def test_a_run_by_several_workers_reads_at_most_15_percent_of_a_long_video_for_three_short_clips(
    local_ray: None, emulator: Emulator, faces_dir: Path, tmp_path: Path, name: str, kind: str
) -> None:
    lengthen(faces_dir / name, tmp_path / name)
    store = GcsStore(f"gs://mien-test/long-{kind}-{Path(name).stem}")
    store.replace(name, (tmp_path / name).read_bytes())
    emulator.reset_traffic()
    rows = [f"{name},{start_s},{start_s + 3}" for start_s in WORST_STARTS_S[name]]
    (tmp_path / "clips.csv").write_text("\n".join(["source,start_s,end_s", *rows]))
    clips = {
        "random": {"kind": "random", "num_clips": 3, "length_s": 3.0, "end_margin_s": 4.0},
        "list": {"kind": "list", "path": str(tmp_path / "clips.csv")},
    }[kind]
    assert serialize(config(store.uri, str(tmp_path / "out"), clips=clips)).num_clips == 3
    assert read_from(emulator)[1] <= 0.15 * (tmp_path / name).stat().st_size
