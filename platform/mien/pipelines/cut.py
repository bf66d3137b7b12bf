"""One clip from decode to crops: a plain callable that knows nothing of Ray."""

import contextlib
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, BinaryIO, Literal, NamedTuple

import numpy as np
import pyarrow as pa
from pydantic import Field, ValidationInfo, field_validator

from mien import schema
from mien.clips.clip import why_unfit
from mien.config import Config
from mien.datasets.frames import Values, to_table
from mien.errors import ClipError, FaceError, LimitExceeded, MediaError, StorageError, Unavailable
from mien.faces.crop import CropConfig, crop, crop_box, encode_jpeg, thumbnail
from mien.faces.detect import Detector
from mien.faces.follow import FacesConfig, Followed, TrackSummary, choose, follow
from mien.faces.landmarks import Landmarker, LandmarksConfig, Mesh
from mien.faces.track import TrackedFace
from mien.pipelines.sound import AudioConfig, ClipSound, end_of, sound_of
from mien.storage.source import Recent, Way, opened
from mien.storage.tar import split_member
from mien.storage.uri import Entry, is_bucket
from mien.video.decode import Frame, Span, decode_clip
from mien.video.limits import LimitsConfig, media_name
from mien.video.probe import VideoInfo, probe

_WHOLE_FROM_SHARE = 0.5
_MAX_COPY_BYTES = 1 << 30
"""A machine has one worker per core, and room for so many copies must be there."""
_THUMB_SIDE_PX = 192
_THUMB_QUALITY = 80


class CutConfig(Config):
    """How a clip becomes crops."""

    fetch: Literal["auto", "ranges", "checked", "whole"] = "auto"
    """How a video in a bucket is read: the ranges that a clip needs, `checked` by reading each until two replies agree,
    since the service has a sum for whole objects alone; the same `ranges` read once, for those who trust the line; or
    the `whole` of it first, by its sum. `auto` takes the whole for clips of half the video or more, and checked ranges
    otherwise. A local file is read in place."""

    fps: float | None = Field(None, gt=0, le=1000, allow_inf_nan=False)
    """Frames per second to take; every frame by default."""

    faces: FacesConfig = FacesConfig()
    """How faces are found and followed, and which are kept."""

    crop: CropConfig = CropConfig()
    """What is cut out of the frame."""

    landmarks: LandmarksConfig | None = None
    """`true`, or settings: each crop gets 478 landmarks, 52 blendshapes and the head pose (model face_landmarker)."""

    audio: AudioConfig | None = None
    """`true`, or settings: the sound of each clip, aligned with its first frame."""

    num_thumbs: int = Field(8, ge=0, le=64)
    """Small pictures of the whole frame kept per clip, for the contact sheet; about twice as many at most."""

    @field_validator("landmarks", "audio", mode="before")
    @classmethod
    def _switch(cls, value: Any, about: ValidationInfo) -> Any:
        """`true` is the default settings, `false` is none."""
        if not isinstance(value, bool):
            return value
        return (LandmarksConfig() if about.field_name == "landmarks" else AudioConfig()) if value else None


class CutClip(NamedTuple):
    """A clip that was cut."""

    info: VideoInfo
    frames: pa.Table
    """Rows of `mien.schema.FRAMES`, one run per face track."""


class Thumbs:
    """Pictures spread evenly over a stream of unknown length: every k-th frame, k doubling when there are too many."""

    def __init__(self, limit: int) -> None:
        """Keep between `limit` and twice as many."""
        self._limit, self._every = limit, 1
        self._kept = dict[int, bytes]()

    def offer(self, row: int, frame: Frame) -> None:
        """Keep the frame if its turn has come."""
        if not self._limit or row % self._every:
            return
        self._kept[row] = thumbnail(frame.rgb, _THUMB_SIDE_PX, _THUMB_QUALITY)
        if len(self._kept) >= 2 * self._limit:
            self._every *= 2
            self._kept = {kept: jpeg for kept, jpeg in self._kept.items() if kept % self._every == 0}

    def column(self, num_rows: int) -> list[bytes]:
        """JPEG or nothing, per row."""
        return [self._kept.get(row, b"") for row in range(num_rows)]

    def middle(self) -> bytes:
        """One picture that stands for all; nothing if there is none."""
        rows = sorted(self._kept)
        return self._kept[rows[len(rows) // 2]] if rows else b""


class TrackRows:
    """What is known of one face track, by row of the clip."""

    def __init__(self) -> None:
        """No rows yet."""
        self.rows = list[int]()
        self.faces = list[TrackedFace]()
        self.squares = list[tuple[float, float, float, float]]()
        self.padded = list[float]()
        self.crops = list[Any]()
        self.meshes = list[Mesh | None]()


class Cutter:
    """Decodes a clip, follows its faces, crops them and finds their landmarks. Made once per process."""

    def __init__(
        self,
        config: CutConfig,
        limits: LimitsConfig,
        detector: Detector,
        landmarker: Landmarker | None,
        timeout_s: float = math.inf,
    ) -> None:
        """Take models that are loaded already, and how long one clip may take."""
        self._config, self._limits, self._timeout_s = config, limits, timeout_s
        self._detector, self._landmarker = detector, landmarker
        self._recent = Recent()
        self.thumbs = Thumbs(config.num_thumbs)
        """Of the clip that is being cut, or was cut last: a clip that fails has pictures, too."""
        self.sound: ClipSound | None = None
        """Of the clip that was cut last, if sound is asked for."""

    def __call__(self, clip: Mapping[str, Any]) -> CutClip:
        """Cut one row of the plan.

        Raises:
            ClipError: The plan says that no clip can be made of the source.
            MediaError: The source cannot be read, has changed since it was planned, or has no frame in the span.
            LimitExceeded: The clip takes too long.
            FaceError: The faces do not meet the policy.
            Unavailable: The bucket did not answer.
        """
        self.thumbs, self.sound = Thumbs(self._config.num_thumbs), None
        if why := why_unfit(clip):
            raise ClipError(f"{clip['source_uri']}: {why}")
        uri, span = str(clip["source_uri"]), Span(clip["start_s"], clip["end_s"])
        planned = Entry(uri, clip["source_bytes"], clip["source_generation"])
        try:
            with contextlib.ExitStack() as stack:
                way = self._way(planned, span)
                if way == "checked":
                    self._read_header(planned, clip.get("header_crc32c") or "")
                source = stack.enter_context(opened(uri, planned, way, self._recent))
                info = probe(source, self._limits, with_sound=False)
                if self._config.fetch == "auto" and way != "whole" and is_cheaper_whole(planned, span, info):
                    source = stack.enter_context(opened(uri, planned, "whole"))
                cut = self._cut(source, span)
                self.sound = self._sound(source, span, info, cut)
                return CutClip(info, cut.table(clip["clip_id"], self.sound))
        except Unavailable:
            raise  # says nothing of this clip
        except StorageError as error:
            raise MediaError(str(error)) from None
        except FaceError as error:
            raise FaceError(f"{uri}: {error}; leave it out or loosen faces in the config") from None

    def _way(self, planned: Entry, span: Span) -> Way:
        if self._config.fetch != "auto":
            return self._config.fetch
        return "whole" if is_cheaper_whole(planned, span) else "checked"

    def _read_header(self, planned: Entry, crc32c: str) -> None:
        """Read what the plan has read, but once: its sum tells whether it came as it did then.

        What is damaged on the way, or was never read for the plan, is read again until two replies agree.
        """
        if not crc32c or self._recent.has(planned.name, planned.generation, "checked"):
            return
        once = opened(planned.name, planned, "ranges", self._recent)
        with contextlib.suppress(ClipError, MemoryError), once as source:
            probe(source, self._limits, with_sound=False)
        self._recent.check(crc32c)

    def _cut(self, source: str | BinaryIO, span: Span) -> "_Cut":
        cut = _Cut(self._config, self._landmarker, self.thumbs)
        frames = decode_clip(source, span, fps=self._config.fps, limits=self._limits)
        frames = in_time(frames, media_name(source), self._timeout_s)
        for followed in follow(frames, self._detector, self._config.faces):
            cut.add(followed)
        if not cut.pts:
            raise MediaError(f"{media_name(source)}: has no frame between {span.start_s:g} s and {span.end_s:g} s")
        return cut

    def _sound(self, source: str | BinaryIO, span: Span, info: VideoInfo, cut: "_Cut") -> ClipSound | None:
        """After the pictures: their first time stamp is where it begins."""
        if self._config.audio is None:
            return None
        times_s = np.array(cut.time_s)
        return sound_of(source, times_s, end_of(span, info, times_s), self._config.audio, self._limits)


def is_cheaper_whole(planned: Entry, span: Span, info: VideoInfo | None = None) -> bool:
    """Whether all of an object is fewer bytes than the ranges that a clip needs, each read twice; known once probed."""
    if not is_bucket(planned.name) or planned.size_bytes > _MAX_COPY_BYTES or split_member(planned.name):
        return False
    if info is None:
        return span.start_s <= 0 and math.isinf(span.end_s)
    end_s = min(span.end_s, info.start_s + info.duration_s)
    return end_s - max(span.start_s, info.start_s) >= _WHOLE_FROM_SHARE * info.duration_s > 0


def in_time(
    frames: Iterable[Frame], name: str, timeout_s: float, clock: Callable[[], float] = time.monotonic
) -> Iterator[Frame]:
    """The frames, as long as not more than the given time has passed since the first was asked for.

    Raises:
        LimitExceeded: It has; the message names the video, where it stood, and the key.
    """
    started = clock()
    for frame in frames:
        if clock() - started > timeout_s:
            raise LimitExceeded(
                f"{name}: took over workers.clip_timeout_s={timeout_s:g} and had come to {frame.time_s:.1f} s; cut "
                "shorter clips, or raise it and use --retry-failed"
            )
        yield frame


class _Cut:
    """Columns of one clip, filled frame by frame."""

    def __init__(self, config: CutConfig, landmarker: Landmarker | None, thumbs: Thumbs) -> None:
        self._config, self._landmarker, self._thumbs = config, landmarker, thumbs
        self.pts = list[int]()
        self.time_s = list[float]()
        self._num_faces = list[int]()
        self._tracks = dict[int, TrackRows]()
        self._summary = TrackSummary()

    def add(self, followed: Followed) -> None:
        """Append one frame and the crops of its faces."""
        frame, row = followed.frame, len(self.pts)
        self.pts.append(frame.pts)
        self.time_s.append(frame.time_s)
        self._num_faces.append(followed.num_faces)
        self._thumbs.offer(row, frame)
        self._summary.add(followed)
        for face in followed.faces:
            self._add_face(self._tracks.setdefault(face.track, TrackRows()), row, face, frame)

    def _add_face(self, track: TrackRows, row: int, face: TrackedFace, frame: Frame) -> None:
        config = self._config.crop
        square = crop_box(face.smooth_box, config.padding_factor)
        pixels, padded = crop(frame.rgb, square, config.size_px)
        track.rows.append(row)
        track.faces.append(face)
        track.squares.append(square)
        track.padded.append(padded)
        track.crops.append(encode_jpeg(pixels, config.jpeg_quality) if config.encoding == "jpeg" else pixels)
        track.meshes.append(self._landmarker.detect(pixels) if self._landmarker else None)

    def table(self, clip_id: str, sound: ClipSound | None = None) -> pa.Table:
        """Frames of the tracks that the policy keeps, one after the other; each with the sound of the clip."""
        kept = choose(self._config.faces, self._summary)
        tables = [self._track_table(clip_id, number, self._tracks[track], sound) for number, track in enumerate(kept)]
        return pa.concat_tables(tables)

    def _track_table(self, clip_id: str, number: int, track: TrackRows, sound: ClipSound | None) -> pa.Table:
        """A row for every frame of the clip, also for those in which this track has no face."""
        length, rows = len(self.pts), np.array(track.rows)
        columns: dict[str, Values] = {
            "clip_id": [clip_id] * length,
            "track": np.full(length, number, np.int16),
            "pts": np.array(self.pts),
            "time_s": np.array(self.time_s),
            "num_faces": np.array(self._num_faces),
            "thumb": self._thumbs.column(length),
            "face": _spread(length, rows, np.array([face.status for face in track.faces]), schema.FACE_NONE),
            "score": _spread(length, rows, np.array([face.score for face in track.faces], float)),
            "box": _spread(length, rows, np.array([face.box or (math.nan,) * 4 for face in track.faces], float)),
            "crop_box": _spread(length, rows, np.array(track.squares, float)),
            "padded": _spread(length, rows, np.array(track.padded, float)),
            "crop": self._crop_column(length, rows, track.crops),
        }
        if self._landmarker:
            columns |= _mesh_columns(length, rows, track.meshes)
        if sound is not None:
            columns["audio"] = sound.runs
        return to_table(columns)

    def _crop_column(self, length: int, rows: np.ndarray, crops: list[Any]) -> Values:
        if self._config.crop.encoding == "raw":
            return _spread(length, rows, np.stack(crops), 0)
        column = [b""] * length
        for row, jpeg in zip(rows, crops, strict=True):
            column[row] = jpeg
        return column


def _spread(length: int, rows: np.ndarray, values: np.ndarray, empty: float = math.nan) -> np.ndarray:
    """Values at their rows, `empty` elsewhere: [len(rows), ...] -> [length, ...]."""
    column = np.full((length, *values.shape[1:]), empty, values.dtype)
    column[rows] = values
    return column


def _mesh_columns(length: int, rows: np.ndarray, meshes: list[Mesh | None]) -> dict[str, Values]:
    found = [(row, mesh) for row, mesh in zip(rows, meshes, strict=True) if mesh is not None]
    columns: dict[str, Values] = {}
    shapes = {"landmarks": (schema.NUM_LANDMARKS, 3), "blendshapes": (schema.NUM_BLENDSHAPES,), "head_pose": (4, 4)}
    for name, shape in shapes.items():
        column = np.full((length, *shape), np.nan, np.float32)
        for row, mesh in found:
            column[row] = getattr(mesh, name)
        columns[name] = column
    return columns
