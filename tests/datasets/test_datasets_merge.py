"""The streamed tables against a merge in plain dicts, which holds everything in memory."""

import base64
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mien import schema
from mien.clips.clip import Clip
from mien.datasets.ids import Lookup, from_texts
from mien.datasets.merge import Merge, Merged
from mien.datasets.tables import TableFile
from mien.errors import DatasetError
from sample_datasets import failure_row, make_clip

Row = dict[str, Any]


def sample(clip: Clip, file: str, start: int, track: int = 0) -> Row:
    facts = {"width_px": 640, "height_px": 480, "rotation_deg": 0, "fps": 25.0, "is_vfr": False}
    facts |= {"time_base_num": 1, "time_base_den": 12800, "num_frames": 5, "num_detected": 3}
    facts |= {"source_duration_s": 2.5, "source_num_frames": None, "source_codec": "h264"}
    facts |= {"audio_rate_hz": None, "audio_channels": None, "audio_file": None, "audio_sha256": None}
    rows = {"file": file, "row_start": start, "row_stop": start + 5, "checksums": f'{{"pts": "{start}"}}'}
    return {**clip.to_row(), **facts, **rows, "track": track}


def record(name: str, made: list[tuple[Clip, int]], failed: list[Clip]) -> Row:
    """A commit record: clips with their number of tracks, and clips that failed."""
    tracks = [(clip, track) for clip, num_tracks in made for track in range(num_tracks)]
    samples = [sample(clip, f"data/{name}.h5", 5 * row, track) for row, (clip, track) in enumerate(tracks)]
    thumb = base64.b64encode(name.encode()).decode()
    failures = [{**failure_row(clip, f"{name} found no face"), "thumb": thumb} for clip in failed]
    return {"write_id": name, "files": [], "samples": samples, "failures": failures}


def shuffled_records(clips: list[Clip], seed: int, num_per_record: int) -> list[Row]:
    """Every clip once, in a random order of finishing; some a second time, some failed before, after or for good."""
    rng = random.Random(seed)
    tries = [*clips, *rng.sample(clips, len(clips) // 3)]
    rng.shuffle(tries)
    records = []
    for number, start in enumerate(range(0, len(tries), num_per_record)):
        part = dict.fromkeys(tries[start : start + num_per_record])
        made = {clip: rng.randint(1, 3) for clip in part if rng.random() < 0.8}
        records.append(record(f"{number:04d}", list(made.items()), [clip for clip in part if clip not in made]))
    return records


def expected(clips: list[Clip], records: list[Row]) -> tuple[list[Row], list[Row], list[str]]:
    """Index, failures and ids of neither, by the rule: the first record that made a clip, else its first failure."""
    index, failures, missing = list[Row](), list[Row](), list[str]()
    for clip in clips:
        made = [[row for row in one["samples"] if row["clip_id"] == clip.clip_id] for one in records]
        lost = [row for one in records for row in one["failures"] if row["clip_id"] == clip.clip_id]
        if any(made):
            index += sorted(next(filter(None, made)), key=lambda row: int(row["track"]))
        elif lost:
            failures.append({**lost[0], "thumb": base64.b64decode(lost[0]["thumb"]), "attempts": len(lost)})
        else:
            missing.append(clip.clip_id)
    return index, failures, missing


def merged(folder: Path, clips: list[Clip], records: list[Row], **sizes: int) -> Merged:
    folder.mkdir()
    streamed = Merge(Lookup(from_texts([clip.clip_id for clip in clips])), folder, **sizes)
    for one in records:
        streamed.add(one)
    return streamed.write()


def assert_as_expected(found: Merged, clips: list[Clip], records: list[Row]) -> None:
    index, failures, missing = expected(clips, records)
    assert TableFile(found.index_path).table().to_pylist() == index
    assert TableFile(found.failures_path).table().to_pylist() == failures
    assert found.num_clips == len({row["clip_id"] for row in index})
    assert (found.num_missing, found.first_missing) == (len(missing), (missing or [""])[0])


@pytest.mark.parametrize("part_rows", [1, 4, 10, 11])
@pytest.mark.parametrize("seed", range(5))
def test_it_is_what_a_merge_in_memory_gives(tmp_path: Path, seed: int, part_rows: int) -> None:
    clips = [make_clip(number) for number in range(10)]
    random.Random(seed).shuffle(clips)  # the plan is in no order of ids
    records = shuffled_records(clips, seed, num_per_record=3)
    assert_as_expected(merged(tmp_path / "x", clips, records, part_rows=part_rows), clips, records)
    assert_as_expected(merged(tmp_path / "y", clips, records[::2], part_rows=part_rows), clips, records[::2])


def test_it_is_the_same_when_rows_are_spread_many_times(tmp_path: Path) -> None:
    clips = [make_clip(number) for number in range(200)]
    records = shuffled_records(clips, 1, num_per_record=9)
    whole = merged(tmp_path / "x", clips, records, part_rows=64)
    spread = merged(tmp_path / "y", clips, records, part_rows=64, waiting_rows=5)
    assert spread.index_path.read_bytes() == whole.index_path.read_bytes()
    assert spread.failures_path.read_bytes() == whole.failures_path.read_bytes()
    assert_as_expected(spread, clips, records)


def test_the_order_in_which_clips_were_finished_does_not_show(tmp_path: Path) -> None:
    clips = [make_clip(number) for number in range(30)]
    one, other = (merged(tmp_path / str(seed), clips, _once_each(clips, seed), part_rows=8) for seed in (1, 2))
    where = ["file", "row_start", "row_stop", "checksums"]
    tables = [TableFile(found.index_path).table().drop_columns(where) for found in (one, other)]
    assert tables[0] == tables[1]
    assert tables[0].column("clip_id").to_pylist() == [clip.clip_id for clip in clips]


def _once_each(clips: list[Clip], seed: int) -> list[Row]:
    order = random.Random(seed).sample(clips, len(clips))
    return [record(str(start), [(clip, 1) for clip in order[start : start + 4]], []) for start in range(0, 30, 4)]


def test_parts_without_rows_and_an_empty_plan_are_no_trouble(tmp_path: Path) -> None:
    clips = [make_clip(number) for number in range(9)]
    last = [record("a", [(clips[8], 1)], [])]
    assert_as_expected(merged(tmp_path / "x", clips, last, part_rows=2), clips, last)
    assert_as_expected(merged(tmp_path / "y", [], [], part_rows=2), [], [])


def test_the_first_record_counts_whatever_its_tracks(tmp_path: Path) -> None:
    clip = make_clip(0)
    late = {**record("a", [], []), "samples": [sample(clip, "data/a.h5", 0, track=1)]}
    records = [late, record("b", [(clip, 2)], [])]
    assert_as_expected(merged(tmp_path / "x", [clip], records, part_rows=4), [clip], records)


def test_a_clip_that_is_planned_twice_is_made_once(tmp_path: Path) -> None:
    clips = [make_clip(number) for number in (0, 1, 0)]
    found = merged(tmp_path / "x", clips, [record("a", [(clips[0], 1), (clips[1], 1)], [])], part_rows=2)
    assert TableFile(found.index_path).column("clip_id").to_pylist() == [clips[0].clip_id, clips[1].clip_id]
    assert (found.num_clips, found.num_missing) == (2, 0)


@pytest.mark.parametrize("make", [lambda clip: ([(clip, 1)], []), lambda clip: ([], [clip])], ids=["made", "failed"])
def test_a_clip_outside_the_plan_is_an_error_that_names_it(tmp_path: Path, make: Callable[[Clip], Any]) -> None:
    stranger = make_clip(99)
    with pytest.raises(DatasetError, match=f"clip {stranger.clip_id}: a commit record names it, the plan does not"):
        merged(tmp_path / "x", [make_clip(0)], [record("a", *make(stranger))], part_rows=4)


def test_nothing_but_the_tables_stays(tmp_path: Path) -> None:
    clips = [make_clip(number) for number in range(10)]
    found = merged(tmp_path / "x", clips, shuffled_records(clips, 0, 3), part_rows=4)
    assert {path for path in (tmp_path / "x").rglob("*") if path.is_file()} == {found.index_path, found.failures_path}
    assert TableFile(found.index_path).table().column_names == schema.names(schema.INDEX)
    assert TableFile(found.failures_path).table().column_names == schema.names(schema.FAILURES)
