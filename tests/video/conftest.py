"""Small videos written by PyAV alone: what mien reads is not made by mien."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

WIDTH, HEIGHT = 96, 64


@dataclass(frozen=True)
class Recipe:
    """How a video is written; `pts`, one per frame, and their `duration` in units of 1/(30 * 8) s."""

    codec: str = "libx264"
    options: dict[str, str] = field(default_factory=dict)
    container: str | None = None
    container_options: dict[str, str] = field(default_factory=dict)
    pts: Iterable[int] = range(0, 90 * 8, 8)
    duration: int = 8
    num_b_frames: int = 3
    pixel_format: str = "yuv420p"
    size: tuple[int, int] = (WIDTH, HEIGHT)
    rotation_deg: int = 0
    is_mirrored: bool = False
    gop: int = 30


TICK = Fraction(1, 240)


def picture(i: int, width: int, height: int) -> np.ndarray:
    """A frame that differs from all others: a bright bar over coarse noise. uint8 [height, width, 3]"""
    rng = np.random.default_rng(i // 10)
    image = rng.integers(40, 90, (height, width, 3), np.uint8)
    image[:, (3 * i) % width :][:, :5] = (255, 2 * i % 256, 128)
    return image


def write(path: Path, recipe: Recipe) -> Path:
    """Write one video stream, a picture per pts."""
    with av.open(str(path), "w", format=recipe.container, container_options=recipe.container_options) as container:
        stream = container.add_stream(recipe.codec, rate=30, options=recipe.options)
        stream.width, stream.height = recipe.size
        stream.pix_fmt = recipe.pixel_format
        context = stream.codec_context
        context.time_base, context.gop_size, context.max_b_frames = TICK, recipe.gop, recipe.num_b_frames
        context.thread_count = 1
        if recipe.rotation_deg or recipe.is_mirrored:
            stream.set_display_rotation(recipe.rotation_deg, hflip=recipe.is_mirrored)
        for i, pts in enumerate(recipe.pts):
            frame = av.VideoFrame.from_ndarray(picture(i, *recipe.size))
            frame.pts, frame.time_base, frame.duration = pts, TICK, recipe.duration
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


@pytest.fixture
def make_video(tmp_path: Path) -> Callable[..., Path]:
    """A function that writes a video of a name; its keywords are those of `Recipe`."""
    return lambda name="video.mp4", **keywords: write(tmp_path / name, Recipe(**keywords))


def bare_decode(path: Path) -> list[tuple[int, np.ndarray]]:
    """The reference: pts and RGB of every frame by a plain PyAV loop from the start."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        return [(frame.pts, frame.to_ndarray(format="rgb24")) for frame in container.decode(stream)]


@pytest.fixture(name="bare_decode")
def _bare_decode() -> Callable[[Path], list[tuple[int, np.ndarray]]]:
    return bare_decode


def clicks(rate_hz: int, num_channels: int = 1, duration_s: float = 3.0) -> np.ndarray:
    """Short bursts at 0.25, 0.75, ... s. float32 [channels, n]"""
    samples = np.zeros((num_channels, round(duration_s * rate_hz)), np.float32)
    for time_s in np.arange(0.25, duration_s, 0.5):
        start = round(time_s * rate_hz)
        samples[:, start : start + rate_hz // 100] = 0.8
    return samples


@pytest.fixture(name="clicks")
def _clicks() -> Callable[..., np.ndarray]:
    return clicks
