"""Pictures that show at a glance what went in and what came out: the contact sheet and the failure gallery."""

import io
from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from PIL import Image, ImageDraw, ImageFont
from pydantic import Field

from mien.config import Config
from mien.log import printable
from mien.schema import FACE_DETECTED, FACE_INTERPOLATED, FACE_NONE

if TYPE_CHECKING:
    from mien.datasets.dataset import Dataset, Sample

_PAPER, _INK, _FAINT = "#ffffff", "#1a1a1a", "#6b7280"
_EDGE = {FACE_DETECTED: "#16a34a", FACE_INTERPOLATED: "#d97706", FACE_NONE: "#dc2626"}
_TILE_PX, _GAP_PX, _TEXT_PX = 112, 6, 300
_ROW_PX = 2 * _TILE_PX + 3 * _GAP_PX
_HEAD_PX = 44


class PreviewConfig(Config):
    """How much the pictures show."""

    max_clips: int = Field(40, ge=0, le=500)
    """Rows of the contact sheet and of the failure gallery; evenly chosen where there are more clips."""

    num_columns: int = Field(8, ge=1, le=24)
    """Frames per clip."""


def contact_sheet(dataset: "Dataset", config: PreviewConfig) -> bytes:
    """PNG: a row per sample, whole frames with the detected box above the crops; frames without a face edged red."""
    numbers = _evenly(len(dataset), config.max_clips)
    width = _TEXT_PX + config.num_columns * (_TILE_PX + _GAP_PX) + _GAP_PX
    sheet = Image.new("RGB", (width, _HEAD_PX + max(1, len(numbers)) * _ROW_PX), _PAPER)
    draw = ImageDraw.Draw(sheet)
    shown = f"{len(numbers)} of {len(dataset)} samples" if len(numbers) < len(dataset) else f"{len(dataset)} samples"
    _text(draw, (_GAP_PX * 2, 12), f"Contact sheet · {shown}", 18, _INK)
    _legend(draw, width)
    for row, number in enumerate(numbers):
        _draw_sample(sheet, _HEAD_PX + row * _ROW_PX, dataset.sample(number), config.num_columns)
    if not numbers:
        _text(draw, (_GAP_PX * 2, _HEAD_PX + 12), "No clip could be made; see the failure gallery.", 14, _INK)
    return _png(sheet)


def failure_gallery(failures: pa.Table, config: PreviewConfig) -> bytes:
    """PNG: a row per failed clip, with a frame of it where one could be read, and the reason."""
    numbers = _evenly(failures.num_rows, config.max_clips)
    row_px = _TILE_PX + 2 * _GAP_PX
    sheet = Image.new("RGB", (1000, _HEAD_PX + max(1, len(numbers)) * row_px), _PAPER)
    draw = ImageDraw.Draw(sheet)
    _text(draw, (_GAP_PX * 2, 12), f"Failures · {len(numbers)} of {failures.num_rows} clips", 18, _INK)
    for row, number in enumerate(numbers):
        _draw_failure(sheet, _HEAD_PX + row * row_px, failures.slice(number, 1).to_pylist()[0])
    if not numbers:
        _text(draw, (_GAP_PX * 2, _HEAD_PX + 12), "Nothing failed.", 14, _INK)
    return _png(sheet)


def _draw_sample(sheet: Image.Image, top: int, sample: "Sample", num_columns: int) -> None:
    draw = ImageDraw.Draw(sheet)
    _describe_sample(draw, top + _GAP_PX, sample)
    thumbs, crops, status, box = (sample[name] for name in ("thumb", "crop", "face", "box"))
    # where no whole frame was kept, as in clips that were imported, the crops alone
    shown = [row for row, jpeg in enumerate(thumbs) if jpeg] or np.flatnonzero(np.asarray(status)).tolist()
    rows = [shown[i] for i in _evenly(len(shown), num_columns)]
    scale_to = max(sample.row["width_px"], sample.row["height_px"])
    for column, row in enumerate(rows):
        left, edge = _TEXT_PX + column * (_TILE_PX + _GAP_PX), _EDGE[int(status[row])]
        frame = Image.open(io.BytesIO(thumbs[row])) if thumbs[row] else None  # type: ignore[arg-type]
        if frame is not None and np.isfinite(box[row]).all():
            scaled = np.asarray(box[row], float) * max(frame.size) / scale_to
            ImageDraw.Draw(frame).rectangle([float(v) for v in scaled], outline=edge, width=2)
        _tile(sheet, (left, top + _GAP_PX), frame, edge)
        _tile(sheet, (left, top + 2 * _GAP_PX + _TILE_PX), _crop_image(crops[row]), edge)


def _crop_image(crop: Any) -> Image.Image | None:
    if isinstance(crop, np.ndarray):
        return Image.fromarray(crop) if crop.any() else None
    return Image.open(io.BytesIO(crop)) if crop else None


def _describe_sample(draw: ImageDraw.ImageDraw, top: int, sample: "Sample") -> None:
    row = sample.row
    padded = np.asarray(sample["padded"], float)
    fps = f"{row['fps']:.2f}".rstrip("0").rstrip(".") + (" fps, varying" if row["is_vfr"] else " fps")
    lines = [
        f"{row['width_px']} x {row['height_px']} px · {fps}",
        f"{row['num_frames']} frames · face in {100 * row['num_detected'] / row['num_frames']:.1f} %",
        f"{100 * np.mean(np.nan_to_num(padded) > 0):.0f} % of crops repeat the border",
        f"track {row['track']}" + (f" · subject {row['subject']}" if row["subject"] else ""),
        *(_wrapped(f"from {row['start_s']:.2f} s · {row['reason']}", 34)[:4] if row["reason"] != "whole" else []),
        f"{row['clip_id'][:12]}",
    ]
    _text(draw, (_GAP_PX * 2, top), PurePath(row["source_uri"]).name[:34], 15, _INK)
    for number, line in enumerate(lines):
        _text(draw, (_GAP_PX * 2, top + 26 + 19 * number), line, 13, _FAINT)


def _draw_failure(sheet: Image.Image, top: int, failure: Mapping[str, Any]) -> None:
    draw = ImageDraw.Draw(sheet)
    frame = Image.open(io.BytesIO(failure["thumb"])) if failure["thumb"] else None
    _tile(sheet, (_GAP_PX * 2, top + _GAP_PX), frame, _EDGE[FACE_NONE])
    left = _TILE_PX + 5 * _GAP_PX
    _text(draw, (left, top + _GAP_PX), PurePath(failure["source_uri"]).name[:90], 15, _INK)
    tried = "once" if failure["attempts"] == 1 else f"{failure['attempts']} times"
    what = f"{failure['error_type']} in {failure['stage']}, tried {tried}"
    _text(draw, (left, top + 30), what, 13, _EDGE[FACE_NONE])
    reason = failure["error"].removeprefix(f"{printable(failure['source_uri'])}: ")
    for number, line in enumerate(_wrapped(reason, 118)[:3]):
        _text(draw, (left, top + 52 + 19 * number), line, 13, _FAINT)


def _wrapped(text: str, width: int) -> list[str]:
    lines = [""]
    for word in text.split():
        if len(lines[-1]) + len(word) >= width and lines[-1]:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return [line[: width + 12] for line in lines]


def _legend(draw: ImageDraw.ImageDraw, width: int) -> None:
    left = min(_TEXT_PX, width - 420)
    for status, name in ((FACE_DETECTED, "face found"), (FACE_INTERPOLATED, "interpolated"), (FACE_NONE, "no face")):
        draw.rectangle((left, 16, left + 12, 28), outline=_EDGE[status], width=3)
        _text(draw, (left + 18, 14), name, 13, _FAINT)
        left += 120


def _tile(sheet: Image.Image, corner: tuple[int, int], image: Image.Image | None, edge: str) -> None:
    """Fit an image into a square tile with a coloured edge; an empty tile where there is none."""
    x, y = corner
    draw = ImageDraw.Draw(sheet)
    draw.rectangle((x, y, x + _TILE_PX - 1, y + _TILE_PX - 1), fill="#f3f4f6")
    if image is None:
        draw.line((x + 30, y + 30, x + _TILE_PX - 31, y + _TILE_PX - 31), fill="#d1d5db", width=2)
        draw.line((x + 30, y + _TILE_PX - 31, x + _TILE_PX - 31, y + 30), fill="#d1d5db", width=2)
    else:
        fitted = image.convert("RGB")
        fitted.thumbnail((_TILE_PX - 4, _TILE_PX - 4), Image.Resampling.LANCZOS)
        sheet.paste(fitted, (x + (_TILE_PX - fitted.width) // 2, y + (_TILE_PX - fitted.height) // 2))
    draw.rectangle((x, y, x + _TILE_PX - 1, y + _TILE_PX - 1), outline=edge, width=2)


def _text(draw: ImageDraw.ImageDraw, corner: tuple[int, int], text: str, size_px: int, fill: str) -> None:
    draw.text(corner, printable(text), fill=fill, font=ImageFont.load_default(size=size_px))


def _evenly(count: int, limit: int) -> Sequence[int]:
    """At most `limit` of `count` positions, first and last among them."""
    if count <= limit:
        return range(count)
    return [int(position) for position in np.linspace(0, count - 1, limit).round()] if limit else []


def _png(sheet: Image.Image) -> bytes:
    stream = io.BytesIO()
    sheet.save(stream, "PNG", optimize=False)
    return stream.getvalue()
