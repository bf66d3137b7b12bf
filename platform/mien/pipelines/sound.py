"""The sound of a clip beside its pictures, from the time of the first frame to the end of the span."""

from typing import Any, BinaryIO, Literal, NamedTuple

import numpy as np
from pydantic import Field

from mien.config import Config
from mien.datasets.sound import split
from mien.errors import MediaError, NoAudioTrack
from mien.video.audio import LAYOUTS, extract_audio
from mien.video.decode import Span
from mien.video.limits import LimitsConfig, media_name
from mien.video.probe import VideoInfo

SOUND_FILE = "sound_file"
"""Key of the clip's JSON that is for the sink alone: the ending of the file that takes the sound out of the rows."""


class AudioConfig(Config):
    """What is kept of the sound of a clip, as 16-bit samples."""

    channels: Literal["as_is", "mono"] = "as_is"
    """All channels, or their mean."""

    rate_hz: int | None = Field(None, ge=1000, le=384_000)
    """Samples per second; those of the video by default."""

    store: Literal["dataset", "files"] = "dataset"
    """A column `audio` in the shards, or one file per clip beside them; `Sample.audio` reads both."""

    file_format: Literal["flac", "wav"] = "flac"
    """Of the files; both hold the samples exactly."""

    required: bool = False
    """A clip of a video without sound fails; otherwise it is made, and the index says that it has none."""

    @property
    def suffix(self) -> str:
        """Ending of a clip's sound file; empty where the shard has the sound."""
        return f".{self.file_format}" if self.store == "files" else ""


class ClipSound(NamedTuple):
    """The sound of one clip."""

    runs: list[bytes]
    """One per frame; see `mien.datasets.sound.split`."""
    rate_hz: int
    """0 where the video has no sound."""
    num_channels: int
    suffix: str
    """Ending of the file that it goes into; empty for the shard."""

    @property
    def facts(self) -> dict[str, Any]:
        """Columns of the index, and what the sink is told."""
        return {"audio_rate_hz": self.rate_hz, "audio_channels": self.num_channels, SOUND_FILE: self.suffix}


def sound_of(
    source: str | BinaryIO, times_s: np.ndarray, end_s: float, config: AudioConfig, limits: LimitsConfig
) -> ClipSound:
    """The sound from the first of some frames to an end, cut at the frames.

    Raises:
        NoAudioTrack: The video has none, and it is required.
        MediaError: Its sound is damaged in the span, or cannot be stored as it is.
    """
    span = Span(float(times_s[0]), end_s)
    try:
        clip = extract_audio(source, span, config.rate_hz, config.channels == "mono", limits)
    except NoAudioTrack:
        if config.required:
            raise
        return ClipSound([b""] * len(times_s), 0, 0, config.suffix)
    num_channels = clip.samples.shape[0]
    if config.suffix and num_channels not in LAYOUTS:
        raise MediaError(
            f"{media_name(source)}: {num_channels} channels do not fit into a sound file; use audio.channels=mono, or "
            "audio.store=dataset"
        )
    return ClipSound(split(clip, times_s), clip.rate_hz, num_channels, config.suffix)


def end_of(span: Span, info: VideoInfo, times_s: np.ndarray) -> float:
    """Where the last frame of a clip ends: with the span, or with the pictures if they end before.

    Where the header does not know how long they are, the last frame is taken for as long as the mean of the others.
    """
    last_s = float(times_s[-1])
    stated_s = info.start_s + info.duration_s
    if stated_s <= last_s:
        mean_s = (last_s - float(times_s[0])) / (len(times_s) - 1) if len(times_s) > 1 else 1 / float(info.fps or 25)
        stated_s = last_s + mean_s
    return min(span.end_s, stated_s)
