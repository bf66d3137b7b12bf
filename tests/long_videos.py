"""Long videos with real content, made in a second: nothing is encoded."""

from pathlib import Path

import av

LONG_S = 600
WORST_STARTS_S = {"d18.mp4": (100.7, 302.3, 496.7), "d19.mp4": (99.9, 299.9, 499.9)}
"""Just before a keyframe: what is decoded for a clip, and so read, begins a whole group of pictures earlier."""


def lengthen(source: Path, target: Path, *, index_at_start: bool = True) -> None:
    """Ten minutes from a short video: its packets again and again."""
    options = {"movflags": "faststart"} if index_at_start else {}
    with av.open(str(source)) as short, av.open(str(target), "w", options=options) as long:
        stream = short.streams.video[0]
        copy = long.add_stream_from_template(stream)
        packets = [packet for packet in short.demux(stream) if packet.size]
        length = max(p.pts + p.duration for p in packets) - min(p.pts for p in packets)
        for turn in range(int(LONG_S / (length * stream.time_base)) + 1):
            for packet in packets:
                again = av.Packet(bytes(packet))
                again.pts, again.dts = packet.pts + turn * length, packet.dts + turn * length
                again.duration, again.time_base = packet.duration, stream.time_base
                again.stream, again.is_keyframe = copy, packet.is_keyframe
                long.mux(again)
