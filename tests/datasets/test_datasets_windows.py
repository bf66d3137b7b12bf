import numpy as np
import pytest
import torch

from mien.datasets.dataset import Dataset
from sample_datasets import SIZE_PX


def test_windows_stay_within_samples_and_cover_them(finished: Dataset) -> None:
    windows = finished.windows(4, 2, ["pts", "feature"])
    assert len(windows) == 6
    seen = [(item["clip_id"], item["start"]) for item in (windows[i] for i in range(len(windows)))]
    assert seen == [(clip_id, start) for clip_id in finished.clip_ids for start in (0, 2)]


def test_a_window_is_that_part_of_the_columns(finished: Dataset) -> None:
    item = finished.windows(3, 1, ["pts", "feature", "landmarks"])[5]
    sample = finished.sample(1)
    for column in ("pts", "feature", "landmarks"):
        np.testing.assert_array_equal(item[column].numpy(), sample[column][1:4])


def test_crops_are_channels_first(finished: Dataset) -> None:
    crop = finished.windows(2, 1)[0]["crop"]
    assert (crop.shape, crop.dtype) == ((2, 3, SIZE_PX, SIZE_PX), torch.uint8)
    np.testing.assert_array_equal(crop.numpy().transpose(0, 2, 3, 1), finished.sample(0).crops()[:2])


def test_a_loader_with_workers_gives_every_window_once(finished: Dataset) -> None:
    windows = finished.windows(4, 2, ["pts"])
    loader = torch.utils.data.DataLoader(windows, batch_size=4, num_workers=2, multiprocessing_context="spawn")
    seen = [
        (clip_id, int(start))
        for batch in loader
        for clip_id, start in zip(batch["clip_id"], batch["start"], strict=True)
    ]
    assert sorted(seen) == sorted((windows[i]["clip_id"], windows[i]["start"]) for i in range(len(windows)))


def test_samples_shorter_than_the_window_give_none(finished: Dataset) -> None:
    assert len(finished.windows(7)) == 0
    with pytest.raises(IndexError, match="window 0 of 0"):
        finished.windows(7)[0]


@pytest.mark.parametrize(("length", "stride"), [(0, 1), (1, 0)])
def test_impossible_windows_are_refused(finished: Dataset, length: int, stride: int) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        finished.windows(length, stride)


def test_a_column_without_numbers_cannot_be_in_a_window(finished: Dataset) -> None:
    with pytest.raises(ValueError, match="thumb"):
        finished.windows(2, 1, ["thumb"])[0]
