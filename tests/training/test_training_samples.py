"""Samples one by one: order, split, mirrored in training alone, and the grid that validations share."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from mien.datasets.split import HELD_OUT, LEFT_OUT, TRAIN
from mien.errors import ConfigError
from mien.training.samples import SampleBatches, readers

CPU = torch.device("cpu")


def collection(num: int = 20, held_out: int = 5) -> SimpleNamespace:
    """Images whose pixels tell their number, the last one without a face."""
    parts = np.full(num, TRAIN, np.uint8)
    parts[:held_out] = HELD_OUT
    parts[held_out] = LEFT_OUT

    def read(number: int) -> tuple[np.ndarray, bool]:
        pixels = np.zeros((4, 4, 3), np.uint8)
        pixels[:, 0] = number
        return pixels, number != num - 1

    return SimpleNamespace(parts=parts, shards=np.arange(num) // 4, read=read, name=lambda number: f"image {number}")


def test_every_epoch_shows_each_training_sample_once_and_no_other() -> None:
    train, held_out = readers(collection(), 3)
    assert (len(train.order), len(held_out.order)) == (14, 5)
    raw = train.read(range(28))
    numbers = raw.values[:, 0, 0, 0].tolist()
    assert sorted(numbers[:14]) == sorted(numbers[14:]) == [*range(6, 20)]
    assert numbers[:14] != numbers[14:]
    assert [bool(flag) for flag in raw.mask] == [number != 19 for number in numbers]
    assert held_out.read(range(5)).values[:, 0, 0, 0].tolist() == [0, 1, 2, 3, 4]
    assert train.name_of(raw.windows[0]) == {"sample": f"image {numbers[0]}"}


def test_images_are_mirrored_in_training_alone_and_lie_in_minus_one_to_one() -> None:
    train, _ = readers(collection(), 3)
    raw = train.read(range(14))._replace(values=torch.full((14, 4, 4, 3), 255, dtype=torch.uint8))
    raw.values[:, :, 0] = 0
    batches = SampleBatches(7, 0.5, torch.float32, CPU)
    trained, held_out = batches.make(raw, 4).values, batches.make(raw, None).values
    assert trained.shape == (14, 3, 4, 4)
    assert {*trained.unique().tolist()} == {-1.0, 1.0}
    is_flipped = trained[:, 0, 0, 3] == -1
    assert 0 < int(is_flipped.sum()) < 14
    assert torch.equal(held_out[:, 0, 0, 0], torch.full((14,), -1.0)), "what is held out is never mirrored"
    assert torch.equal(batches.make(raw, 9).values, trained), "by the place in the stream, whatever the step"


def test_keys_change_with_the_step_in_training_and_are_one_grid_in_validation() -> None:
    _, held_out = readers(collection(), 3)
    raw = held_out.read(range(5))
    one, other = SampleBatches(1, 0.0, torch.float32, CPU), SampleBatches(2, 0.0, torch.float32, CPU)
    assert not torch.equal(one.make(raw, 1).keys, one.make(raw, 2).keys)
    assert torch.equal(one.make(raw, None).keys, other.make(raw, None).keys), "runs of any seed are compared on it"


def test_an_embedding_stays_what_it_is() -> None:
    raw = readers(collection(), 0)[0].read([0])._replace(values=torch.tensor([[0.5, -3.0]]))
    made = SampleBatches(0, 1.0, torch.float64, CPU).make(raw, 3)
    assert torch.equal(made.values, torch.tensor([[0.5, -3.0]], dtype=torch.float64))


def test_an_empty_side_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="none of 20 samples is held out"):
        readers(collection(held_out=0), 0)
