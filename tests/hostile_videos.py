"""Videos that users have by accident or strangers send on purpose, made in code, and what must be said of each."""

import struct
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

NUM_GOOD_FRAMES = 24
_SIDE_PX = 240
_FPS = 12

EXPECTED = {
    "empty.mp4": ("MediaError", "is empty", "copy it again or leave it out"),
    "text.mp4": ("MediaError", "is not a video", "leave it out"),
    "zeros.mp4": ("MediaError", "is not a video", "leave it out"),
    "cut_in_the_middle.mp4": ("MediaError", "bytes are missing at the end", "copy it again or end the clip before"),
    "cut_before_its_header.mp4": ("MediaError", "header is missing or damaged", "copy it again or leave it out"),
    "without_first_bytes.mp4": ("MediaError", "is not a video", "leave it out"),
    "audio_only.mp4": ("MediaError", "has no video stream, only audio", "leave it out or give the video file"),
    "photo_jpeg.mp4": ("MediaError", "is not a video", "leave it out"),
    "photo_png.mp4": ("MediaError", "is not a video", "leave it out"),
    "no_face.mp4": ("FaceError", "no face in any of 10 frames", "leave it out"),
    "one_pixel.mp4": ("LimitExceeded", "1x1 px is below", "leave it out"),
    "claims_100000.avi": ("LimitExceeded", "100000x100000 px is more than", "leave it out or scale it down"),
    "claims_65535.mp4": ("LimitExceeded", "65535x65535 px is more than", "leave it out or scale it down"),
}
"""File -> class of the error, what is wrong, what to do: parts of its row in failures.parquet."""


def write_hostile(folder: Path, good: Path) -> None:
    """Every file of `EXPECTED`, some of them made from a good video whose header comes first."""
    data = good.read_bytes()
    header_bytes = data.index(b"mdat") - 4
    pixels = _noise(1)[0]
    write_video(folder / "no_face.mp4", _noise(10))
    write_video(folder / "one_pixel.mp4", [frame[:1, :1] for frame in _noise(5)], pixel_format="yuv444p")
    write_video(folder / "claims_100000.avi", _noise(5), "mjpeg", "yuvj420p")
    _claim_avi(folder / "claims_100000.avi", 100_000)
    _write_audio(folder / "audio_only.mp4")
    others = {
        "empty.mp4": b"",
        "text.mp4": b"This is a shopping list, not a video.\n" * 40,
        "zeros.mp4": bytes(5000),
        "cut_in_the_middle.mp4": data[: (header_bytes + len(data)) // 2],
        "cut_before_its_header.mp4": (folder / "no_face.mp4").read_bytes().partition(b"moov")[0],
        "without_first_bytes.mp4": data[header_bytes + 8 :],
        "photo_jpeg.mp4": _photo_bytes(pixels, "mjpeg", "yuvj420p"),
        "photo_png.mp4": _photo_bytes(pixels, "png", "rgb24"),
        "claims_65535.mp4": _claiming_mp4(data),
    }
    for name, content in others.items():
        (folder / name).write_bytes(content)


def write_good(path: Path, faces_dir: Path, num_frames: int = NUM_GOOD_FRAMES) -> None:
    """The first frames of a real face video, small, with the header before the frames."""
    with av.open(str(min(faces_dir.glob("*.mp4"), key=lambda video: video.stat().st_size))) as container:
        pictures = [frame for frame, _ in zip(container.decode(video=0), range(num_frames), strict=False)]
    frames = [picture.to_ndarray(width=_SIDE_PX, height=_SIDE_PX, format="rgb24") for picture in pictures]
    write_video(path, frames, movflags="faststart")


def write_video(
    path: Path, frames: Iterable[np.ndarray], codec: str = "libx264", pixel_format: str = "yuv420p", **options: str
) -> None:
    """Encode RGB frames [H, W, 3]; the container follows from the file's ending."""
    frames = list(frames)
    with av.open(str(path), "w", options=options) as container:
        stream: Any = container.add_stream(codec, rate=Fraction(_FPS), options={"g": "6", "threads": "1"})
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = pixel_format
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), "rgb24")))
        container.mux(stream.encode(None))


def _noise(num_frames: int) -> list[np.ndarray]:
    """Grey noise without anything like a face, uint8 [96, 128, 3]."""
    rng = np.random.default_rng(0)
    return [rng.integers(90, 130, (96, 128, 3), np.uint8) for _ in range(num_frames)]


def _write_audio(path: Path) -> None:
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("aac", rate=16_000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 16_000), np.float32), "fltp", "mono")
        frame.sample_rate = 16_000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def _photo_bytes(pixels: np.ndarray, codec: str, pixel_format: str) -> bytes:
    """One picture as a JPEG or PNG file."""
    context: Any = av.CodecContext.create(codec, "w")
    context.height, context.width = pixels.shape[:2]
    context.pix_fmt, context.time_base = pixel_format, Fraction(1, _FPS)
    picture = av.VideoFrame.from_ndarray(pixels, "rgb24").reformat(format=pixel_format)
    return b"".join(bytes(packet) for packet in [*context.encode(picture), *context.encode(None)])


def _claim_avi(path: Path, side_px: int) -> None:
    """Make both headers of an AVI claim a gigantic frame."""
    data = bytearray(path.read_bytes())
    struct.pack_into("<2I", data, data.index(b"avih") + 40, side_px, side_px)  # dwWidth, dwHeight
    struct.pack_into("<2I", data, data.index(b"strf") + 12, side_px, side_px)  # biWidth, biHeight
    path.write_bytes(data)


def _claiming_mp4(good: bytes) -> bytes:
    """A whole mp4 whose two headers claim the largest frame that 16 bits can."""
    data = bytearray(good)
    struct.pack_into(">2I", data, data.index(b"tkhd") + 4 + 76, 65535 << 16, 65535 << 16)
    struct.pack_into(">2H", data, data.index(b"avc1", data.index(b"stsd")) + 4 + 24, 65535, 65535)
    return bytes(data)
