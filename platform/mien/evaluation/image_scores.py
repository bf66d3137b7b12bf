"""How near reconstructed images are to the true ones, and whether nearer than the mean image of the subject.

A reconstruction that shows the person but no expression is that mean image: only what it beats it by was learned about
the moment.
"""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch

from mien.evaluation.bootstrap import Bootstrap, BootstrapConfig, Estimate, NotMeasurable
from mien.evaluation.embedded import Floats, Ints

System = Literal["reconstruction", "subject_mean", "overall_mean"]

MIN_SQUARED_ERROR = 1e-10
"""Images that are nearer than that are scored as if they were not: 100 dB instead of infinity."""
_SIGMA, _RADIUS = 1.5, 5
MIN_SIDE_PX = 2 * _RADIUS + 1
"""Smaller images have no SSIM."""
_K1, _K2 = 0.01, 0.03


def psnr(image: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Peak signal-to-noise ratio in dB of images in 0 to 1: both [N, C, H, W] to [N]; at most 100.

    Raises:
        ValueError: The shapes differ.
    """
    _require_images(image, target)
    error = (image.double() - target.double()).square().flatten(1).mean(1)
    return -10 * torch.log10(error.clamp_min(MIN_SQUARED_ERROR))


def ssim(image: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Structural similarity of images in 0 to 1: both [N, C, H, W] to [N], mean over channels and positions.

    Wang et al. (2004), eq. 13: a Gaussian window of 11 x 11 with sigma 1.5, K1 0.01, K2 0.03, where it lies wholly
    inside the image.

    Raises:
        ValueError: The shapes differ, or an image is smaller than the window.
    """
    _require_images(image, target)
    if min(image.shape[2:]) < MIN_SIDE_PX:
        raise ValueError(f"images of {image.shape[2]} x {image.shape[3]} px are smaller than SSIM's window of 11 px")
    x, y = (values.float().flatten(0, 1)[:, None] for values in (image, target))  # [N·C, 1, H, W]
    x_mean, y_mean = _blur(x), _blur(y)
    x_variance, y_variance = _blur(x * x) - x_mean**2, _blur(y * y) - y_mean**2
    covariance = _blur(x * y) - x_mean * y_mean
    light = (2 * x_mean * y_mean + _K1**2) / (x_mean**2 + y_mean**2 + _K1**2)
    structure = (2 * covariance + _K2**2) / (x_variance + y_variance + _K2**2)
    return (light * structure).reshape(*image.shape[:2], -1).mean((1, 2))


class MeanImages:
    """Mean image of each subject and of all frames, from training clips that come in batches."""

    def __init__(self) -> None:
        """No frame yet."""
        self._sums = dict[int, tuple[torch.Tensor, int]]()

    def add(self, images: torch.Tensor, subject: Ints) -> None:
        """Count training images [N, C, H, W] of these subjects, [N]."""
        for name in np.unique(subject).tolist():
            chosen = images[torch.from_numpy(subject == name).to(images.device)].double()
            self.add_sum(chosen.sum(0), len(chosen), name)

    def add_sum(self, total: torch.Tensor, num: int, subject: int) -> None:
        """Count training images of one subject that were added up elsewhere: their sum [C, H, W] and how many."""
        earlier, num_earlier = self._sums.get(subject, (0, 0))
        self._sums[subject] = (total.double() + earlier, num + num_earlier)

    def overall(self) -> torch.Tensor:
        """Mean of all frames, [C, H, W].

        Raises:
            ValueError: There is no frame.
        """
        if not self._sums:
            raise ValueError("the mean image needs training frames; add them first")
        totals, nums = zip(*self._sums.values(), strict=True)
        overall: torch.Tensor = torch.stack(totals).sum(0) / sum(nums)
        return overall

    def of(self, subject: Ints) -> torch.Tensor:
        """Mean image of each of these subjects, [N] to [N, C, H, W]; of all frames for one without training clips."""
        overall = self.overall()
        return torch.stack([self._mean(name) if name in self._sums else overall for name in subject.tolist()])

    def _mean(self, name: int) -> torch.Tensor:
        total, num = self._sums[name]
        return total / num


@dataclass(frozen=True)
class FrameScores:
    """Scores of N frames, of the reconstruction and of the images that know no moment."""

    clip: Ints
    """[N]."""
    psnr_db: dict[System, Floats]
    """[N] each."""
    ssim: dict[System, Floats]
    """[N] each."""


def score_frames(
    image: torch.Tensor, target: torch.Tensor, subject: Ints, clip: Ints, means: MeanImages
) -> FrameScores:
    """Scores of one batch of held-out frames.

    Args:
        image: Reconstructions [N, C, H, W] in 0 to 1.
        target: True images, likewise.
        subject: [N].
        clip: [N].
        means: Of the training clips.
    """
    overall = means.overall().expand(len(target), -1, -1, -1)
    systems: dict[System, torch.Tensor] = {
        "reconstruction": image,
        "subject_mean": means.of(subject).to(target),
        "overall_mean": overall.to(target),
    }
    return FrameScores(
        clip=clip,
        psnr_db={name: psnr(shown, target).cpu().numpy() for name, shown in systems.items()},
        ssim={name: ssim(shown, target).cpu().numpy() for name, shown in systems.items()},
    )


def joined(batches: list[FrameScores]) -> FrameScores:
    """The scores of all batches, one after the other."""
    names: tuple[System, ...] = get_args(System)
    return FrameScores(
        clip=np.concatenate([batch.clip for batch in batches]),
        psnr_db={name: np.concatenate([batch.psnr_db[name] for batch in batches]) for name in names},
        ssim={name: np.concatenate([batch.ssim[name] for batch in batches]) for name in names},
    )


@dataclass(frozen=True)
class ImageScore:
    """One score of the three systems, mean over clips of their mean over frames."""

    reconstruction: Estimate
    subject_mean: Estimate
    overall_mean: Estimate
    reconstruction_minus_subject_mean: Estimate
    reconstruction_minus_overall_mean: Estimate


@dataclass(frozen=True)
class ImageResult:
    """Scores of held-out clips; higher is nearer."""

    psnr_db: ImageScore
    ssim: ImageScore
    num_frames: int
    num_clips: int


def compare(scores: FrameScores, config: BootstrapConfig) -> ImageResult | NotMeasurable:
    """The reconstruction against both mean images, on the same resamples."""
    if not len(scores.clip):
        return NotMeasurable("no held-out frame was reconstructed")
    bootstrap = config.build(scores.clip)
    return ImageResult(
        psnr_db=_compare(scores.psnr_db, bootstrap),
        ssim=_compare(scores.ssim, bootstrap),
        num_frames=len(scores.clip),
        num_clips=bootstrap.num_clips,
    )


def _compare(scores: dict[System, Floats], bootstrap: Bootstrap) -> ImageScore:
    found = {name: bootstrap.mean_of_clips(values) for name, values in scores.items()}
    return ImageScore(
        **{name: bootstrap.estimate(replicates) for name, replicates in found.items()},
        reconstruction_minus_subject_mean=bootstrap.estimate(found["reconstruction"] - found["subject_mean"]),
        reconstruction_minus_overall_mean=bootstrap.estimate(found["reconstruction"] - found["overall_mean"]),
    )


def _blur(images: torch.Tensor) -> torch.Tensor:
    """Gaussian window, rows and then columns; [N, 1, H, W] to [N, 1, H - 10, W - 10]."""
    offsets = torch.arange(-_RADIUS, _RADIUS + 1, dtype=images.dtype, device=images.device)
    window = torch.exp(-(offsets**2) / (2 * _SIGMA**2))
    window = window / window.sum()
    rows = torch.nn.functional.conv2d(images, window.reshape(1, 1, -1, 1))
    return torch.nn.functional.conv2d(rows, window.reshape(1, 1, 1, -1))


def _require_images(image: torch.Tensor, target: torch.Tensor) -> None:
    if image.shape != target.shape or image.ndim != 4:
        raise ValueError(f"images have shapes {[*image.shape]} and {[*target.shape]}; both must be [N, C, H, W]")
