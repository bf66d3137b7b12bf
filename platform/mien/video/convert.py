"""Any allowed video as an mp4: what mp4 holds is copied packet by packet, the rest is encoded anew.

Pictures and sound keep their distance in time; the earlier of the two begins at 0. A copy loses nothing and does not
look inside: a frame that is damaged is copied with its damage. Pictures that are encoded anew come out upright, in 8
bits, at their own times.
"""

import heapq
import os
from collections.abc import Iterable, Iterator
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np

from mien.config import Config
from mien.errors import MediaError, NoAudioTrack
from mien.video.audio import LAYOUTS, audio_extent, audio_stream, open_audio
from mien.video.decode import Frame, Span, decode_clip
from mien.video.encode import AudioCopy, EncodeConfig, VideoTrack, aac_track, copied_audio, packet_time
from mien.video.header import missing_bytes
from mien.video.limits import LimitsConfig, Source, media_name, open_media, reading, reading_media, video_stream
from mien.video.output import output
from mien.video.probe import VideoInfo, packets, probe

VIDEO_COPIED = ("h264", "hevc", "av1", "vp9", "mpeg4")
"""Codecs that players expect in an mp4."""
AUDIO_COPIED = ("aac", "mp3", "ac3", "eac3", "alac", "opus")
STORED_WITHOUT_PTS = ("avi",)
"""Containers whose packets do not say when they are shown."""
APPLE_TAGS = {"hevc": "hvc1"}
"""Names of codecs in an mp4 without which players of Apple refuse it."""
FOREVER_S = 1e9
"""Later than any sound: what a source has beyond its last picture is copied, too."""


class ConvertConfig(Config):
    """How a video becomes an mp4."""

    reencode: bool = False
    """Encode the pictures anew even where they could be copied."""

    encode: EncodeConfig = EncodeConfig()
    """How pictures are encoded where they are not copied."""


class Converted(NamedTuple):
    """What was done."""

    video: str
    """`copied` or `encoded`."""
    audio: str | None
    """The same; None where the source has no sound."""
    num_frames: int


class _CannotCopy(Exception):
    """Packets that an mp4 cannot hold as they are."""


def convert(
    source: Source, path: str | os.PathLike[str], config: ConvertConfig, limits: LimitsConfig | None = None
) -> Converted:
    """Write a video with its first sound track as an mp4, whole or not at all.

    Raises:
        MediaError: The source cannot be read, is damaged or cut off.
        LimitExceeded: It is larger than the limits allow.
        StorageError: The file cannot be written.
    """
    limits, name = limits or LimitsConfig(), media_name(source)
    info = probe(source, limits)
    with reading(source) as file:
        num_missing = missing_bytes(file)
    if num_missing:
        raise MediaError(f"{name}: was cut off ({num_missing} bytes are missing at the end); copy it again")
    is_known = info.codec in VIDEO_COPIED and info.container not in STORED_WITHOUT_PTS
    if is_known and not config.reencode:
        try:
            return _written(source, path, info, limits, None)
        except _CannotCopy:
            pass
    return _written(source, path, info, limits, config.encode)


def _written(
    source: Source, path: str | os.PathLike[str], info: VideoInfo, limits: LimitsConfig, encoder: EncodeConfig | None
) -> Converted:
    """Convert, with pictures copied where no encoder is given.

    The source may be one file object, so it is read in turns: the sound, which is small, before the pictures.
    """
    with output(path, "mp4", {"movflags": "+faststart"}) as container:
        heard = _heard(source, limits)
        start_s = heard.start_s if heard else info.start_s
        if encoder is None:
            pictures = _copied(container, source, start_s, limits)
        else:
            pictures = _encoded(container, source, start_s, info, limits, encoder)
        next(pictures)  # adds the stream, so that it is the first
        how, sound = _sound(container, source, heard, limits) if heard else (None, [])
        num_frames = 0
        for packet in heapq.merge(pictures, sound, key=packet_time):
            num_frames += packet.stream.type == "video"
            container.mux(packet)
    if not num_frames:
        raise MediaError(f"{media_name(source)}: has no frame that can be read; copy it again or leave it out")
    return Converted("copied" if encoder is None else "encoded", how, num_frames)


def _heard(source: Source, limits: LimitsConfig) -> Span | None:
    """When there are pictures or sound; None without sound."""
    try:
        return audio_extent(source, limits)
    except NoAudioTrack:
        return None


def _copied(container: Any, source: Source, start_s: float, limits: LimitsConfig) -> Iterator[Any]:
    """Nothing when the stream is added, then its packets.

    Raises:
        _CannotCopy: They are not in order, or do not say when they are shown.
    """
    name = media_name(source)
    with open_media(source, limits, name) as opened:
        template = video_stream(opened, limits, name)
        track = container.add_stream_from_template(template)
        codec = template.codec_context.codec.canonical_name
        if codec in APPLE_TAGS:
            track.codec_context.codec_tag = APPLE_TAGS[codec]
    yield None
    last_dts: int | None = None
    with open_media(source, limits, name) as opened, reading_media(name):
        stream = video_stream(opened, limits, name)
        shift = round(Fraction(start_s) / stream.time_base)
        for packet in _with_dts(packet for packet in packets(opened, stream) if packet.size):
            if packet.is_corrupt:
                time_s = float((packet.pts or 0) * stream.time_base)
                raise MediaError(f"{name}: is damaged at {time_s:.2f} s; copy it again")
            is_late = packet.dts is not None and last_dts is not None and packet.dts <= last_dts
            if packet.pts is None or packet.dts is None or packet.pts < packet.dts or is_late:
                raise _CannotCopy
            last_dts = packet.dts
            packet.pts, packet.dts, packet.stream = packet.pts - shift, packet.dts - shift, track
            yield packet


def _with_dts(found: Iterator[Any]) -> Iterator[Any]:
    """Matroska does not say when the first packets are decoded: before the next one, a frame's length apart."""
    waiting = list[Any]()
    for packet in found:
        waiting.append(packet)
        if packet.dts is not None:
            break
    for left, packet in enumerate(reversed(waiting[:-1]), 1):
        if waiting[-1].dts is not None:
            packet.dts = waiting[-1].dts - left * max(1, waiting[-1].duration or 1)
    yield from waiting
    yield from found


def _encoded(
    container: Any, source: Source, start_s: float, info: VideoInfo, limits: LimitsConfig, config: EncodeConfig
) -> Iterator[Any]:
    """The same for pictures that are decoded and encoded anew; each keeps its time."""
    first = next(decode_clip(source, limits=limits), None)
    if first is None:
        raise MediaError(f"{media_name(source)}: has no frame that can be read; copy it again or leave it out")
    track = VideoTrack(container, first.rgb, info.fps or Fraction(25), info.time_base, config)
    if info.sample_aspect_ratio != 1:
        track.set_pixel_aspect(info.pixel_aspect_ratio)
    yield None
    shift = round(Fraction(start_s) / info.time_base)
    yield from track.packets(_stamped(decode_clip(source, limits=limits), shift))


def _stamped(frames: Iterable[Frame], shift: int) -> Iterator[tuple[int, np.ndarray]]:
    """Time stamp and picture of each frame; of two with the same stamp the first."""
    last: int | None = None
    for frame in frames:
        if last is None or frame.pts > last:
            yield frame.pts - shift, frame.rgb
        last = frame.pts


def _sound(container: Any, source: Source, heard: Span, limits: LimitsConfig) -> tuple[str, list[Any]]:
    """Add the audio stream; whether it was copied, and its packets, which are small."""
    name = media_name(source)
    with open_media(source, limits, name) as opened:
        context = audio_stream(opened, limits, name).codec_context
        codec, num_channels = context.codec.canonical_name, context.channels
    if codec in AUDIO_COPIED:
        return "copied", copied_audio(container, AudioCopy(source, Span(heard.start_s, FOREVER_S), limits))
    if num_channels not in LAYOUTS:
        raise MediaError(f"{name}: AAC has no place for its {num_channels} channels; leave it out, or mix them first")
    with open_audio(source, heard, limits=limits) as sound:
        return "encoded", list(aac_track(container, sound))
