"""A video whose pictures flash and whose sound clicks at known times, written by PyAV alone."""

from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np

SIDE_PX = 96
TICK = Fraction(1, 1000)
BURST_S = 0.01


def write(
    path: Path,
    times_ms: Sequence[int],
    events_s: Sequence[float],
    *,
    rate_hz: int = 44100,
    heard_s: tuple[float, float] | None = None,
    codecs: tuple[str, str] = ("libx264", "aac"),
    num_channels: int = 1,
) -> Path:
    """Write frames at the given times, white where an event lies in them, and a burst of 10 ms at each event.

    The sound is there in `heard_s`, by default as long as the pictures; without a codec for it there is none.
    """
    with av.open(str(path), "w") as container:
        video = container.add_stream(codecs[0], rate=25, options={"crf": "10"} if codecs[0] == "libx264" else {})
        video.width = video.height = SIDE_PX
        video.pix_fmt = "yuv420p"
        video.codec_context.time_base = TICK
        packets = []
        bounds = [*times_ms, 2 * times_ms[-1] - times_ms[-2]]
        for start, stop in pairwise(bounds):
            is_white = any(start <= round(1000 * event) < stop for event in events_s)
            picture = np.full((SIDE_PX, SIDE_PX, 3), 230 if is_white else 30, np.uint8)
            frame = av.VideoFrame.from_ndarray(picture)
            frame.pts, frame.time_base, frame.duration = start, TICK, stop - start
            packets += video.encode(frame)
        packets += video.encode(None)
        if codecs[1]:
            packets += _sound(container, events_s, rate_hz, heard_s or (0, bounds[-1] / 1000), codecs[1], num_channels)
        for packet in sorted(packets, key=lambda packet: packet.dts * packet.time_base):
            container.mux(packet)
    return path


def _sound(container, events_s, rate_hz, heard_s, codec, num_channels):
    layout = {1: "mono", 2: "stereo"}[num_channels]
    stream = container.add_stream(codec, rate=rate_hz, layout=layout)
    start, stop = (round(time_s * rate_hz) for time_s in heard_s)
    samples = np.zeros((num_channels, stop - start), np.float32)
    for event in events_s:
        first = round(event * rate_hz) - start
        if 0 <= first < samples.shape[1]:
            samples[:, first : first + round(BURST_S * rate_hz)] = 0.8
    frame = av.AudioFrame.from_ndarray(samples, "fltp", layout)
    frame.sample_rate, frame.pts, frame.time_base = rate_hz, start, Fraction(1, rate_hz)
    frame_size = stream.codec_context.frame_size or 1024
    resampler = av.AudioResampler(stream.format, stream.layout, rate_hz, frame_size=frame_size)
    packets = []
    for block in [*resampler.resample(frame), *resampler.resample(None)]:
        packets += stream.encode(block)
    return packets + stream.encode(None)


def clicks(samples: np.ndarray, rate_hz: int, start_s: float) -> np.ndarray:
    """Times at which bursts begin, s, of samples [channels, n] whose first is at `start_s`."""
    loud = np.flatnonzero(np.abs(samples[0]) > 0.3)
    first = loud[np.diff(loud, prepend=-rate_hz) > rate_hz // 10]
    return start_s + first / rate_hz
