"""What `mien video` does to one video: plain callables that know neither Ray nor where the result goes."""

import json
import math
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from mien.clips.sources import SourcesConfig
from mien.config import Config
from mien.errors import MediaError
from mien.pipelines.cluster import ClusterConfig
from mien.storage.local import translated
from mien.video.audio import audio_extent, fitting_rate, open_audio, write_audio
from mien.video.convert import ConvertConfig, convert
from mien.video.decode import Span
from mien.video.limits import LimitsConfig, Source, media_name
from mien.video.probe import count_frames, probe
from mien.video.stills import FramesConfig, ThumbnailConfig, write_frames, write_thumbnail

MANIFEST = "frames.json"
"""Written with the frames of a video: which file is which time."""


class VideoJob(Config):
    """What all of them can be told."""

    sources: SourcesConfig = SourcesConfig()
    """Which files of a folder are videos."""

    limits: LimitsConfig = LimitsConfig()
    """What a video may be at most; larger ones fail with that reason."""

    timeout_s: float = Field(4 * 3600, gt=0, allow_inf_nan=False)
    """What one video may take before its worker is ended."""

    memory_gb: float = Field(4.0, gt=0, allow_inf_nan=False)
    """Memory that one video may take. Held on Linux."""

    cluster: ClusterConfig = ClusterConfig()
    """Where Ray runs, if there is more than one video."""

    reads_whole: ClassVar[bool] = True
    """A video in a bucket is downloaded and checked; otherwise only the ranges are read that are needed."""
    makes_videos: ClassVar[bool] = False
    """What is made would be found by a second look at the sources."""

    def target(self, stem: str) -> str:
        """Name of the file or folder that is made of a video of this name; empty where nothing is written."""
        raise NotImplementedError

    def done(self, stem: str) -> str:
        """Name of the file whose presence says that it is made."""
        return self.target(stem)

    def make(self, source: Source, draft: Path) -> dict[str, Any]:
        """Write the draft, a file or folder that does not exist yet; returns what a person wants to know of it.

        Raises:
            MediaError: The video cannot be read, or does not have what is asked for.
            StorageError: The draft cannot be written.
        """
        raise NotImplementedError


class InfoJob(VideoJob):
    """Describe a video from its header."""

    count_frames: bool = False
    """Count the frames where the container does not say how many there are: reads the whole file."""

    reads_whole: ClassVar[bool] = False

    def target(self, stem: str) -> str:
        """Nothing is written."""
        del stem
        return ""

    def make(self, source: Source, draft: Path) -> dict[str, Any]:
        """See `VideoInfo.to_json`."""
        del draft
        info = probe(source, self.limits).to_json()
        if info["num_frames"] is None and self.count_frames:
            info["num_frames"] = count_frames(source, self.limits)
        return info


class FramesJob(VideoJob, FramesConfig):
    """Frames as image files, in a folder per video."""

    def target(self, stem: str) -> str:
        """A folder."""
        return stem

    def done(self, stem: str) -> str:
        """The list of the frames, which a bucket gets last."""
        return f"{stem}/{MANIFEST}"

    def make(self, source: Source, draft: Path) -> dict[str, Any]:
        """The frames and a list of their times."""
        with translated(draft):
            draft.mkdir()
        frames = write_frames(source, draft, self, self.limits)
        kept = {key: value for key, value in self.dump().items() if key in FramesConfig.model_fields}
        with translated(draft / MANIFEST):
            text = json.dumps({"source": media_name(source), **kept, "frames": frames}, indent=1)
            (draft / MANIFEST).write_text(text, encoding="utf-8")
        return {"num_frames": len(frames)}


class ThumbnailJob(VideoJob, ThumbnailConfig):
    """One small picture."""

    reads_whole: ClassVar[bool] = False

    def target(self, stem: str) -> str:
        """An image file."""
        return f"{stem}.{self.format}"

    def make(self, source: Source, draft: Path) -> dict[str, Any]:
        """The picture."""
        return write_thumbnail(source, draft, self, self.limits)


class AudioJob(VideoJob):
    """The sound as a file."""

    format: Literal["wav", "flac", "mp3"] = "wav"
    """wav and flac hold 16-bit samples, mp3 192 kbit/s and at most two channels."""

    start_s: float | None = Field(None, allow_inf_nan=False)
    """Where to begin; with the video by default."""

    end_s: float | None = Field(None, allow_inf_nan=False)
    """Where to end; with the video by default, and there at the latest."""

    rate_hz: int | None = Field(None, ge=8000, le=192_000)
    """Samples per second; those of the video by default."""

    channels: Literal["as_is", "mono"] = "as_is"
    """All channels, or their mean."""

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.start_s is not None and self.end_s is not None and not self.start_s < self.end_s:
            raise ValueError("end_s must come after start_s")
        return self

    def target(self, stem: str) -> str:
        """A sound file."""
        return f"{stem}.{self.format}"

    def make(self, source: Source, draft: Path) -> dict[str, Any]:
        """The sound between start and end."""
        span, mono = self._span(source), self.channels == "mono"
        with open_audio(source, span, self.rate_hz, mono, self.limits) as sound:
            rate_hz = fitting_rate(draft.suffix, sound.rate_hz)
            if self.format == "mp3" and sound.num_channels > 2:
                raise MediaError(
                    f"{media_name(source)}: mp3 does not hold its {sound.num_channels} channels; use format=flac or "
                    "channels=mono"
                )
        with open_audio(source, span, rate_hz, mono, self.limits) as sound:
            write_audio(sound, draft)
        duration_s = span.end_s - span.start_s
        return {"duration_s": duration_s, "rate_hz": rate_hz, "num_channels": sound.num_channels}

    def _span(self, source: Source) -> Span:
        """What is asked for, within what there is."""
        whole, name = audio_extent(source, self.limits), media_name(source)
        start_s = whole.start_s if self.start_s is None else self.start_s
        end_s = math.inf if self.end_s is None else self.end_s
        if not whole.start_s < end_s or not start_s < whole.end_s:
            raise MediaError(
                f"{name}: has no sound from {start_s:.2f} s to {end_s:.2f} s; choose a span within "
                f"{whole.start_s:.2f} to {whole.end_s:.2f} s"
            )
        return Span(start_s, min(end_s, whole.end_s))


class ConvertJob(VideoJob, ConvertConfig):
    """The video as an mp4."""

    makes_videos: ClassVar[bool] = True

    def target(self, stem: str) -> str:
        """An mp4."""
        return f"{stem}.mp4"

    def make(self, source: Source, draft: Path) -> dict[str, Any]:
        """The mp4."""
        return convert(source, draft, self, self.limits)._asdict()


JOBS: dict[str, type[VideoJob]] = {
    "info": InfoJob,
    "frames": FramesJob,
    "thumbnail": ThumbnailJob,
    "audio": AudioJob,
    "convert": ConvertJob,
}
"""By the names of their verbs."""
