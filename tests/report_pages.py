"""A report page with one block of each kind, made of small numbers; every name in it is hostile."""

import io

import numpy as np
from matplotlib.figure import Figure as Drawing
from PIL import Image

from mien.analysis import style
from mien.analysis.report_blocks import (
    Clip,
    EmbeddingMap,
    Facts,
    Figure,
    Missing,
    Note,
    Point,
    ReportPage,
    Scrubber,
    Section,
    Table,
    Text,
)
from mien.evaluation.bootstrap import Estimate, NotMeasurable

IMG = '<img src=x onerror="window.hit=1">'
SCRIPT = "</script><script>window.hit=1</script><!--"
BIDI = "safe\u202egpj.exe"
NUM_FRAMES, NUM_DIMENSIONS = 12, 3
ABSENT = 5
"""Frame without a face."""
NAMES = ("browInnerUp", IMG)
GROUPS = ("visual", "text", SCRIPT)


def jpeg(level: int) -> bytes:
    """A small grey picture."""
    file = io.BytesIO()
    Image.new("RGB", (16, 16), (level, level, level)).save(file, "jpeg")
    return file.getvalue()


def png() -> bytes:
    """A figure with one line."""
    figure = Drawing(figsize=(3, 2), dpi=50)
    figure.subplots().plot([0, 1])
    return style.png(figure)


def clip(name: str = "anna.mp4", num_frames: int = NUM_FRAMES) -> Clip:
    """Value of frame t and dimension d is t + 10 d; one frame has no face."""
    t = np.arange(num_frames, dtype=float)
    values = t[:, None] + 10.0 * np.arange(NUM_DIMENSIONS)
    blendshapes = np.stack([t / num_frames, np.full(num_frames, 0.25)], 1)
    values[ABSENT] = blendshapes[ABSENT] = np.nan
    crops = tuple(b"" if frame == ABSENT else jpeg(10 * frame) for frame in range(num_frames))
    return Clip(name, t / 25, values, "token", blendshapes, NAMES, crops)


def scores(num: int = 20) -> Table:
    """Rows that a filter tells apart, with intervals on one scale."""
    rows = [(f"score {number:02}", Estimate(number / 10, number / 10 - 1, number / 10 + 1)) for number in range(num)]
    return Table(f"Scores {IMG}", ("Name", "Value"), (*rows, (SCRIPT, NotMeasurable(IMG))), True, "a b<.json")


def embedding_map() -> EmbeddingMap:
    """Five points of each group in a column of its own."""
    points = [
        Point(3.0 * place, float(number), group, f"{IMG} {number}", jpeg(40 * number))
        for place, group in enumerate(GROUPS)
        for number in range(5)
    ]
    return EmbeddingMap("Map", tuple(points), "Fifteen embeddings in three groups.", "map.json")


def sections() -> tuple[Section, ...]:
    """Every kind of block."""
    behind = Table("Losses", ("step", "loss"), ((0, 3.25), (10, 0.5), (20, None)))
    return (
        Section(
            f"What was run {IMG}",
            (
                Note(IMG),
                Note("mind this", True),
                Facts({IMG: SCRIPT, "step": 12000}),
                Text("config", f"a: 1\nb: {SCRIPT}"),
            ),
            {"R²": Estimate(0.4, 0.3, 0.5), "swap": NotMeasurable("no image was swapped")},
        ),
        Section("Numbers", (scores(), Missing("Similarity", IMG))),
        Section(
            "Figures",
            (
                Figure("Losses", png(), f"The loss falls. {IMG}", (behind,), "losses.json"),
                Figure("Faces", png(), "A grid of faces.", shows_faces=True),
            ),
        ),
        Section("Frames", (Scrubber("Frames", (clip(f"anna {IMG}.mp4"), clip(SCRIPT, 8))),)),
        Section("Embeddings", (embedding_map(),)),
    )


def report_page() -> ReportPage:
    """All of it."""
    return ReportPage(f"Run {BIDI} {IMG}", sections(), f"mien {SCRIPT}")
