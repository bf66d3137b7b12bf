"""Open strangers' media: what is allowed, how large it may be, and every failure as one line that names the file.

Nothing is decoded before the container and the codec are found on the lists below and the claimed size within the
limits: the file is opened once with every decoder barred, looked at, and only then opened for use. No protocol but
`file` is reachable, so neither a name nor what stands inside a file can cause a request or open a neighbour.
"""

import os
import stat
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import av
from av.stream import Disposition
from pydantic import Field

from mien.config import Config
from mien.errors import LimitExceeded, MediaError
from mien.log import printable
from mien.video import header
from mien.video.header import Readable

Source = str | os.PathLike[str] | BinaryIO
"""A local path, or a seekable binary file."""

CONTAINERS = ("mov", "mp4", "m4a", "3gp", "3g2", "mj2", "matroska", "webm", "avi", "mpegts")
VIDEO_CODECS = ("h264", "hevc", "vp8", "vp9", "libdav1d", "av1", "mpeg1video", "mpeg2video", "mpeg4", "mjpeg", "prores")
AUDIO_CODECS = (
    *("aac", "mp3float", "mp3", "mp2float", "ac3", "eac3", "opus", "vorbis", "flac", "alac", "amrnb", "amrwb"),
    *("pcm_s16le", "pcm_s16be", "pcm_s24le", "pcm_s24be", "pcm_s32le", "pcm_f32le", "pcm_u8", "pcm_mulaw", "pcm_alaw"),
)

BUFFER_BYTES = 8 << 10
"""What FFmpeg reads at once of a file object: it may be one of a bucket, where what is asked for is fetched."""
AV1 = ("libdav1d", "av1")
NOT_PICTURES = Disposition.attached_pic | Disposition.still_image | Disposition.timed_thumbnails
BORDER_PX = 128
"""At least what a decoder adds to a side for its blocks and motion vectors."""
TOO_LARGE = "asks for more memory than it may have; leave it out, scale it down or allow more"
SEALED = {"codec_whitelist": "none", "analyzeduration": "0", "probesize": "5000"}
"""FFmpeg options for reading the header alone, with no decoder."""


class LimitsConfig(Config):
    """What a media file may be; the defaults fit an hour-long 8K film and stop a decompression bomb."""

    max_bytes: int = Field(64 << 30, gt=0)
    """Size of the file."""
    max_pixels: int = Field(8192 * 4320, gt=0)
    """Width times height of a frame: the largest cinema format (DCI 8K), 106 MB as RGB."""
    min_side_px: int = Field(16, ge=1)
    """Width and height of a frame, at least: one block of the codec; no face is smaller."""
    max_duration_s: float = Field(24 * 3600, gt=0)
    """Length that the header may claim, and of one audio clip."""
    max_frames: int = Field(1_000_000, gt=0)
    """Frames of one clip."""
    max_decoded_frames: int = Field(6_000_000, gt=0)
    """Frames that are decoded of a file to make a clip, those that it does not take included."""
    max_fps: float = Field(1000, gt=0)
    """Frames per second that the header may claim."""
    max_streams: int = Field(32, gt=0)
    """Streams of any kind; a phone writes about five."""
    containers: tuple[str, ...] = CONTAINERS
    """Demuxers that may read the file, by FFmpeg's names."""
    codecs: tuple[str, ...] = VIDEO_CODECS + AUDIO_CODECS
    """Decoders that may run, by FFmpeg's names."""
    num_threads: int = Field(1, ge=1, le=64)
    """Threads of one decoder; a pipeline runs one decoder per core."""


def missing_decoders(limits: LimitsConfig) -> list[str]:
    """Codecs on the list that this build of FFmpeg cannot decode; AV1 has two names, and one of them is enough."""
    there = {codec.name for codec in map(_decoder, limits.codecs) if codec is not None}
    missing = [name for name in limits.codecs if name not in there]
    return [name for name in missing if name not in AV1 or not there & set(AV1)]


def _decoder(name: str) -> Any:
    try:
        return av.Codec(name, "r")
    except av.codec.codec.UnknownCodecError:
        return None


@contextmanager
def open_media(
    source: Source, limits: LimitsConfig, name: str | None = None, *, with_sound: bool = True
) -> Iterator[Any]:
    """Open a media file within limits, as a PyAV input container; closed at the end of the block.

    An error of PyAV or of the operating system inside the block is taken for one of this file.

    Args:
        source: Local path, never a URL, or seekable binary file, which is left open.
        limits: What is allowed.
        name: What error messages call the file; its path by default.
        with_sound: Whether other streams than pictures are wanted; of a file object they need not be there otherwise.

    Raises:
        MediaError: The file is missing, unreadable, empty, not an allowed container, or damaged.
        LimitExceeded: It is larger than the limits allow.
    """
    name = name or media_name(source)
    with ExitStack() as stack:
        try:
            container = stack.enter_context(_vetted(source, limits, name, with_sound))
        except MemoryError as error:
            raise LimitExceeded(f"{name}: {TOO_LARGE}") from error
        except (av.FFmpegError, OSError) as error:
            raise MediaError(f"{name}: {_explain(error, limits)}") from error
        with reading_media(name):
            yield container


@contextmanager
def reading_media(name: str) -> Iterator[None]:
    """An error of PyAV or of the operating system inside the block is taken for one of this file.

    Raises:
        MediaError: The file is damaged or unreadable.
        LimitExceeded: It asks for more memory than there is.
    """
    try:
        yield
    except MemoryError as error:
        raise LimitExceeded(f"{name}: {TOO_LARGE}") from error
    except (av.FFmpegError, OSError) as error:
        raise MediaError(f"{name}: cannot be read ({_reason(error)}); copy it again or leave it out") from error


def video_stream(container: Any, limits: LimitsConfig, name: str) -> Any:
    """The first stream of moving pictures, cover art passed over, with its decoder limited and not yet started.

    Raises:
        MediaError: There is none, or its codec is not allowed.
        LimitExceeded: Its frames are larger, smaller or more in a second than the limits allow.
    """
    stream = next((s for s in container.streams.video if not s.disposition & NOT_PICTURES), None)
    if stream is None:
        kinds = ", ".join(sorted({s.type for s in container.streams})) or "nothing"
        raise MediaError(f"{name}: has no video stream, only {kinds}; leave it out or give the video file")
    context = allowed_decoder(stream, limits, name)
    _check_frames(stream, limits, name)
    context.options = {"max_pixels": _decoder_pixels(container, limits)}
    return stream


def allowed_decoder(stream: Any, limits: LimitsConfig, name: str) -> Any:
    """The decoder of a stream, with its threads set.

    Raises:
        MediaError: There is none, or it is not on the list.
    """
    context = stream.codec_context
    if context is None or context.name not in limits.codecs:
        codec = "unknown" if context is None else context.name
        fix = "convert it to H.264 with AAC, or add the codec to limits.codecs"
        raise MediaError(f"{name}: its {stream.type} codec ({codec}) is not allowed; {fix}")
    context.thread_count = limits.num_threads
    context.thread_type = "NONE" if limits.num_threads == 1 else "AUTO"
    return context


def check_claims(container: Any, limits: LimitsConfig, name: str) -> None:
    """Hold what the header claims against the limits.

    Raises:
        LimitExceeded: Too many streams, too long, or too many pixels.
    """
    num_streams = len(container.streams)
    if num_streams > limits.max_streams:
        raise LimitExceeded(
            f"{name}: {num_streams} streams are more than max_streams={limits.max_streams}; leave it out"
        )
    durations_s = [float(s.duration * s.time_base) for s in container.streams if s.duration and s.time_base]
    duration_s = max([(container.duration or 0) / av.time_base, *durations_s])
    if duration_s > limits.max_duration_s:
        raise LimitExceeded(
            f"{name}: {duration_s:.0f} s is more than max_duration_s={limits.max_duration_s:.0f}; cut the file"
        )
    for stream in container.streams.video:
        if stream.codec_context is not None:
            _check_pixels(stream.codec_context.width, stream.codec_context.height, limits, name)


def media_name(source: Source) -> str:
    """What messages call a file: its path, or the name of the file object, on one line."""
    name = os.fspath(source) if isinstance(source, str | os.PathLike) else getattr(source, "name", None)
    return printable(str(name or "a file object"))


@contextmanager
def reading(source: Source) -> Iterator[BinaryIO]:
    """The bytes of a source; the position of a file that was given is kept."""
    if isinstance(source, str | os.PathLike):
        with Path(source).open("rb") as file:
            yield file
        return
    position = source.tell()
    yield source
    source.seek(position)


@contextmanager
def _vetted(source: Source, limits: LimitsConfig, name: str, with_sound: bool) -> Iterator[Any]:
    if isinstance(source, str | os.PathLike) and stat.S_ISFIFO(Path(source).stat().st_mode):
        raise MediaError(f"{name}: is a pipe; write it to a file first")
    with reading(source) as file:
        shown = Shown(file, with_sound or isinstance(source, str | os.PathLike))
        _check_file(shown, limits, name)
    seen = source if isinstance(source, str | os.PathLike) else shown
    with _opened(seen, SEALED, limits) as sealed:
        check_claims(sealed, limits, name)
        allowed = {"codec_whitelist": ",".join(limits.codecs), "max_pixels": _decoder_pixels(sealed, limits)}
    with _opened(seen, allowed, limits) as container:
        check_claims(container, limits, name)
        yield container


@contextmanager
def _opened(source: "str | os.PathLike[str] | Shown", options: dict[str, str], limits: LimitsConfig) -> Iterator[Any]:
    options = options | {"protocol_whitelist": "file", "format_whitelist": ",".join(limits.containers)}
    file: Any = source
    buffer_size = BUFFER_BYTES
    if isinstance(source, Shown):
        source.seek(0)
        file = _Unnamed(source)
    else:
        file, buffer_size = "file:" + os.path.abspath(source), 1 << 18  # noqa: PTH100  keeps bytes that are not UTF-8
    with av.open(file, "r", options=options, metadata_errors="replace", buffer_size=buffer_size) as container:
        yield container


class Shown:
    """A file without the tracks that nobody wants: their boxes are called `free`, so that none of them is fetched."""

    def __init__(self, file: BinaryIO, with_sound: bool) -> None:
        self.seek, self.tell, self._file = file.seek, file.tell, file
        self._hidden = header.expect_index(file, with_sound=with_sound)

    def read(self, size: int = -1) -> bytes:
        """The next bytes."""
        return self._patched(self._file.read, size)

    def read_some(self, size: int = -1) -> bytes:
        """The same, or fewer if the file would have to fetch them (`storage.ranges`)."""
        return self._patched(getattr(self._file, "read_some", self._file.read), size)

    def _patched(self, read: Callable[[int], bytes], size: int) -> bytes:
        start, data = self._file.tell(), read(size)
        for place in self._hidden:
            if start - 4 < place < start + len(data):
                data = _patched(data, place - start, b"free")
        return data


class _Unnamed:
    """What FFmpeg reads by the buffer, and so beyond what it needs: no more than is there already, or one request.

    It has no name: of what is called like an address FFmpeg reads many frames at once, for one of them.
    """

    def __init__(self, file: Shown) -> None:
        self.read, self.seek, self.tell = file.read_some, file.seek, file.tell


def _patched(data: bytes, start: int, patch: bytes) -> bytes:
    """The data with what of the patch lies in it, beginning at `start`, which may be before its own."""
    patched = bytearray(data)
    for place, byte in enumerate(patch, start):
        if 0 <= place < len(data):
            patched[place] = byte
    return bytes(patched)


def _check_file(file: Readable, limits: LimitsConfig, name: str) -> None:
    """Size and claims that can be read without FFmpeg."""
    size = header.num_bytes(file)
    if size == 0:
        raise MediaError(f"{name}: is empty; copy it again or leave it out")
    if size > limits.max_bytes:
        raise LimitExceeded(f"{name}: {size} bytes are more than max_bytes={limits.max_bytes}; leave it out")
    num_samples = header.max_samples(file)
    if num_samples > size:
        raise LimitExceeded(f"{name}: claims {num_samples} samples in {size} bytes; copy it again or leave it out")
    for track in header.tracks(file):
        _check_pixels(track.width_px, track.height_px, limits, name)


def _check_frames(stream: Any, limits: LimitsConfig, name: str) -> None:
    """Size and rate that the header states, of the one stream that will be decoded."""
    width, height = stream.codec_context.width, stream.codec_context.height
    if min(width, height) < limits.min_side_px and width and height:
        raise LimitExceeded(f"{name}: {width}x{height} px is below min_side_px={limits.min_side_px}; leave it out")
    fps = float(stream.average_rate or 0)
    if fps > limits.max_fps and stream.frames != 1:  # a single frame may last as short as its header likes
        raise LimitExceeded(f"{name}: {fps:.0f} frames/s are more than max_fps={limits.max_fps:g}; leave it out")


def _check_pixels(width: int, height: int, limits: LimitsConfig, name: str) -> None:
    if width * height > limits.max_pixels:
        raise LimitExceeded(
            f"{name}: {width}x{height} px is more than max_pixels={limits.max_pixels}; leave it out or scale it down"
        )


def _decoder_pixels(container: Any, limits: LimitsConfig) -> str:
    """FFmpeg's own limit on what the bitstream may ask for, which counts the border that a decoder adds."""
    contexts = [stream.codec_context for stream in container.streams.video if stream.codec_context is not None]
    return str(max([limits.max_pixels, *((c.width + BORDER_PX) * (c.height + BORDER_PX) for c in contexts)]))


def _explain(error: Exception, limits: LimitsConfig) -> str:
    """What was wrong and what to do, from an error of PyAV or of the operating system."""
    if isinstance(error, FileNotFoundError):
        return "there is no such file; check the path"
    if isinstance(error, PermissionError):
        return "may not be read; check its access rights"
    if isinstance(error, IsADirectoryError):
        return "is a folder; give a file"
    if isinstance(error, av.error.ArgumentError):
        allowed = ", ".join(limits.containers)
        return f"is not a video in an allowed container ({allowed}); convert it to mp4 or leave it out"
    if isinstance(error, av.error.InvalidDataError):
        return "is not a video, or its header is missing or damaged; copy it again or leave it out"
    return f"cannot be read ({_reason(error)}); copy it again or leave it out"


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
