"""The crops of a sample one at a time: as pixels for a video with its times and sound, as files for a picture."""

from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import cv2
import numpy as np

from mien.datasets.dataset import Sample
from mien.datasets.frames import Values
from mien.errors import DatasetError
from mien.faces.crop import decode_jpeg
from mien.schema import FACE_NONE
from mien.video.audio import LAYOUTS, AudioClip
from mien.video.encode import FrameTimes


def pixels(sample: Sample, size_px: int, side_px: int | None = None) -> Iterator[np.ndarray]:
    """Crops as RGB uint8 [side, side, 3], black where a frame has none; only one is unpacked at a time.

    Args:
        sample: Whose crops.
        size_px: Side of the crops of the dataset.
        side_px: Side of what is given; theirs by default. Enlarging is bicubic, shrinking averages areas.

    Raises:
        DatasetError: A crop is damaged, or of another size.
    """
    side_px = side_px or size_px
    black = np.zeros((side_px, side_px, 3), np.uint8)
    for crop in sample["crop"]:
        shown = _unpacked(crop)
        if shown is not None and shown.shape != (size_px, size_px, 3):
            raise DatasetError(f"clip {sample.clip_id}: a crop is {shown.shape}, not {size_px} px; run `mien verify`")
        yield black if shown is None else _resized(shown, side_px)


def _unpacked(crop: Any) -> np.ndarray | None:
    """One crop as pixels; None for an empty JPEG. A raw crop without a face is black already."""
    if isinstance(crop, np.ndarray):
        return crop
    return decode_jpeg(crop) if crop else None


def _resized(rgb: np.ndarray, side_px: int) -> np.ndarray:
    if rgb.shape[0] == side_px:
        return rgb
    how = cv2.INTER_CUBIC if side_px > rgb.shape[0] else cv2.INTER_AREA
    return np.asarray(cv2.resize(rgb, (side_px, side_px), interpolation=how), np.uint8)


def ending(crops: Values) -> str:
    """What a crop is as a file: `jpg` as it is stored, `png` for raw pixels."""
    return "png" if isinstance(crops, np.ndarray) else "jpg"


def files(sample: Sample) -> Iterator[bytes]:
    """Crops as the bytes of a picture: the JPEG that is stored, raw pixels as a PNG; empty where a frame has none."""
    crops, face = sample["crop"], np.asarray(sample["face"])
    for crop, status in zip(crops, face, strict=True):
        if status == FACE_NONE:
            yield b""
        else:
            yield _png(crop) if isinstance(crop, np.ndarray) else bytes(crop)


def _png(rgb: np.ndarray) -> bytes:
    return bytes(cv2.imencode(".png", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))[1])


def sound(sample: Sample) -> AudioClip | None:
    """What is heard from the first frame on; None where the dataset was made without, or the video is silent."""
    if not sample.row.get("audio_rate_hz"):
        return None
    heard = sample.audio()
    return heard if heard.samples.size and len(heard.samples) in LAYOUTS else None


def timing(sample: Sample) -> Fraction | FrameTimes:
    """When the frames of a sample are shown: an exact rate where they come evenly, else each at its own time."""
    pts = np.asarray(sample["pts"])
    time_base = Fraction(int(sample.row["time_base_num"]), max(1, int(sample.row["time_base_den"])))
    steps = np.diff(pts)
    if len(steps) and (steps == steps[0]).all() and steps[0] > 0:
        return 1 / (int(steps[0]) * time_base)
    if len(steps) and (steps > 0).all():
        return FrameTimes([int(value) for value in pts], time_base)
    return Fraction(sample.row["fps"]).limit_denominator(1001) or Fraction(1)
