"""What is drawn for a clip follows from its place, and changes what it says and no more."""

import pytest
import torch

from mien.training.augment import AugmentConfig, augment
from mien.training.order import Window
from mien.training.windows import Clips

SEED = 3


def clips(places: list[int], frames: int = 5) -> Clips:
    windows = [Window(place, 0, 0, frames) for place in places]
    pixels = [torch.Generator().manual_seed(place) for place in places]
    crops = [torch.randint(0, 256, (frames, 8, 8, 3), generator=drawn, dtype=torch.uint8) for drawn in pixels]
    mask = torch.ones(len(places), frames, dtype=torch.bool)
    return Clips(windows, mask, torch.zeros(len(places), dtype=torch.int64), None, torch.stack(crops))


def test_nothing_is_changed_by_default() -> None:
    given = clips([0, 1])
    assert augment(AugmentConfig(), given, SEED) is given


@pytest.mark.parametrize("changes", [{"flip": 0.5}, {"brightness": 0.3, "contrast": 0.4}, {"drop_frames": 0.4}])
def test_a_clip_is_changed_alike_whoever_stands_beside_it(changes: dict[str, float]) -> None:
    config = AugmentConfig(**changes)
    together = augment(config, clips([7, 2, 5, 9]), SEED)
    for row, place in enumerate([7, 2, 5, 9]):
        alone = augment(config, clips([place]), SEED)
        assert torch.equal(alone.mask[0], together.mask[row])
        assert alone.crops is not None
        assert together.crops is not None
        assert torch.equal(alone.crops[0], together.crops[row])


def test_the_share_of_whole_clips_is_mirrored_from_left_to_right() -> None:
    given = clips([*range(400)], 2)
    crops = augment(AugmentConfig(flip=0.25), given, SEED).crops
    assert crops is not None
    assert given.crops is not None
    mirrored = torch.tensor(given.crops.numpy()[:, :, :, ::-1].copy())
    is_flipped = (crops == mirrored).flatten(1).all(1)
    assert torch.equal(crops[~is_flipped], given.crops[~is_flipped])
    assert 0.18 < is_flipped.float().mean() < 0.32


def test_light_is_one_line_per_clip_within_its_bounds() -> None:
    given = clips([*range(200)], 3)
    config = AugmentConfig(brightness=0.1, contrast=0.2)
    crops = augment(config, given, SEED).crops
    assert crops is not None
    assert given.crops is not None
    gains, offsets = [], []
    for before, after in zip(given.crops.double(), crops.double(), strict=True):
        within = (after > 2) & (after < 253)
        design = torch.stack([before[within] - 127.5, torch.ones(int(within.sum()), dtype=torch.float64)], 1)
        gain, offset = torch.linalg.lstsq(design, after[within][:, None] - 127.5).solution[:, 0]
        assert (
            design @ torch.stack([gain, offset]) + 127.5 - after[within]
        ).abs().max() < 0.8  # rounding, of the values and of the fit
        gains.append(gain.item() - 1)
        offsets.append(offset.item() / 255)
    for found, most in ((gains, 0.2), (offsets, 0.1)):
        assert 0.9 * most < max(found) < 1.02 * most
        assert -1.02 * most < min(found) < -0.9 * most


def test_frames_are_left_out_and_none_comes_back() -> None:
    given = clips([*range(300)], 10)
    given.mask[:, 7:] = False
    mask = augment(AugmentConfig(drop_frames=0.3), given, SEED).mask
    assert not mask[:, 7:].any()
    assert abs(mask[:, :7].float().mean().item() - 0.7) < 0.04
    assert not torch.equal(mask, augment(AugmentConfig(drop_frames=0.3), given, SEED + 1).mask)
