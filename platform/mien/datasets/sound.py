"""The sound of a sample on disk: a run of samples per frame, or one file per clip; and back to an array.

The run of a frame begins with the frame and ends where the next one begins, so that rows that are left out, sliced or
put together keep sound and picture together.
"""

import hashlib
import io
import math
from collections.abc import Mapping
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from mien.datasets.frames import Values
from mien.errors import DatasetError, MediaError, StorageError
from mien.storage.uri import Store
from mien.video.audio import AudioClip, extract_audio, from_int16, to_int16
from mien.video.decode import Span
from mien.video.limits import LimitsConfig

if TYPE_CHECKING:
    from mien.datasets.dataset import Sample

CONTAINERS = ("flac", "wav")
"""Kinds of a clip's sound file, by FFmpeg's names, which are their endings too."""

_DTYPE = "<i2"
_FFMPEG_SCALE = 32768
"""What FFmpeg divides 16-bit samples by."""


def sound_of(sample: "Sample", store: Store, start_s: float, stop_s: float) -> AudioClip:
    """Sound of the frames with start_s <= time < stop_s; see `Sample.audio`."""
    rate_hz, num_channels = (sample.row.get(name) for name in ("audio_rate_hz", "audio_channels"))
    if rate_hz is None or num_channels is None:
        raise KeyError("audio: the dataset was made without sound; make it again with audio=true")
    times_s = np.asarray(sample["time_s"])
    begin, end = (int(row) for row in np.searchsorted(times_s, [start_s, stop_s]))
    first_s = float(times_s[begin]) if begin < end else math.nan
    if not rate_hz:
        return AudioClip(np.zeros((0, 0), np.float32), 0, first_s)
    if not sample.row.get("audio_file"):
        return AudioClip(join(sample["audio"][begin:end], num_channels), rate_hz, first_s)
    samples = read_file(store, sample.row)
    bounds = borders(times_s, rate_hz, samples.shape[1])
    return AudioClip(samples[:, bounds[begin] : bounds[max(begin, end)]], rate_hz, first_s)


def borders(times_s: Values, rate_hz: int, num_samples: int) -> np.ndarray:
    """First sample of each frame, and the number of samples: int64 [num_frames + 1]; sample 0 is at the first frame."""
    times = np.asarray(times_s, float)
    starts = np.rint((times - times[:1]) * rate_hz).astype(np.int64)
    return np.append(starts.clip(0, num_samples), num_samples)


def split(clip: AudioClip, times_s: Values) -> list[bytes]:
    """Cut sound into one run per frame: no sample is left out, none is there twice.

    Args:
        clip: Sound whose sample 0 is at the time of the first frame.
        times_s: Time of each frame, on the same line, rising.

    Returns:
        int16 little-endian samples, channels interleaved, per frame; the last one has all that is left.
    """
    packed = to_int16(clip.samples).T.astype(_DTYPE)
    bounds = pairwise(borders(times_s, clip.rate_hz, len(packed)))
    return [packed[start:stop].tobytes() for start, stop in bounds]


def join(runs: Values, num_channels: int) -> np.ndarray:
    """Samples float32 [channels, n] in -1..1 from the runs of frames that follow each other.

    Raises:
        DatasetError: They are no samples of so many channels.
    """
    data = b"".join(runs)  # type: ignore[arg-type]
    if num_channels < 1 or len(data) % (2 * num_channels):
        raise DatasetError(f"{len(data)} bytes of sound are no samples of {num_channels} channels; run `mien verify`")
    return np.ascontiguousarray(from_int16(np.frombuffer(data, _DTYPE).reshape(-1, num_channels).T))


def read_file(store: Store, row: Mapping[str, Any]) -> np.ndarray:
    """All samples of a clip's sound file, float32 [channels, n].

    Args:
        store: The dataset.
        row: A sample of the clip, as the index has it.

    Raises:
        DatasetError: The file is gone or damaged: it has not the SHA-256 that was recorded, or is no sound.
    """
    place = f"{store.uri}/{row['audio_file']}"
    try:
        data = store.read(row["audio_file"])
    except StorageError as error:
        raise DatasetError(f"{error}; its dataset names it as sound of clip {row['clip_id']}") from None
    if hashlib.sha256(data).hexdigest() != row["audio_sha256"]:
        raise DatasetError(f"{place}: is damaged (SHA-256 differs); restore the file")
    try:
        limits = LimitsConfig(containers=tuple(CONTAINERS))
        decoded = extract_audio(io.BytesIO(data), Span(0, math.inf), limits=limits).samples
    except MediaError as error:
        raise DatasetError(f"{place}: is no sound that can be read ({error})") from None
    return from_int16(np.rint(decoded * _FFMPEG_SCALE).astype(np.int16))
