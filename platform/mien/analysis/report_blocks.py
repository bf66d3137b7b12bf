"""What a report page is made of: sections of blocks, as plain data. `report_page` makes HTML of it."""

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from mien.evaluation.bootstrap import Estimate, NotMeasurable
from mien.evaluation.embedded import Floats

_PNG = b"\x89PNG\r\n\x1a\n"
_HEADER = struct.Struct(">8s4x4sII")
"""Signature, length and name of the first chunk, width, height."""

Cell = str | int | float | Estimate | NotMeasurable | None
"""Of a table; None for what there is not."""


@dataclass(frozen=True)
class Note:
    """A paragraph."""

    kind: ClassVar = "note"
    text: str
    is_warning: bool = False


@dataclass(frozen=True)
class Missing:
    """Stands where something would be, and says why it is not."""

    kind: ClassVar = "missing"
    title: str
    reason: str


@dataclass(frozen=True)
class Facts:
    """Short texts by name."""

    kind: ClassVar = "facts"
    values: Mapping[str, Cell]


@dataclass(frozen=True)
class Text:
    """A long text as it is, such as a config, folded away."""

    kind: ClassVar = "text"
    title: str
    text: str


@dataclass(frozen=True)
class Table:
    """Rows of cells.

    Raises:
        ValueError: A row has not one cell for each column.
    """

    kind: ClassVar = "table"
    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    has_marks: bool = False
    """All intervals of the table are of one scale, on which each is drawn."""
    raw: str = ""
    """Name of the file with all of it, beside the page."""

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ValueError(f"{self.title}: a row has {len(row)} cells for {len(self.columns)} columns")


@dataclass(frozen=True)
class Figure:
    """A picture, what it shows in words, and the numbers behind it.

    Raises:
        ValueError: The words are missing, or it is no PNG.
    """

    kind: ClassVar = "figure"
    title: str
    png: bytes
    alt: str
    """What a person who cannot see it is told."""
    numbers: tuple[Table, ...] = ()
    raw: str = ""
    """Name of the file with all of them, beside the page."""
    shows_faces: bool = False

    def __post_init__(self) -> None:
        if not self.alt.strip():
            raise ValueError(f"{self.title}: says nothing to who cannot see it; give alt")
        if len(self.png) < _HEADER.size or _HEADER.unpack_from(self.png)[:2] != (_PNG, b"IHDR"):
            raise ValueError(f"{self.title}: is no PNG")

    @property
    def size_px(self) -> tuple[int, int]:
        """Width and height."""
        _, _, width, height = _HEADER.unpack_from(self.png)
        return width, height


@dataclass(frozen=True, eq=False)
class Clip:
    """The frames of a clip one by one: crop, values and blendshapes.

    Raises:
        ValueError: Lengths differ, or no frame has values.
    """

    name: str
    time_s: Floats
    """[T]."""
    values: Floats
    """[T, D]; a row with NaN is a frame without a face."""
    about: str
    """What the values are."""
    blendshapes: Floats
    """[T, B]; B may be 0."""
    blendshape_names: tuple[str, ...] = ()
    crops: tuple[bytes, ...] = ()
    """JPEG of each frame, empty where there is none; none at all where faces are not shown."""

    def __post_init__(self) -> None:
        lengths = {len(self.time_s), len(self.values), len(self.blendshapes), len(self.crops) or len(self.time_s)}
        if len(lengths) > 1 or self.values.ndim != 2:
            raise ValueError(f"{self.name}: values {self.values.shape} and others are not of {len(self.time_s)} frames")
        if self.blendshapes.shape[1] != len(self.blendshape_names):
            raise ValueError(f"{self.name}: {len(self.blendshape_names)} names of {self.blendshapes.shape[1]} values")
        if not self.has_values.any():
            raise ValueError(f"{self.name}: no frame has values")

    @property
    def has_values(self) -> np.ndarray:
        """[T], whether all values of a frame are numbers."""
        return (
            np.asarray(np.isfinite(self.values).all(axis=1)) if self.values.size else np.zeros(len(self.values), bool)
        )


@dataclass(frozen=True)
class Scrubber:
    """Clips to go through frame by frame."""

    kind: ClassVar = "scrubber"
    title: str
    clips: tuple[Clip, ...]


@dataclass(frozen=True)
class Point:
    """One embedding on a map."""

    x: float
    y: float
    group: str
    name: str
    thumb: bytes = b""
    """Small JPEG, shown on hover."""


@dataclass(frozen=True)
class EmbeddingMap:
    """Embeddings in the plane, as t-SNE lays them.

    Raises:
        ValueError: There is no point, or a place is no number.
    """

    kind: ClassVar = "map"
    title: str
    points: tuple[Point, ...]
    alt: str
    raw: str = ""

    def __post_init__(self) -> None:
        if not self.points or not np.isfinite([(point.x, point.y) for point in self.points]).all():
            raise ValueError(f"{self.title}: has no point, or one that lies nowhere")


Block = Note | Missing | Facts | Text | Table | Figure | Scrubber | EmbeddingMap


@dataclass(frozen=True)
class Section:
    """What belongs together."""

    title: str
    blocks: tuple[Block, ...]
    headlines: Mapping[str, Cell] = field(default_factory=dict)
    """Its most important numbers."""
    raw: Mapping[str, Any] = field(default_factory=dict)
    """Name of a file beside the page -> its JSON document."""


@dataclass(frozen=True)
class ReportPage:
    """All of a page."""

    title: str
    sections: tuple[Section, ...]
    made_by: str = ""
    """Last line: who made it, when, of what."""
