"""PSNR and SSIM against scikit-image, and a reconstruction against the mean images that know no moment."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from mien.evaluation.bootstrap import BootstrapConfig, NotMeasurable
from mien.evaluation.image_scores import (
    FrameScores,
    ImageResult,
    MeanImages,
    compare,
    joined,
    psnr,
    score_frames,
    ssim,
)


def pictures(num: int = 5, height: int = 40, width: int = 33, seed: int = 0) -> torch.Tensor:
    """Smooth pictures in 0 to 1, [N, 3, H, W]."""
    coarse = torch.rand(num, 3, 6, 6, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.interpolate(coarse, size=(height, width), mode="bilinear")


NOISY = (pictures() + 0.1 * torch.randn(5, 3, 40, 33, generator=torch.Generator().manual_seed(1))).clamp(0, 1)


def test_psnr_is_that_of_scikit_image() -> None:
    pairs = zip(pictures().numpy(), NOISY.numpy(), strict=True)
    assert psnr(NOISY, pictures()).tolist() == pytest.approx(
        [peak_signal_noise_ratio(true, shown, data_range=1) for true, shown in pairs]
    )


def test_ssim_is_that_of_scikit_image() -> None:
    expected = [
        structural_similarity(
            true,
            shown,
            channel_axis=0,
            data_range=1,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
        )
        for true, shown in zip(pictures().double().numpy(), NOISY.double().numpy(), strict=True)
    ]
    assert ssim(NOISY, pictures()).tolist() == pytest.approx(expected, abs=1e-5)
    assert 0.2 < expected[0] < 0.95


def test_equal_images_have_the_best_scores() -> None:
    assert psnr(NOISY, NOISY).tolist() == pytest.approx([100] * 5)
    assert ssim(NOISY, NOISY).tolist() == pytest.approx([1] * 5, abs=1e-5)


@pytest.mark.parametrize("score", [psnr, ssim])
def test_images_that_do_not_belong_together_are_refused(
    score: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
) -> None:
    for other in (NOISY[:4], NOISY[:, :2], NOISY[0]):
        with pytest.raises(ValueError, match=r"must be \[N, C, H, W\]"):
            score(NOISY, other)


def test_an_image_smaller_than_the_window_is_refused() -> None:
    with pytest.raises(ValueError, match="smaller than SSIM's window"):
        ssim(NOISY[..., :10], NOISY[..., :10])


def test_mean_images_do_not_depend_on_the_batches() -> None:
    images, subject = pictures(9), np.array([4, 4, 8, 4, 8, 8, 8, 4, 4])
    means = MeanImages()
    for start, end in ((0, 2), (2, 7), (7, 9)):
        means.add(images[start:end], subject[start:end])
    found = means.of(np.array([8, 4, 5]))
    assert torch.allclose(found[0], images[subject == 8].double().mean(0))
    assert torch.allclose(found[1], images[subject == 4].double().mean(0))
    assert torch.allclose(found[2], images.double().mean(0))  # 5 was never seen
    assert torch.allclose(means.overall(), images.double().mean(0))
    with pytest.raises(ValueError, match="training frames"):
        MeanImages().overall()


def test_sums_that_were_taken_elsewhere_count_as_their_images() -> None:
    images, subject = pictures(9), np.array([4, 4, 8, 4, 8, 8, 8, 4, 4])
    means = MeanImages()
    means.add(images[:3], subject[:3])
    for name in (4, 8):
        rest = images[3:][subject[3:] == name]
        means.add_sum(rest.sum(0), len(rest), name)
    assert torch.allclose(means.of(np.array([4]))[0], images[subject == 4].double().mean(0))
    assert torch.allclose(means.overall(), images.double().mean(0))


def scored(share_of_moment: float) -> tuple[FrameScores, torch.Tensor]:
    """Two subjects, 6 held-out clips of 8 frames; a frame is the person plus the moment, of which some is shown."""
    person, subject, clip = pictures(2, seed=2), np.arange(6) % 2, np.arange(6)
    subject_of_frame, clip_of_frame = subject.repeat(8), clip.repeat(8)
    moment = 0.4 * (pictures(48, seed=3) - 0.5)
    moment = moment - moment.mean(0)
    target = 0.3 + 0.4 * person[subject_of_frame] + moment
    means = MeanImages()
    means.add(0.3 + 0.4 * person, np.arange(2))
    shown = 0.3 + 0.4 * person[subject_of_frame] + share_of_moment * moment
    return score_frames(shown, target, subject_of_frame, clip_of_frame, means), target


def result(scores: FrameScores) -> ImageResult:
    found = compare(scores, BootstrapConfig())
    assert isinstance(found, ImageResult)
    return found


def test_who_shows_the_moment_beats_the_mean_of_the_subject() -> None:
    """An error of (1 - share) of the moment lies 20 log10(1 / (1 - share)) dB above that of the mean image."""
    found = result(scored(0.75)[0])
    assert found.psnr_db.reconstruction_minus_subject_mean.value == pytest.approx(20 * np.log10(4), abs=1e-3)
    assert found.psnr_db.reconstruction_minus_overall_mean.low > 20 * np.log10(4)
    assert found.ssim.reconstruction_minus_subject_mean.low > 0
    assert (found.num_frames, found.num_clips) == (48, 6)


def test_who_always_shows_the_mean_beats_nothing() -> None:
    found = result(scored(0.0)[0])
    for score in (found.psnr_db, found.ssim):
        difference = score.reconstruction_minus_subject_mean
        assert (difference.value, difference.low, difference.high) == pytest.approx((0, 0, 0), abs=1e-4)
        assert score.reconstruction_minus_overall_mean.low > 0


def test_a_long_clip_counts_as_much_as_a_short_one() -> None:
    clip = np.array([0] * 9 + [1])
    values = np.array([10.0] * 9 + [20.0])
    names = ("reconstruction", "subject_mean", "overall_mean")
    found = result(FrameScores(clip, dict.fromkeys(names, values), dict.fromkeys(names, values)))
    assert found.psnr_db.reconstruction.value == pytest.approx(15)


def test_batches_are_joined_in_their_order() -> None:
    scores, _ = scored(0.5)
    parts = [
        FrameScores(
            scores.clip[part],
            {name: values[part] for name, values in scores.psnr_db.items()},
            {name: values[part] for name, values in scores.ssim.items()},
        )
        for part in (slice(0, 5), slice(5, 48))
    ]
    assert result(joined(parts)) == result(scores)


def test_no_image_cannot_be_compared() -> None:
    nothing = np.array([])
    names = ("reconstruction", "subject_mean", "overall_mean")
    scores = FrameScores(np.array([], int), dict.fromkeys(names, nothing), dict.fromkeys(names, nothing))
    assert isinstance(compare(scores, BootstrapConfig()), NotMeasurable)
