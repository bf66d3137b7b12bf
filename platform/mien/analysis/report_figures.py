"""Figures of an analysis as blocks: each PNG with the JSON of its numbers beside it."""

import io
from collections.abc import Collection, Iterator, Sequence
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from mien.analysis import report_documents
from mien.analysis.report_blocks import Block, EmbeddingMap, Facts, Figure, Missing, Point, Section, Table
from mien.analysis.style import FACELESS
from mien.errors import DatasetError, MienError
from mien.storage.uri import Store

_MAX_FIGURES = 40
"""Of one folder; of more, as many are shown, evenly chosen."""
_MAX_TOLD = 8
"""Numbers that the words of a figure name."""


def section(store: Store, title: str, folder: str) -> Section:
    """Every figure below a place, with what it says in words and the tables behind it.

    A picture that was not drawn by `analysis.style` may show a face, and counts as one that does.

    Args:
        store: Where they are.
        title: Of the section.
        folder: Where their numbers will lie beside the page.

    Raises:
        StorageError: It cannot be read.
    """
    found, raw = pairs({entry.name for entry in store.list()}), dict[str, Any]()
    kept = _spread(found)
    shown = [block for name in kept for block in _figure(store, name, f"{folder}/{name}.json", raw)]
    if len(kept) < len(found):
        shown.append(Missing("Further figures", f"{len(kept)} of {len(found)} are shown, evenly chosen"))
    return Section(title, (Facts({"Place": store.uri}), *shown), raw=raw)


def pairs(names: Collection[str]) -> list[str]:
    """Names of pictures that have their numbers beside them, both without their ending."""
    return sorted(stem for name in names if (stem := name.removesuffix(".png")) != name and f"{stem}.json" in names)


def shows_faces(png: bytes) -> bool:
    """Whether it may: true unless whoever drew it wrote into it that there are none.

    Raises:
        DatasetError: It is no PNG.
    """
    try:
        with Image.open(io.BytesIO(png), formats=["png"]) as picture:
            return picture.info.get("Description") != FACELESS
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError) as error:
        raise DatasetError(f"no readable PNG: {error}") from None


def _spread(names: Sequence[str]) -> Sequence[str]:
    if len(names) <= _MAX_FIGURES:
        return names
    return [names[place] for place in np.linspace(0, len(names) - 1, _MAX_FIGURES).round().astype(int)]


def _figure(store: Store, name: str, place: str, raw: dict[str, Any]) -> Iterator[Block]:
    title = name.replace("_", " ")
    try:
        document, png = report_documents.read(store, f"{name}.json"), store.read(f"{name}.png")
        behind = report_documents.tables(document, title)
        yield Figure(title, png, in_words(title, behind), behind, place, shows_faces(png))
        raw[place] = document
        yield from _map(document, title, place)
    except (MienError, ValueError) as error:
        yield Missing(title, str(error))


def in_words(title: str, behind: Sequence[Table]) -> str:
    """What a figure is told as to who does not see it: its name and its first numbers."""
    rows = behind[0].rows if behind and len(behind[0].columns) == 2 else ()
    told = [f"{name} {_short(cell)}" for name, cell in rows if isinstance(cell, int | float)][:_MAX_TOLD]
    return f"Figure: {title}." + (f" {'; '.join(told)}." if told else "") + " Its numbers stand below."


def _short(cell: float) -> str:
    return f"{cell:.4g}" if isinstance(cell, float) else str(cell)


def _map(document: dict[str, Any], title: str, raw: str) -> Iterator[Block]:
    """The plane of `analysis.embedding_map`: places [n, 2] of rows before and after, and of texts."""
    groups = {"before": "visual, before", "after": "visual, after", "text": "text"}
    if not {"before", "text"} <= document.keys():
        return
    points = [
        Point(float(x), float(y), shown, f"{shown} {number}")
        for name, shown in groups.items()
        for number, (x, y) in enumerate(document.get(name) or [])
    ]
    words = f"Map of {len(points)} embeddings in {len({point.group for point in points})} groups."
    yield EmbeddingMap(f"{title}, point by point", tuple(points), words, raw)
