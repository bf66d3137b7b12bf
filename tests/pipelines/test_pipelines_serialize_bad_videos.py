"""One folder with a good video and every kind of bad one: the good is made, each bad one is one row that says why."""

import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import ray
import ray.data
from PIL import Image

import mien.datasets
from command_line import Ended, run_here, run_process
from hostile_bytes import write_large_frames
from hostile_videos import EXPECTED, NUM_GOOD_FRAMES, write_good, write_hostile
from mien import schema
from mien.clips.clip import Clip, Source
from mien.clips.sampling import StrideConfig
from mien.datasets.dataset import Dataset
from mien.datasets.index import rows_to_table
from mien.datasets.verify import verify
from mien.pipelines.handout import TaskSize, grouped
from mien.pipelines.serialize import SerializeConfig
from mien.pipelines.stages import CUT, CutStage
from mien.pipelines.tally import Tally
from mien.video.probe import probe

UNPRINTABLE = "two\nlines.mp4"
NOT_UTF8 = b"caf\xe9.mp4"
SETTINGS = ("crop.size_px=64", "cluster.num_cpus=1", "cluster.object_store_gb=0.2")


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory, faces_dir: Path) -> Path:
    folder = tmp_path_factory.mktemp("videos")
    write_good(folder / "good.mp4", faces_dir)
    write_hostile(folder, folder / "good.mp4")
    (folder / UNPRINTABLE).touch()
    Path(os.fsdecode(bytes(folder) + b"/" + NOT_UTF8)).touch()
    (folder / "photo.jpg").write_bytes((folder / "photo_jpeg.mp4").read_bytes())
    (folder / "leads_nowhere.mp4").symlink_to(folder / "gone.mp4")
    (folder / "red\x1b[31m.txt").touch()
    return folder


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("outputs") / "dataset"


@pytest.fixture(scope="module")
def ended(videos: Path, output: Path, assets_dir: Path) -> Ended:
    """The run of a user: the console script in a process of its own."""
    words = ("serialize", f"source={videos}", f"output={output}", *SETTINGS, "--json")
    return run_process(*words, MIEN_ASSETS=str(assets_dir))


@pytest.fixture
def dataset(ended: Ended, output: Path) -> Iterator[Dataset]:
    opened = mien.datasets.open(output)
    yield opened
    opened.close()


def failures(dataset: Dataset) -> dict[str, dict[str, str]]:
    rows = dataset.failures.to_pylist()
    named = {Path(row["source_uri"]).name: row for row in rows}
    assert len(named) == len(rows), "a file fails once"
    return named


def test_the_run_ends_with_its_own_exit_code_and_one_line(ended: Ended, output: Path) -> None:
    assert ended.code == 3, ended.err
    assert "Traceback" not in ended.err
    num_bad = len(EXPECTED) + 1
    assert ended.complaints == [
        f"mien: {output}: finished, but {num_bad} of {num_bad + 1} clips failed (tolerated: max_failed=0); "
        "see failures.parquet and preview/failures.png"
    ]


def test_stdout_holds_the_report_alone_though_clips_failed(ended: Ended, output: Path) -> None:
    report = json.loads(ended.out)
    assert report["path"] == str(output)
    assert (report["num_samples"], report["num_frames"], report["num_failed"]) == (
        1,
        NUM_GOOD_FRAMES,
        len(EXPECTED) + 1,
    )


def test_failures_are_told_and_a_long_list_says_how_many_more_there_are(ended: Ended) -> None:
    told = [line for line in ended.err.splitlines() if line.startswith("failed ")]
    assert len(told) == 11
    assert told[-1].split(maxsplit=1)[1] == f"{len(EXPECTED) + 1 - 10} more, see failures.parquet"


def test_files_that_are_no_videos_are_named_and_passed_over(ended: Ended, videos: Path) -> None:
    skipped = {line.split(maxsplit=1)[1] for line in ended.err.splitlines() if line.startswith("skipped ")}
    assert f"{videos}/photo.jpg: not a video by its ending" in skipped
    assert f"{videos}/leads_nowhere.mp4: is no file, or a link that leads to none" in skipped
    assert f"{videos}/caf\\udce9.mp4: its name is not UTF-8; rename it" in skipped
    assert f"{videos}/red\\x1b[31m.txt: not a video by its ending" in skipped, "no name paints the terminal"


def test_the_good_video_is_made_whole(dataset: Dataset) -> None:
    assert [Path(row["source_uri"]).name for row in dataset.index.to_pylist()] == ["good.mp4"]
    sample = dataset[dataset.clip_ids[0]]
    assert len(sample) == NUM_GOOD_FRAMES
    assert sample.row["num_detected"] == NUM_GOOD_FRAMES
    assert sample.crops().shape == (NUM_GOOD_FRAMES, 64, 64, 3)
    assert sample.crops().any(axis=(1, 2, 3)).all()


@pytest.mark.parametrize("name", EXPECTED)
def test_a_bad_video_is_one_row_that_says_what_is_wrong_and_what_to_do(
    dataset: Dataset, videos: Path, name: str
) -> None:
    row = failures(dataset)[name]
    error_type, *parts = EXPECTED[name]
    assert row["error"].startswith(f"{videos / name}: ")
    assert row["error_type"] == error_type
    assert [part for part in parts if part not in row["error"]] == [], row["error"]
    assert "\n" not in row["error"]
    assert "defect of mien" not in row["error"]
    assert row["attempts"] == 1


def test_a_video_that_states_no_length_is_planned_like_one_that_cannot_be_read(videos: Path) -> None:
    info = probe(str(videos / "good.mp4"))
    source = Source(str(videos / "good.mp4"), 1, 1)
    clips = list(StrideConfig(length_s=1, stride_s=1).cut(source, lambda _: replace(info, duration_s=0.0)))
    assert clips == [Clip(source)]


def test_a_name_with_a_line_break_stays_on_one_line(dataset: Dataset, ended: Ended) -> None:
    error = failures(dataset)[UNPRINTABLE]["error"]
    assert error.endswith("two\\nlines.mp4: is empty; copy it again or leave it out")
    assert not [line for line in ended.err.splitlines() if line.startswith("lines.mp4")]


def test_nothing_else_fails(dataset: Dataset) -> None:
    assert failures(dataset).keys() == {*EXPECTED, UNPRINTABLE}


def test_the_dataset_is_whole_and_nothing_half_written_is_left(dataset: Dataset, output: Path) -> None:
    result = verify(dataset)
    assert result["problems"] == []
    assert result["foreign"] == []
    assert [path.name for path in output.rglob("*") if path.name.startswith(".")] == []


def test_the_gallery_has_a_row_for_every_failure_and_a_frame_where_one_could_be_read(dataset: Dataset) -> None:
    with_frame = {name for name, row in failures(dataset).items() if row["thumb"]}
    assert with_frame == {"cut_in_the_middle.mp4", "no_face.mp4"}
    head_px, num_rows = 44, len(EXPECTED) + 1
    with Image.open(Path(dataset.uri) / "preview" / "failures.png") as image:
        pixels = np.asarray(image.convert("RGB"), int)
    rows = np.split(pixels[head_px:], num_rows)
    assert [number for number, row in enumerate(rows) if row[:, 160:].min() > 100] == [], "rows without a name"
    colours = [np.ptp(row[20:-20, 20:110], axis=2).max() for row in rows]
    assert colours[sorted([*EXPECTED, UNPRINTABLE]).index("cut_in_the_middle.mp4")] > 50, "the face has colours"


def test_failures_may_be_tolerated_and_tried_again(
    ended: Ended,
    output: Path,
    videos: Path,
    local_ray: None,
    assets_dir: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("MIEN_ASSETS", str(assets_dir))
    words = ("serialize", f"source={videos}", f"output={output}", *SETTINGS, "max_failed=1")
    again = run_here(capfd, *words)
    assert again.code == 0
    assert f"all {len(EXPECTED) + 2} clips are done already" in again.err
    tried = run_here(capfd, *words, "--retry-failed")
    assert tried.code == 0, tried.err
    dataset = mien.datasets.open(output)
    assert {row["attempts"] for row in failures(dataset).values()} == {2}
    assert verify(dataset)["problems"] == []


@pytest.mark.slow
def test_a_video_that_crashes_its_workers_is_given_up_after_some_and_the_others_are_made(
    local_ray: None, videos: Path, assets_dir: Path
) -> None:
    class Crashing(CutStage):
        def cut(self, clip: Mapping[str, Any]) -> tuple[pa.Table, int, str]:
            if clip["source_uri"].endswith("empty.mp4"):
                os._exit(139)
            return super().cut(clip)

    names = ("good.mp4", "empty.mp4", "text.mp4")
    plan = rows_to_table((Clip(Source(f"{videos}/{name}", 0, 0)).to_row() for name in names), schema.PLAN)
    model = ray.put({"face_detector": (assets_dir / "face_detection_short_range.tflite").read_bytes()})
    stage = Crashing(SerializeConfig(), model, ray.remote(Tally).remote([CUT]))
    clips = ray.data.from_arrow(grouped(plan, TaskSize(1))).repartition(target_num_rows_per_block=1)
    rows = clips.map_batches(stage, batch_size=1, batch_format="pyarrow").take_all()
    errors = {Path(json.loads(row["clip"])["source_uri"]).name: json.loads(row["failure"])["error"] for row in rows}
    assert errors.keys() == set(names)
    assert "empty.mp4: ended its worker 3 times" in errors["empty.mp4"]
    assert "has changed since it was planned" in errors["good.mp4"]


@pytest.mark.slow
def test_a_clip_that_wants_too_much_memory_costs_neither_its_worker_nor_its_neighbours(
    local_ray: None, videos: Path, tmp_path: Path, assets_dir: Path
) -> None:
    paths = [tmp_path / "hog.mp4", videos / "good.mp4"]
    write_large_frames(paths[0], 5600)
    sources = (Source(str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in paths * 5)
    rows = [Clip(source, reason=str(number)).to_row() for number, source in enumerate(sources)]
    model = ray.put({"face_detector": (assets_dir / "face_detection_short_range.tflite").read_bytes()})
    tally = ray.remote(Tally).remote([CUT])
    config = SerializeConfig.parse({"workers": {"cut": {"clip_memory_gb": 0.15}}}, "test")
    plan = rows_to_table(rows, schema.PLAN)
    clips = ray.data.from_arrow(grouped(plan, TaskSize(1))).repartition(target_num_rows_per_block=1)
    stage = CutStage(config, model, tally)
    made = clips.map_batches(stage, batch_size=1, batch_format="pyarrow").take_all()
    ended = Counter(
        (Path(json.loads(row["clip"])["source_uri"]).name, json.loads(row["failure"] or "{}").get("error_type"))
        for row in made
    )
    assert ended == {("hog.mp4", "LimitExceeded"): 5, ("good.mp4", None): 5}
    assert {ray.get(tally.begin.remote(row["clip_id"], "", "")) for row in rows} == {1}, "no worker died over a clip"
    assert all(node["Alive"] for node in ray.nodes())
