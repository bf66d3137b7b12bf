"""Padded windows against the columns of the dataset, and steps that are read ahead in order."""

import threading
from pathlib import Path

import numpy as np
import pytest
import torch

from mien.datasets import subjects
from mien.datasets.dataset import open_dataset
from mien.datasets.local_shards import LocalShards
from mien.errors import DatasetError
from mien.training.order import Order
from mien.training.windows import Clips, DataConfig, Reader, sample_rows, share, steps

LENGTH = 6


def reader(place: Path, folder: Path, columns: tuple[str, ...] = ("face", "feature", "crop")) -> Reader:
    dataset = open_dataset(place)
    rows = sample_rows(dataset.index_file, subjects.read(dataset.store))
    order = Order(rows.num_frames, rows.shard, LENGTH, seed=1)
    return Reader(order, LocalShards(dataset, columns, folder, 1e9), rows, LENGTH)


def test_a_window_is_that_part_of_its_sample_with_zeros_after_it(tokens: Path, tmp_path: Path) -> None:
    read, dataset = reader(tokens, tmp_path / "shards"), open_dataset(tokens)
    places = [*range(len(read.order))]
    clips = read.read(places)
    assert clips.tokens is not None
    assert clips.crops is not None
    short = 0
    for row, place in enumerate(places):
        window, sample = read.order.at(place), dataset.sample(clips.windows[row].sample)
        assert clips.windows[row] == window
        rows, kept = slice(window.start, window.start + window.num_frames), slice(0, window.num_frames)
        face = np.asarray(sample["face"][rows]) > 0
        feature = np.asarray(sample["feature"][rows])
        np.testing.assert_array_equal(clips.mask[row, kept].numpy(), face)
        np.testing.assert_array_equal(clips.tokens[row, kept].numpy()[face], feature[face])
        assert not clips.tokens[row, kept][torch.from_numpy(~face)].any(), "not NaN"
        np.testing.assert_array_equal(clips.crops[row, kept].numpy(), sample.crops()[rows])
        assert not clips.mask[row, window.num_frames :].any()
        assert not clips.tokens[row, window.num_frames :].any()
        assert int(clips.subjects[row]) == subjects.read(dataset.store).row(sample.row["subject"])
        short += window.num_frames < LENGTH
    assert short
    assert clips.places().tolist() == places
    dataset.close()


def test_only_what_is_wanted_is_read(tokens: Path, tmp_path: Path) -> None:
    clips = reader(tokens, tmp_path / "shards", ("face", "crop")).read([0])
    assert clips.tokens is None
    assert not [*(tmp_path / "shards").glob("*feature*")]


@pytest.mark.parametrize(
    ("tokens", "with_images", "expected"),
    [
        ("stored", True, {"face", "feature", "crop"}),
        ("stored", False, {"face", "feature"}),
        ("online", True, {"face", "crop"}),
        ("online", False, {"face", "crop"}),
    ],
)
def test_columns_follow_from_the_kind_of_tokens(tokens: str, with_images: bool, expected: set[str]) -> None:
    backbone = {"kind": "dinov2", "output": "patch"} if tokens == "online" else None
    config = DataConfig.parse({"tokens": tokens, "backbone": backbone}, "test")
    assert {*config.columns(with_images=with_images)} == expected


@pytest.mark.parametrize(("batch", "size"), [(8, 1), (8, 3), (5, 4), (4, 4)])
def test_workers_share_a_step_and_together_have_all_of_it(batch: int, size: int) -> None:
    parts = [share(3, batch, rank, size) for rank in range(size)]
    assert [place for part in parts for place in part] == [*range(3 * batch, 4 * batch)]
    assert max(map(len, parts)) - min(map(len, parts)) <= 1
    assert min(map(len, parts)) >= 1


class Counting:
    """A reader that knows what it was asked for."""

    def __init__(self) -> None:
        self.asked, self.lock = set[int](), threading.Lock()

    def read(self, places: range) -> Clips:
        with self.lock:
            self.asked |= {*places}
        if 5 in places:
            raise DatasetError("the shard is damaged")
        return Clips([], torch.tensor([*places]), torch.empty(0), None, None)


def test_steps_come_in_order_and_are_read_a_few_ahead() -> None:
    counting = Counting()
    feed = steps(counting, range(2, 5), lambda step: [range(step, step + 1), range(100, 101)], 1)  # type: ignore[arg-type]
    first = next(feed)
    assert (first.number, [clips.mask.tolist() for clips in first.clips]) == (2, [[2], [100]])
    assert [step.number for step in feed] == [3, 4]
    assert counting.asked == {2, 3, 4, 100}
    assert first.waited_s >= 0


def test_no_more_than_the_steps_ahead_are_read() -> None:
    counting = Counting()
    feed = steps(counting, range(1000), lambda step: [range(step + 10, step + 11)], 3)  # type: ignore[arg-type]
    next(feed)
    next(feed)
    feed.close()
    assert counting.asked <= {*range(10, 15)}


def test_a_failure_comes_at_its_step() -> None:
    feed = steps(Counting(), range(3, 9), lambda step: [range(step, step + 1)], 4)  # type: ignore[arg-type]
    assert [next(feed).number, next(feed).number] == [3, 4]
    with pytest.raises(DatasetError, match="the shard is damaged"):
        next(feed)
