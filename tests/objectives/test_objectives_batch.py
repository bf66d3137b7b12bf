from dataclasses import replace
from typing import Any

import pytest
import torch

from clip_batches import clips
from mien import draws


def test_frames_of_all_clips_stand_in_one_row() -> None:
    batch = clips((2, 1), padded_to=8)
    assert torch.equal(batch.frames[8], batch.tokens[1, 0])
    assert batch.frame_subjects.tolist() == [0] * 8 + [1] * 8


def test_a_frame_has_a_key_of_its_own_from_its_clip_and_place() -> None:
    batch = clips()
    assert len(batch.frame_keys.unique()) == 32
    assert batch.frame_keys[9] == draws.fold(batch.keys[1], 1)
    assert torch.equal(clips(padded_to=11).frame_keys.view(4, 11)[:, :8], batch.frame_keys.view(4, 8))


def test_a_batch_moves_whole() -> None:
    moved = clips().to("meta")
    assert all(getattr(moved, name).device.type == "meta" for name in ("tokens", "positions", "images", "mask", "keys"))
    assert replace(clips(), images=None).to("cpu").images is None


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("positions", torch.zeros(1, 4, 8)),
        ("mask", torch.ones(4, 1, dtype=torch.bool)),
        ("subjects", torch.zeros(4, 1, dtype=torch.int64)),
        ("keys", torch.zeros(3, dtype=torch.int64)),
        ("images", torch.zeros(4, 7, 3, 12, 12)),
        ("tokens", torch.zeros(32, 4, 8)),
    ],
)
def test_a_shape_that_does_not_fit_is_named(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"^{name}: "):
        replace(clips(), **{name: value})
