"""What every shard format promises, for each format in turn."""

from pathlib import Path

import numpy as np
import pytest

from mien.datasets.formats import FormatConfig, open_shard
from mien.datasets.frames import values_of
from mien.errors import DatasetError
from sample_datasets import make_frames


def write(path: Path, kind: FormatConfig, lengths: list[int], *, raw: bool = False) -> list[tuple[int, int]]:
    writer = kind.writer(path, {"version": "test"})
    ranges = [writer.add(make_frames(f"{n:032x}", length, seed=n, raw=raw)) for n, length in enumerate(lengths)]
    writer.close([{"clip_id": f"{n:032x}", "num_frames": length} for n, length in enumerate(lengths)])
    return ranges


@pytest.mark.parametrize("raw", [False, True])
def test_every_sample_reads_back_as_it_was_written(tmp_path: Path, kind: FormatConfig, raw: bool) -> None:
    path = tmp_path / f"shard{kind.suffix}"
    ranges = write(path, kind, [3, 1, 700], raw=raw)
    assert ranges == [(0, 3), (3, 4), (4, 704)]
    with open_shard(path) as shard:
        assert shard.num_rows == 704
        for number, (start, stop) in enumerate(ranges):
            frames = make_frames(f"{number:032x}", stop - start, seed=number, raw=raw)
            assert shard.columns == frames.column_names
            for name in frames.column_names:
                np.testing.assert_array_equal(shard.read(name, start, stop), values_of(frames, name))


def test_ranges_within_and_across_samples(tmp_path: Path, kind: FormatConfig) -> None:
    path = tmp_path / f"shard{kind.suffix}"
    write(path, kind, [5, 5])
    with open_shard(path) as shard:
        for name in shard.columns:
            whole = shard.read(name, 0, 10)
            for start, stop in [(0, 0), (3, 8), (9, 10), (4, 5), (10, 10)]:
                np.testing.assert_array_equal(shard.read(name, start, stop), whole[start:stop])


def test_a_shard_explains_itself(tmp_path: Path, kind: FormatConfig) -> None:
    path = tmp_path / f"shard{kind.suffix}"
    write(path, kind, [2])
    with open_shard(path) as shard:
        assert shard.metadata() == {"version": "test"}
        assert shard.samples() == [{"clip_id": "0" * 32, "num_frames": 2}]


@pytest.mark.parametrize("damage", ["empty", "cut", "text"])
def test_a_damaged_file_is_one_clear_error(tmp_path: Path, kind: FormatConfig, damage: str) -> None:
    path = tmp_path / f"shard{kind.suffix}"
    write(path, kind, [50])
    data = path.read_bytes()
    path.write_bytes(
        {"empty": b"", "cut": data[: len(data) // 2], "text": b"not a shard at all, only some text"}[damage]
    )
    with pytest.raises(DatasetError, match=path.name):
        open_shard(path)
