"""Long videos with real content, made in a second: nothing is encoded."""

from fractions import Fraction
from pathlib import Path
from typing import Any

import av

LONG_S = 600
WORST_STARTS_S = {"d18.mp4": (547.18, 568.78, 590.38), "d19.mp4": (541.65, 566.65, 591.65)}
"""Just before a keyframe is shown: what is decoded for a clip, and so read, begins a group of pictures earlier."""


def lengthen(source: Path, target: Path, *, index_at_start: bool = True, with_sound: bool = False) -> None:
    """Ten minutes from a short video: its packets again and again."""
    options = {"movflags": "faststart"} if index_at_start else {}
    with av.open(str(source)) as short, av.open(str(target), "w", options=options) as long:
        streams = [short.streams.video[0], *(short.streams.audio if with_sound else ())]
        copies = {stream.index: long.add_stream_from_template(stream) for stream in streams}
        packets = sorted((packet for packet in short.demux(streams) if packet.size), key=_dts_s)
        pictures = [packet for packet in packets if packet.stream == streams[0]]
        length_s = (max(p.pts + p.duration for p in pictures) - min(p.pts for p in pictures)) * streams[0].time_base
        if with_sound:  # which may be longer than the pictures
            length_s = max(length_s, _dts_s(packets[-1]) - _dts_s(packets[0]) + Fraction(1, 30))
        for turn in range(int(LONG_S / length_s) + 1):
            for packet in packets:
                long.mux(_shifted(packet, round(turn * length_s / packet.time_base), copies[packet.stream.index]))


def _dts_s(packet: Any) -> Fraction:
    return Fraction(packet.dts * packet.time_base)


def _shifted(packet: Any, shift: int, stream: Any) -> Any:
    again = av.Packet(bytes(packet))
    again.pts, again.dts = packet.pts + shift, packet.dts + shift
    again.duration, again.time_base = packet.duration, packet.time_base
    again.stream, again.is_keyframe = stream, packet.is_keyframe
    return again
