"""Decoding of a 60-second video: three clips of 3 seconds against all of it, and all of it against a bare PyAV loop."""

import math
import tempfile
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from timing import in_turn

from mien.video.decode import Span, decode, decode_clip
from mien.video.encode import encode

DURATION_S, FPS, WIDTH, HEIGHT = 60, 30, 640, 480
CUT_S = 3
"""A shot of a film of today lasts about 2.5 s; x264 sets a keyframe at a cut, and after 250 frames, its default."""
SPANS = [Span(7.5, 10.5), Span(28.5, 31.5), Span(52.5, 55.5)]
"""Each begins half a shot after a keyframe: the mean of where a clip may begin."""


def run() -> Iterator[dict]:
    """One dict per line: sparse and full decoding, both sides with one thread, to RGB arrays."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "video.mp4")
        encode(path, scenes(), Fraction(FPS))
        yield against_bare("decode.sparse", lambda: consume(decode(path, SPANS)), path, bound=4.0)
        yield against_bare("decode.full", lambda: consume(decode_clip(path)), path, bound=0.95)


def against_bare(bench: str, ours: Callable[[], None], path: Path, bound: float) -> dict:
    """How many times faster than a bare loop over the whole video; processor time, as each side has one thread."""
    ours_s, other_s = in_turn(ours, lambda: bare(path), repeats=7, clock=time.process_time)
    line = {"bench": bench, "ratio": round(other_s / ours_s, 3), "bound": bound, "better": "higher"}
    return line | {"ours": round(ours_s, 4), "other": round(other_s, 4), "unit": "s"}


def bare(path: Path) -> None:
    """The loop that everybody writes."""
    with av.open(path) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        for frame in container.decode(stream):
            frame.to_ndarray(format="rgb24", threads=1)


def consume(frames: Iterator[object]) -> None:
    """Take every frame and keep none."""
    for _ in frames:
        pass


def scenes() -> Iterator[np.ndarray]:
    """Textured scenes uint8 [H, W, 3] that sway, with sensor noise: work for a decoder like a filmed one."""
    rng = np.random.default_rng(0)
    noise = rng.integers(-3, 4, (8, HEIGHT, WIDTH, 3), np.int16)
    scene = np.empty(0)
    for i in range(DURATION_S * FPS):
        if i % (CUT_S * FPS) == 0:
            scene = texture(rng)
        x, y = (round(32 + 30 * math.sin(i / period)) for period in (23, 17))
        moved = scene[y : y + HEIGHT, x : x + WIDTH]
        yield (moved + noise[i % len(noise)]).clip(0, 255).astype(np.uint8)


def texture(rng: np.random.Generator) -> np.ndarray:
    """Coarse and fine random patches int16 [H + 64, W + 64, 3]."""
    layers = []
    for size_px in (64, 16, 4):
        small = rng.integers(0, 85, (-(-(HEIGHT + 64) // size_px), -(-(WIDTH + 64) // size_px), 3), np.int16)
        layers.append(small.repeat(size_px, axis=0).repeat(size_px, axis=1)[: HEIGHT + 64, : WIDTH + 64])
    return np.sum(layers, axis=0, dtype=np.int16)


if __name__ == "__main__":
    for line in run():
        print(line)
