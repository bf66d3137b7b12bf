"""What the measures take, from arrays whose content is planted."""

from typing import Any

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge

from mien import schema
from mien.evaluation.bootstrap import BootstrapConfig
from mien.evaluation.embedded import Embedded
from mien.evaluation.image_scores import MeanImages
from mien.evaluation.ridge import RidgeConfig
from mien.evaluation.swap import SwapConfig, SwapResult
from mien.training.clip_tasks import ClipTask
from mien.training.embedding import Arrays
from mien.training.gather import Identities, counted, embedded_frames, frame_scores, swapped_frames, task_of

NUM_PEOPLE, DIM = 3, 6
RIDGE = RidgeConfig(penalties=(1e-3,))
_RNG = np.random.default_rng(0)
FACES = _RNG.normal(size=(NUM_PEOPLE, DIM)) + 20
"""Averaged patch tokens of each person; most of them is common to all."""
SYSTEMS = ("reconstruction", "subject_mean", "overall_mean")
READ = _RNG.normal(size=(DIM, schema.NUM_BLENDSHAPES)) / 10
"""Blendshapes of a token."""


def clip(sample: int, num_frames: int = 12, *, is_held_out: bool = False, **changes: Any) -> Arrays:
    """A clip of a person by its number, whose tokens are a linear map of the blendshapes; swapped onto the next one."""
    rng = np.random.default_rng(sample)
    person, tokens = sample % NUM_PEOPLE, rng.normal(size=(num_frames, DIM)).astype(np.float32)
    target = (person + 1) % NUM_PEOPLE
    task = ClipTask(sample, person, person + 1, is_known=True, is_held_out=is_held_out, target=target)
    arrays: Arrays = {
        "task": np.array(task, np.int64),
        "time_s": np.arange(num_frames) / 25,
        "blendshapes": (0.5 + tokens @ READ).astype(np.float32),
        "tokens": tokens,
        "pooled": np.tile(FACES[person], (num_frames, 1)).astype(np.float32),
    }
    if is_held_out:
        arrays["swapped_tokens"] = tokens
        arrays["swapped_pooled"] = np.tile(FACES[target], (num_frames, 1)).astype(np.float32)
    return arrays | changes


def training() -> list[Arrays]:
    return [clip(sample) for sample in range(6)]


def held_out(**changes: Any) -> list[Arrays]:
    return [clip(sample, is_held_out=True, **changes) for sample in (6, 7, 8)]


def seen() -> Embedded:
    return embedded_frames(training())


def test_frames_stand_one_clip_after_the_other() -> None:
    faceless = {name: values[:0] for name, values in clip(9).items() if name != "task"} | {"task": clip(9)["task"]}
    frames = embedded_frames([clip(4, 3), faceless, clip(2, 2, is_held_out=True)])
    assert frames.clip.tolist() == [4, 4, 4, 2, 2]
    assert frames.subject.tolist() == [1, 1, 1, 2, 2]
    assert frames.is_held_out.tolist() == [False] * 3 + [True] * 2
    assert np.array_equal(frames.tokens, np.concatenate([clip(4, 3)["tokens"], clip(2, 2)["tokens"]]))
    assert np.array_equal(frames.baseline[:, 0], np.float32(FACES[[1, 1, 1, 2, 2], 0]))
    assert frames.is_measured.all()


def test_without_blendshapes_frames_are_there_and_none_is_measured() -> None:
    bare = [{name: values for name, values in one.items() if name != "blendshapes"} for one in training()]
    assert not embedded_frames(bare).is_measured.any()
    assert embedded_frames(bare).blendshapes.shape == (72, 52)
    assert swapped_frames(held_out(), embedded_frames(bare), RIDGE) is None


def test_clips_without_any_face_are_refused() -> None:
    with pytest.raises(ValueError, match="no face"):
        embedded_frames([{"task": clip(0)["task"], "time_s": np.zeros(0)}])


def test_sums_of_images_become_means_and_leave_the_clip() -> None:
    images = torch.rand(24, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    expected, found = MeanImages(), MeanImages()
    for number, person in enumerate((0, 1)):
        own = images[12 * number : 12 * number + 12]
        expected.add(own, np.full(12, person))
        arrays = clip(person, image_sum=own.sum(0).numpy())
        assert "image_sum" not in counted(arrays, found, {1})
    assert torch.allclose(found.of(np.array([1])), expected.of(np.array([1])))
    assert torch.allclose(found.overall(), images.double().mean(0))
    assert torch.equal(found.of(np.array([0]))[0], found.overall())  # nobody asked for this one
    assert counted(clip(0), found, {1}).keys() == clip(0).keys()


def test_scores_are_those_of_clips_that_have_some() -> None:
    names = [f"{kind}/{system}" for kind in ("psnr_db", "ssim") for system in SYSTEMS]
    scores = {name: np.full(12, place) for place, name in enumerate(names)}
    found = frame_scores([clip(0), clip(7, is_held_out=True, **scores)])
    assert found is not None
    assert found.clip.tolist() == [7] * 12
    assert {name: values[0] for name, values in found.psnr_db.items()} == dict(zip(SYSTEMS, range(3), strict=True))
    assert {name: values[0] for name, values in found.ssim.items()} == dict(zip(SYSTEMS, range(3, 6), strict=True))
    assert frame_scores(training()) is None


def test_a_perfect_swap_has_the_expression_of_the_source_and_the_identity_of_the_target() -> None:
    swapped = swapped_frames(held_out(), seen(), RIDGE)
    assert swapped is not None
    result = SwapConfig().build(BootstrapConfig(num=100))(swapped)
    assert isinstance(result, SwapResult)
    assert result.expression_r_squared.value > 0.999
    assert result.share_nearer_to_target.value == 1
    assert result.cosine_to_target.value == pytest.approx(1, abs=1e-5)
    assert result.num_frames == 36


def test_a_swap_that_changes_nothing_keeps_the_identity_of_the_source() -> None:
    same = [one | {"swapped_pooled": one["pooled"], "swapped_tokens": -one["tokens"]} for one in held_out()]
    swapped = swapped_frames(same, seen(), RIDGE)
    assert swapped is not None
    result = SwapConfig().build(BootstrapConfig(num=100))(swapped)
    assert isinstance(result, SwapResult)
    assert result.share_nearer_to_target.value == 0
    assert result.cosine_to_source.value == pytest.approx(1, abs=1e-5)
    assert result.expression_correlation.value < -0.999


def test_the_expression_of_a_swap_is_read_as_scikit_learn_reads_it() -> None:
    frames, swapped = seen(), swapped_frames(held_out(), seen(), RIDGE)
    assert swapped is not None
    mean, std = frames.tokens.mean(0, dtype=np.float64), frames.tokens.std(0, dtype=np.float64)
    reference = Ridge(alpha=1e-3).fit((frames.tokens - mean) / std, frames.blendshapes.astype(np.float64))
    tokens = np.concatenate([one["swapped_tokens"] for one in held_out()])
    assert np.allclose(swapped.swapped_blendshapes, reference.predict((tokens - mean) / std), atol=1e-6)
    assert np.allclose(swapped.centre, frames.blendshapes.mean(0))


def test_frames_that_were_not_measured_take_no_part_in_the_swap() -> None:
    shown = held_out()[0]["blendshapes"].copy()
    shown[:5] = np.nan
    swapped = swapped_frames([held_out()[0] | {"blendshapes": shown}], seen(), RIDGE)
    assert swapped is not None
    assert len(swapped.clip) == 7
    shown[:] = np.nan
    assert swapped_frames([held_out()[0] | {"blendshapes": shown}], seen(), RIDGE) is None
    assert swapped_frames([], seen(), RIDGE) is None
    assert swapped_frames(held_out(), embedded_frames([clip(0)]), RIDGE) is None  # one clip: no probe


def test_identities_are_what_people_have_not_in_common() -> None:
    known = Identities(seen())
    assert np.allclose(known.of(np.array([2, 0, 2])), (FACES - FACES.mean(0))[[2, 0, 2]], atol=1e-5)


def test_a_task_comes_back_as_it_was() -> None:
    found = task_of(clip(7, is_held_out=True))
    assert found == ClipTask(7, 1, 2, is_known=True, is_held_out=True, target=2)
    assert found.is_held_out is True
