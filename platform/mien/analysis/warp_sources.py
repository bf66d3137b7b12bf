"""Where a warp field comes from: a file, two frames of a clip, two pictures of a face, or a made one."""

from typing import Annotated, Any, Literal, NamedTuple, Self

import numpy as np
from pydantic import Field, model_validator

from mien.analysis import synthetic, warp_between
from mien.analysis.clip_choice import ClipsConfig, Shown, opened, shown
from mien.analysis.sequence import Values
from mien.analysis.warp_between import FlowConfig, LandmarksWarpConfig
from mien.config import Config
from mien.datasets.array_file import first_of, read_arrays
from mien.datasets.image_pixels import PixelsConfig
from mien.errors import ConfigError, DatasetError, MediaError
from mien.evaluation.embedded import Floats
from mien.faces.task import Rgb
from mien.storage.uri import canonical, open_store

_WARP = "warp_field"
"""What the first tools call a field."""

MethodConfig = Annotated[FlowConfig | LandmarksWarpConfig, Field(discriminator="kind")]
"""How a warp between two crops is measured."""


class Warp(NamedTuple):
    """What figures show."""

    name: str
    """Of its files."""
    title: str
    values: Values
    """Any shape that `warp_field.volume` knows."""
    facts: dict[str, Any]
    """Where it comes from, as plain values."""


class FieldFileConfig(Config):
    """A field that another program made."""

    kind: Literal["file"] = "file"
    """Kind of source."""
    file: str = ""
    """An .npy, .npz or .parquet, here or in a bucket."""
    array: str | None = None
    """Name of the array: [H, W, 2], [B, H, W, 2], [B, T, H, W, 2], or volumetric [D, H, W, 3], [B, D, H, W, 3]; by
    default warp_field, or the only one there is."""

    def read(self) -> Warp:
        """The field.

        Raises:
            ConfigError: No file is named, it is of another kind, or has no such array.
            DatasetError: It is damaged, or holds objects that only code could read.
            StorageError: It cannot be read.
        """
        if not self.file:
            raise ConfigError("source.file: is required; name an .npy, .npz or .parquet")
        ((name, values),) = read_arrays(self.file, lambda there: [self._name(there)]).items()
        return Warp("warp_field_frame0", "Warp Field", values, {"file": self.file, "array": name})

    def _name(self, there: Any) -> str:
        wanted = [self.array] if self.array else [_WARP, *(there if len(there) == 1 else [])]
        return first_of(wanted, there, self.file, "source.array")


class FramesConfig(Config):
    """Two frames of a clip of a dataset."""

    kind: Literal["frames"] = "frames"
    """Kind of source."""
    dataset: str = ""
    """Dataset of `mien serialize`."""
    clip: str | None = None
    """Id of the clip; by default the first one with a face."""
    from_s: float | None = Field(None, allow_inf_nan=False)
    """Time of the first frame in the source; the nearest one with a face is taken. By default the first of the clip."""
    to_s: float | None = Field(None, allow_inf_nan=False)
    """Time of the other one; by default the last of the clip."""
    by: MethodConfig = FlowConfig()
    """By the pixels, or by the landmarks of the dataset."""

    def read(self) -> Warp:
        """The field from one to the other.

        Raises:
            ConfigError: No dataset is named, the clip is not in it, or both times lead to one frame.
            DatasetError: It is none, shows no face, or lacks the landmarks.
        """
        clips = ClipsConfig(dataset=self.dataset, clips=(self.clip,) if self.clip else (), max_frames=20_000)
        dataset = opened(clips)
        one = next(shown(dataset, clips))
        rows = self._rows(one)
        method = {"method": self.by.dump()}
        facts = {"dataset": dataset.uri, **one.facts, "rows": rows, "time_s": self._times(one, rows), **method}
        start_s, end_s = facts["time_s"]
        title = f"Clip {one.label}, {start_s:.2f} s to {end_s:.2f} s"
        return Warp("warp_field", title, self._between(one, rows, dataset.uri), facts)

    def _rows(self, one: Shown) -> list[int]:
        places = [
            default if wanted is None else int(np.abs(one.time_s - wanted).argmin())
            for wanted, default in ((self.from_s, 0), (self.to_s, len(one.rows) - 1))
        ]
        if places[0] == places[1]:
            raise ConfigError(
                f"source.from_s, source.to_s: lead to one frame of clip {one.clip_id}, at "
                f"{one.time_s[places[0]]:.2f} s; its faces are between {one.time_s[0]:.2f} s and {one.time_s[-1]:.2f} s"
            )
        return [int(one.rows[place]) for place in places]

    @staticmethod
    def _times(one: Shown, rows: list[int]) -> list[float]:
        return [float(one.time_s[np.searchsorted(one.rows, row)]) for row in rows]

    def _between(self, one: Shown, rows: list[int], place: str) -> Floats:
        crops = one.sample.crops()[rows]
        if self.by.kind == "flow":
            return warp_between.by_flow(crops[0], crops[1], self.by)
        if "landmarks" not in one.sample.columns:
            raise DatasetError(f"{place}: has no landmarks; set source.by.kind=flow, or serialize it with landmarks")
        points = np.asarray(one.sample["landmarks"])[rows]
        return warp_between.by_landmarks(points[0], points[1], crops.shape[1:3], self.by)


class PicturesConfig(PixelsConfig):
    """Two picture files of a face, each cut to its middle square."""

    kind: Literal["pictures"] = "pictures"
    """Kind of source."""
    first: str = ""
    """Where the warp begins, here or in a bucket."""
    second: str = ""
    """Where it leads."""
    size_px: int = Field(256, ge=16, le=4096)
    """Both are made as wide and high; displacements are in these pixels."""
    by: MethodConfig = FlowConfig()
    """By the pixels, or by the landmarks that MediaPipe's face landmarker finds."""

    @model_validator(mode="after")
    def _names_both(self) -> Self:
        if not (self.first and self.second):
            raise ValueError("source.first and source.second: are required; name two pictures of a face")
        return self

    def read(self) -> Warp:
        """The field from one to the other.

        Raises:
            DatasetError: One is no picture that can be read, or shows no face.
            AssetError: The model file of the landmarker cannot be had.
            StorageError: One cannot be read.
        """
        places = self.first, self.second
        first, second = (self._pixels(place) for place in places)
        facts = {"first": self.first, "second": self.second, "size_px": self.size_px, "method": self.by.dump()}
        if self.by.kind == "flow":
            return Warp("warp_field", "Warp Field", warp_between.by_flow(first, second, self.by), facts)
        here, there = _landmarks_of([first, second], places)
        size = self.size_px, self.size_px
        return Warp("warp_field", "Warp Field", warp_between.by_landmarks(here, there, size, self.by), facts)

    def _pixels(self, place: str) -> Rgb:
        folder, _, name = canonical(place).rpartition("/")
        try:
            return self.prepare(open_store(folder or "/").read(name), self.size_px)
        except MediaError as error:
            raise DatasetError(f"{place}: {error}; give another picture") from None


class SyntheticWarpConfig(Config):
    """A field whose truth is known: away from the middle."""

    kind: Literal["synthetic"] = "synthetic"
    """Kind of source."""
    height_px: int = Field(256, ge=2, le=4096)
    """H."""
    width_px: int = Field(256, ge=2, le=4096)
    """W."""

    def read(self) -> Warp:
        """The field."""
        values = synthetic.warp(self.height_px, self.width_px)
        return Warp("synthetic_warp_field", "Synthetic Warp Field", values, {"synthetic": self.dump()})


WarpSourceConfig = Annotated[
    FieldFileConfig | FramesConfig | PicturesConfig | SyntheticWarpConfig, Field(discriminator="kind")
]
"""Every kind of source."""


def _landmarks_of(pictures: list[Rgb], places: tuple[str, ...]) -> list[np.ndarray]:
    from mien import assets
    from mien.faces.landmarks import Landmarker, LandmarksConfig  # loads MediaPipe

    with Landmarker(assets.read("face_landmarker"), LandmarksConfig()) as landmarker:
        meshes = [landmarker.detect(picture) for picture in pictures]
    for place, mesh in zip(places, meshes, strict=True):
        if mesh is None:
            raise DatasetError(f"{place}: shows no face that the landmarker finds; give another, or set by.kind=flow")
    return [mesh.landmarks for mesh in meshes if mesh is not None]
