"""Pictures out of a video as image files: at a rate, at given times, or one small one that stands for all."""

import math
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
from pydantic import Field, field_validator, model_validator

from mien.config import Config
from mien.errors import MediaError
from mien.storage.local import translated
from mien.video.decode import Frame, Span, decode_clip, frames_at
from mien.video.limits import LimitsConfig, Source, media_name
from mien.video.probe import VideoInfo, probe

Format = Literal["jpg", "png"]

MAX_TIMES = 100_000


class FramesConfig(Config):
    """Which frames become image files, and how."""

    rate_fps: float = Field(1.0, gt=0, le=1000, allow_inf_nan=False)
    """Frames per second of video."""

    at_s: tuple[float, ...] = Field((), max_length=MAX_TIMES)
    """Times, s, in place of a rate: what a player shows then. `at_s=1.5` or `at_s=1.5,2,3`."""

    start_s: float | None = Field(None, allow_inf_nan=False)
    """Where the rate begins; the first frame by default."""

    end_s: float | None = Field(None, allow_inf_nan=False)
    """Where it ends; the last frame by default."""

    quality: int = Field(95, ge=1, le=100)
    """Of JPEG."""

    format: Format = "jpg"
    """jpg, or png without loss."""

    @field_validator("at_s", mode="before")
    @classmethod
    def _listed(cls, value: Any) -> Any:
        """One number, or several with commas, as a command line has them."""
        if isinstance(value, str):
            return [part.strip() for part in value.split(",")]
        return [value] if isinstance(value, int | float) else value

    @field_validator("at_s")
    @classmethod
    def _finite(cls, times: tuple[float, ...]) -> tuple[float, ...]:
        if not all(map(math.isfinite, times)):
            raise ValueError("times must be finite")
        return times

    @model_validator(mode="after")
    def _in_order(self) -> "FramesConfig":
        if self.start_s is not None and self.end_s is not None and not self.start_s < self.end_s:
            raise ValueError("end_s must come after start_s")
        if self.at_s and self.model_fields_set & {"rate_fps", "start_s", "end_s"}:
            raise ValueError("at_s stands in place of rate_fps, start_s and end_s; give one or the other")
        return self

    @property
    def span(self) -> Span:
        """From start to end, infinite where it is not given."""
        return Span(-math.inf if self.start_s is None else self.start_s, math.inf if self.end_s is None else self.end_s)


class ThumbnailConfig(Config):
    """One small picture of a video."""

    width_px: int = Field(320, ge=16, le=8192)
    """Width of the box that it fits into; it keeps its proportions and is never enlarged."""

    height_px: int = Field(240, ge=16, le=8192)
    """Height of the box."""

    at_s: float | None = Field(None, allow_inf_nan=False)
    """Time of the picture, s; the middle by default."""

    quality: int = Field(90, ge=1, le=100)
    """Of JPEG."""

    format: Format = "jpg"
    """jpg, or png without loss."""


def write_frames(
    source: Source, folder: Path, config: FramesConfig, limits: LimitsConfig | None = None
) -> list[dict[str, Any]]:
    """Write frames into a folder that exists: `frame_000000.jpg` at a rate, `frame_1.5s_0.jpg` at times.

    Returns:
        File, time and pts of each, in the order of the names' numbers. A frame that is shown at two of the times is
        there twice.

    Raises:
        MediaError: The video cannot be read, or has no picture where one is asked for; what was written stays.
        StorageError: A file cannot be written.
    """
    if config.at_s:
        chosen = (
            (position, f"frame_{_plain(config.at_s[position])}s_{position}", frame)
            for position, frame in frames_at(source, config.at_s, limits)
        )
    else:
        frames = decode_clip(source, config.span, config.rate_fps, limits)
        chosen = ((number, f"frame_{number:06d}", frame) for number, frame in zip(count(), frames, strict=False))
    written = [
        (position, _write(frame, folder / f"{stem}.{config.format}", config)) for position, stem, frame in chosen
    ]
    return [entry for _, entry in sorted(written, key=lambda item: item[0])]


def write_thumbnail(
    source: Source, path: Path, config: ThumbnailConfig, limits: LimitsConfig | None = None
) -> dict[str, Any]:
    """Write one picture, upright, with square pixels.

    Returns:
        Its size in pixels and its time.

    Raises:
        MediaError: The video cannot be read, or shows nothing at the time that is asked for.
        StorageError: The file cannot be written.
    """
    info = probe(source, limits)
    frame = _moment(source, info, config.at_s, limits)
    width, height = fitted(info, frame.rgb.shape[:2], (config.width_px, config.height_px))
    small = np.asarray(cv2.resize(frame.rgb, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
    with translated(path):
        path.write_bytes(encode_image(small, config.format, config.quality))
    return {"width_px": width, "height_px": height, "time_s": frame.time_s}


def fitted(info: VideoInfo, stored: tuple[int, ...], box: tuple[int, int]) -> tuple[int, int]:
    """Width and height at which a picture keeps the proportions of the video within a box, never enlarged.

    Args:
        info: Says how wide a pixel is.
        stored: Height and width of the decoded picture.
        box: Width and height at most.
    """
    aspect = float(info.aspect_ratio)
    width = min(box[0], box[1] * aspect, max(stored[1], stored[0] * aspect))
    return max(1, round(width)), max(1, round(width / aspect))


def encode_image(rgb: np.ndarray, kind: Format, quality: int) -> bytes:
    """RGB uint8 [H, W, 3] as an image file."""
    flags = [cv2.IMWRITE_JPEG_QUALITY, quality] if kind == "jpg" else []
    return bytes(cv2.imencode(f".{kind}", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), flags)[1])


def _write(frame: Frame, path: Path, config: FramesConfig) -> dict[str, Any]:
    with translated(path):
        path.write_bytes(encode_image(frame.rgb, config.format, config.quality))
    return {"file": path.name, "time_s": frame.time_s, "pts": frame.pts}


def _moment(source: Source, info: VideoInfo, at_s: float | None, limits: LimitsConfig | None) -> Frame:
    """The picture at a time, or in the middle; the first one where the header is wrong about the length."""
    try:
        time_s = info.start_s + info.duration_s / 2 if at_s is None else at_s
        return next(frame for _, frame in frames_at(source, [time_s], limits))
    except MediaError:
        if at_s is not None:
            raise
    return next(_first(source, limits))


def _first(source: Source, limits: LimitsConfig | None) -> Iterator[Frame]:
    yield from decode_clip(source, limits=limits)
    raise MediaError(f"{media_name(source)}: has no frame that can be read; copy it again or leave it out")


def _plain(time_s: float) -> str:
    """Seconds to the microsecond, without zeros at the end."""
    return f"{time_s:.6f}".rstrip("0").rstrip(".")
