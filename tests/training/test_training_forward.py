"""Batches against the clips that they are made of, and pictures against Pillow."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mien import draws
from mien.training.forward import Batches
from mien.training.order import Window
from mien.training.windows import Clips
from mien.training.world import World
from training_runs import DIM, NUM_PATCHES, job_of


def clips(side: int = 16) -> Clips:
    generator = torch.Generator().manual_seed(0)
    mask = torch.tensor([[True, True, False], [True, False, False]])
    tokens = torch.randn(2, 3, NUM_PATCHES, DIM, generator=generator)
    crops = torch.randint(0, 256, (2, 3, side, side, 3), generator=generator, dtype=torch.uint8)
    return Clips([Window(7, 0, 0, 3), Window(8, 1, 4, 3)], mask, torch.tensor([2, 0]), tokens, crops)


@pytest.mark.parametrize(
    ("precision", "dtype"), [("float32", torch.float32), ("bfloat16", torch.float32), ("float64", torch.float64)]
)
def test_a_batch_is_its_clips_in_the_precision_of_the_run(
    tokens: Path, tmp_path: Path, precision: str, dtype: torch.dtype
) -> None:
    job, given = job_of(tokens, tmp_path, {"precision": precision}), clips()
    batch = Batches(job, World(), None, 16).make(given, 5)
    assert batch.images is not None
    assert batch.tokens.dtype == batch.images.dtype == batch.positions.dtype == dtype
    assert torch.equal(batch.tokens.float(), given.tokens)
    assert torch.equal(batch.mask, given.mask)
    assert torch.equal(batch.subjects, given.subjects)
    np.testing.assert_array_equal(batch.positions.numpy(), job.positions)
    assert given.crops is not None
    expected = given.crops.numpy().transpose(0, 1, 4, 2, 3) / 255
    np.testing.assert_allclose(batch.images.numpy(), expected, atol=1e-7)


def test_keys_are_those_of_clip_and_step_and_none_in_validation(tokens: Path, tmp_path: Path) -> None:
    batches = Batches(job_of(tokens, tmp_path, {"seed": 3}), World(), None, None)
    assert torch.equal(batches.make(clips(), 5).keys, draws.keys(3, "dropout", torch.tensor([7, 8]), 5))
    assert not batches.make(clips(), None).keys.any()
    assert batches.make(clips(), None).images is None


@pytest.mark.parametrize(("side", "size_px"), [(32, 16), (30, 16), (12, 16)])
def test_pictures_are_resized_as_pillow_does(tokens: Path, tmp_path: Path, side: int, size_px: int) -> None:
    given = clips(side)
    images = Batches(job_of(tokens, tmp_path), World(), None, size_px).make(given, None).images
    assert images is not None
    assert given.crops is not None
    for frame, found in zip(given.crops.flatten(0, 1).numpy(), images.flatten(0, 1).numpy(), strict=True):
        expected = np.asarray(Image.fromarray(frame).resize((size_px, size_px), Image.Resampling.BILINEAR))
        differs = np.abs(found.transpose(1, 2, 0) * 255 - expected)
        assert differs.max() < 2.01
        assert (differs > 0.01).mean() < 0.05


def test_clips_without_tokens_need_a_network(tokens: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="neither stored tokens nor crops"):
        Batches(job_of(tokens, tmp_path), World(), None, None).make(clips()._replace(tokens=None), 0)
