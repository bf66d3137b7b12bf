import base64
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from mien.datasets import index
from mien.datasets.card import CardConfig
from mien.datasets.dataset import CONFIG
from mien.datasets.effort import Effort
from mien.datasets.formats import open_shard
from mien.datasets.frames import serialize, to_table
from mien.datasets.hdf5 import Hdf5Config
from mien.datasets.parquet import ParquetConfig
from mien.datasets.preview import PreviewConfig
from mien.datasets.publish import publish
from mien.datasets.status import FINISHED, Observer
from mien.datasets.verify import verify
from mien.errors import DatasetError, FaceError, RefusedError
from mien.pipelines.sink import (
    BUSY,
    CLIP,
    FAILURE,
    FRAMES,
    HOSTS,
    ShardSink,
    Target,
    crossing_row,
    failure_of,
    write_clips,
)
from mien.storage.commit import COMPLETE, completion_generation, read_commits
from mien.storage.local import LocalStore
from sample_datasets import PROVENANCE, make_clip, make_frames, tables


def made(number: int, num_frames: int = 4) -> tuple[dict[str, Any], pa.Buffer, dict[str, Any]]:
    clip = make_clip(number)
    facts = {"width_px": 64, "height_px": 48, "rotation_deg": 0, "fps": 25.0, "is_vfr": False}
    facts |= {"time_base_num": 1, "time_base_den": 25}
    frames = make_frames(clip.clip_id, num_frames, seed=number)
    return {**clip.to_row(), **facts}, serialize(frames), {}


def failed(number: int) -> tuple[dict[str, Any], pa.Buffer, dict[str, Any]]:
    clip = make_clip(number).to_row()
    return clip, pa.py_buffer(b""), failure_of(clip, "faces", FaceError("no face"), b"jpeg")


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    store = LocalStore(tmp_path / "out")
    index.write_plan(store, (make_clip(number).to_row() for number in range(3)))
    return store


def target(store: LocalStore, kind: Any = None, run_id: str = "run") -> Target:
    return Target(str(store.root), run_id, kind or ParquetConfig(), {})


def names(store: LocalStore) -> list[str]:
    return [entry.name for entry in store.list() if not entry.name.startswith(index.PLAN_FOLDER)]


@pytest.mark.parametrize("kind", [ParquetConfig(), Hdf5Config()])
def test_one_write_is_one_shard_and_one_commit(store: LocalStore, kind: Any) -> None:
    write_clips(target(store, kind), [made(0), failed(1), made(2, 7)])
    table, failures = tables(store)
    assert [row["num_frames"] for row in table.to_pylist()] == [4, 7]
    assert [(row["row_start"], row["row_stop"]) for row in table.to_pylist()] == [(0, 4), (4, 11)]
    assert failures.to_pylist()[0]["thumb"] == b"jpeg"
    assert len([name for name in names(store) if name.startswith("data/")]) == 1
    assert len([name for name in names(store) if name.startswith("commits/")]) == 1
    assert not list((store.root / ".scratch").iterdir())
    with open_shard(store.fetch(table["file"][0].as_py())) as shard:
        assert [sample["clip_id"] for sample in shard.samples()] == [make_clip(0).clip_id, make_clip(2).clip_id]


def test_the_record_tells_what_the_clips_took_and_the_index_does_not(store: LocalStore) -> None:
    clips = [made(0), failed(1), made(2)]
    for clip, _, _ in clips[:2]:
        clip |= {BUSY: {"cut": [2.0, 1.0, 0.0], "features": [4.0, 1.0, 2.0]}, HOSTS: ["a", "b"]}
    write_clips(target(store)._replace(started_at=7.0), clips)
    (record,) = read_commits(store)
    write = record["effort"]["busy"].pop("write")
    assert record["effort"] == {"busy": {"cut": [4.0, 2.0, 0.0], "features": [8.0, 2.0, 4.0]}, "hosts": ["a", "b"]}
    assert write[0] > 0
    assert (record["run_id"], record["started_at"]) == ("run", 7.0)
    assert not any({BUSY, HOSTS} & row.keys() for row in (*record["samples"], *record["failures"]))
    assert Effort.of([record]).busy["features"].gpu_s == 4.0


def test_failures_alone_make_no_data_file(store: LocalStore) -> None:
    write_clips(target(store), [failed(0)])
    assert [name.split("/")[0] for name in names(store)] == ["commits"]
    assert tables(store)[1].num_rows == 1


def test_no_clips_leave_nothing(store: LocalStore) -> None:
    write_clips(target(store), [])
    assert names(store) == []


def test_the_same_names_and_time_make_the_same_record(store: LocalStore, tmp_path: Path) -> None:
    other = LocalStore(tmp_path / "other")
    for place in (store, other):
        write_clips(target(place), [made(0), failed(1)], names=lambda: "attempt", clock=lambda: 12.5)
    (record,), (again,) = read_commits(store), read_commits(other)
    assert (record["write_id"], record["finished_at"]) == ("attempt", 12.5)
    name = f"data/{record['shard']}-attempt.parquet"
    assert [file["name"] for file in record["files"]] == [sample["file"] for sample in record["samples"]] == [name]
    assert again | {"effort": None} == record | {"effort": None}, "all but how long the writing took"


def test_who_wakes_up_after_another_run_has_finished_adds_nothing(store: LocalStore) -> None:
    late = target(store, run_id="late")._replace(completion=completion_generation(store))
    write_clips(late, [made(0)])
    store.replace(COMPLETE, b"{}")
    before = names(store)
    with pytest.raises(RefusedError, match=r"another run took over and has finished it, so this one stopped"):
        write_clips(late, [made(1)])
    assert names(store) == before
    write_clips(late._replace(completion=completion_generation(store)), [made(1)])
    assert tables(store)[0].num_rows == 2, "who began afterwards may retry what failed"


def test_a_clock_that_jumps_changes_nothing_but_the_times(store: LocalStore) -> None:
    now = 1_800_000_000.0
    store.put_new(CONFIG, b"crop: {size_px: 32}\n")
    clip, payload, failure = failed(1)
    clips = [made(0), (clip, payload, failure | {"thumb": ""}), made(2)]
    for number, jump_s in enumerate((0.0, -86_400.0, 1e8)):
        run = target(store, run_id=f"run {number % 2}")._replace(started_at=now)
        write_clips(run, [clips[number]], clock=lambda jump_s=jump_s: now + jump_s)
    dataset = publish(store, CardConfig(), PreviewConfig(max_clips=1, num_columns=1), PROVENANCE)
    assert (len(dataset), dataset.failure_file.num_rows, verify(dataset)["problems"]) == (2, 1, [])
    assert not re.search(r"-\d+(\.\d+)? (s|min|h)\b", store.read("README.md").decode()), "no time is negative"
    seen = Observer(store, lambda: now - 1e6).look()
    assert (seen.state, seen.num_done) == (FINISHED, 3)


def test_a_second_attempt_of_the_same_clips_loses_and_cleans_up_after_itself(store: LocalStore) -> None:
    for _ in range(2):
        write_clips(target(store), [made(0), made(1)])
    assert len([name for name in names(store) if name.startswith("data/")]) == 1
    assert tables(store)[0].num_rows == 2


def test_the_retry_of_a_failure_by_another_run_is_another_commit(store: LocalStore) -> None:
    for run_id in ("first", "second"):
        write_clips(target(store, run_id=run_id), [failed(0)])
    assert tables(store)[1].column("attempts").to_pylist() == [2]
    write_clips(target(store, run_id="third"), [made(0)])
    table, failures = tables(store)
    assert (table.num_rows, failures.num_rows) == (1, 0)


def test_every_track_of_a_clip_is_a_sample(store: LocalStore) -> None:
    clip, _, _ = made(0)
    first, second = (make_frames(clip["clip_id"], 3, seed=seed) for seed in (1, 2))
    column = second.column_names.index("track")
    second = second.set_column(column, "track", pa.array(np.ones(3, np.int16)))
    write_clips(target(store), [(clip, serialize(pa.concat_tables([first, second])), {})])
    rows = tables(store)[0].to_pylist()
    assert [(row["track"], row["row_start"], row["row_stop"]) for row in rows] == [(0, 0, 3), (1, 3, 6)]


class Lossy(ParquetConfig):
    """A disk that returns other bytes than it was given."""

    def writer(self, path: Path, metadata: Any) -> Any:
        writer = super().writer(path, metadata)
        add = writer.add

        def flip(frames: pa.Table) -> tuple[int, int]:
            columns = {name: frames.column(name) for name in frames.column_names}
            columns["pts"] = pa.chunked_array([np.asarray(frames.column("pts")) + 1])
            return add(pa.table(columns))

        writer.add = flip  # type: ignore[method-assign]
        return writer


def test_a_shard_that_reads_back_differently_is_never_committed(store: LocalStore) -> None:
    with pytest.raises(DatasetError, match="column pts reads back differently"):
        write_clips(target(store, Lossy()), [made(0)])
    assert names(store) == []


def test_blocks_of_ray_are_read_row_by_row(store: LocalStore) -> None:
    clips = [made(0), failed(1), made(2)]
    rows = [crossing_row(clip, frames, failure) for clip, frames, failure in clips]
    ShardSink(target(store), 1).write([pa.concat_tables(rows[:2]), rows[2]], None)
    table, failures = tables(store)
    assert (table.num_rows, failures.num_rows) == (2, 1)


def test_a_crossing_row_is_plain() -> None:
    row = crossing_row(
        {"clip_id": "x"}, pa.py_buffer(b"frames"), failure_of({"clip_id": "x"}, "faces", FaceError("two\nlines"), b"j")
    )
    assert row.column_names == [CLIP, FRAMES, FAILURE]
    failure = json.loads(row.column(FAILURE)[0].as_py())
    assert failure["error"] == "two lines"
    assert base64.b64decode(failure["thumb"]) == b"j"
    assert to_table({"pts": np.arange(2)}).num_rows == 2
