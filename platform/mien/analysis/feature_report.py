"""What all images say together: the consistency of differences, contact sheets, and an index to read it all by."""

import html
import json
from collections.abc import Iterator, Sequence
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mien.analysis import feature_effects, feature_sheets
from mien.analysis.feature_consistency import Consistency, Table, compare, markdown
from mien.analysis.feature_files import ACTIVATIONS, SIDES, FeatureConfig, png_of
from mien.analysis.feature_sheets import AXES, Fixed, Sheet, opened, spread
from mien.evaluation.report import plain
from mien.log import printable
from mien.storage.uri import Store

JSON, EFFECTS, INDEX, SHEETS = "consistency.json", "consistency.png", "README.md", "sheets/"

MEASURES = ("shown_sparsity", "relative_sparsity", "hoyer", "dead_channels", "effective_rank", "std")
"""Columns in which the models are compared; the first is what the seed compared, of the shown channels alone."""
_SCALES = {
    True: "Both sides have one scale and the same channels: colours compare.",
    False: "Every map has a scale of its own and every model its own channels: patterns compare, brightness does not "
    "(`grid.shared=true` for that).",
}
_ALONG = ("std", "relative_sparsity", "hoyer", "dead_channels", "effective_rank")


def finish(store: Store, numbers: Sequence[int], config: FeatureConfig, facts: dict[str, Any]) -> list[Consistency]:
    """Write consistency.json and its picture, the contact sheets and README.md.

    Args:
        store: Where `draw_samples` wrote.
        numbers: Of the images.
        config: As they were drawn.
        facts: What was compared (`feature_files.facts_of`).

    Raises:
        StorageError: A file cannot be read or written.
    """
    layers = tuple(facts["modules"])
    found = [compare(table, config.consistency) for table in tables_of(store, numbers, config, layers)]
    store.replace(EFFECTS, png_of(feature_effects.draw(found, config.names)))
    sheets = [_write_sheet(store, sheet, name, config) for name, sheet in sheets_of(store, numbers, config, layers)]
    document = {**facts, "samples": [*numbers], "sheets": sheets, "consistency": [plain(one) for one in found]}
    store.replace(JSON, json.dumps(document, indent=1, allow_nan=False).encode())
    store.replace(INDEX, "\n".join([*_index(found, facts, sheets), ""]).encode())
    return found


def tables_of(store: Store, numbers: Sequence[int], config: FeatureConfig, layers: tuple[str, ...]) -> list[Table]:
    """Every measure over images, layers, conditions and models."""
    conditions = tuple(one.name for one in config.conditions)
    shape = (len(numbers), len(conditions), len(layers), 2)  # the order of the rows
    table = pa.concat_tables([_read(store, number, MEASURES) for number in numbers])
    return [
        Table(name, layers, conditions, _floats(table, name).reshape(shape).transpose(0, 2, 1, 3)) for name in MEASURES
    ]


def sheets_of(
    store: Store, numbers: Sequence[int], config: FeatureConfig, layers: tuple[str, ...]
) -> Iterator[tuple[str, Sheet]]:
    """Names and contents of all contact sheets, one at a time."""
    labels = {
        "sample": [str(number) for number in numbers],
        "condition": [one.name for one in config.conditions],
        "layer": [*layers],
    }
    most = config.sheets.max_rows, config.sheets.max_columns
    for fixed, along in AXES.items():
        rows, columns = (spread(labels[key], num) for key, num in zip(along, most, strict=True))
        for value in spread(labels[fixed], config.sheets.max_rows):
            yield f"{fixed}_{value}", _sheet(store, (fixed, value), (rows, columns), config)


def _sheet(store: Store, fixed: tuple[Fixed, str], along: tuple[list[str], list[str]], config: FeatureConfig) -> Sheet:
    """Reads the thumbnails that it shows, and no others."""
    row_key, column_key = AXES[fixed[0]]
    numbers = along[0] if row_key == "sample" else [fixed[1]]
    asked = ["sample", "condition", "layer", "relative_sparsity", "thumb"]
    wanted = {fixed[0]: [fixed[1]], row_key: along[0], column_key: along[1]}
    filters = [(key, "in", wanted[key]) for key in ("condition", "layer")]
    side = feature_sheets.THUMB_SIZE_PX
    thumbs = np.zeros((len(along[0]), len(along[1]), 2, side, side), np.uint8)
    sparsity = np.zeros(thumbs.shape[:3])
    for number in numbers:
        for row in _read(store, int(number), [*asked, "side"], filters).to_pylist():
            place = (*(one.index(str(row[key])) for one, key in zip(along, AXES[fixed[0]], strict=True)),)
            place = (*place, SIDES.index(row["side"]))
            thumbs[place], sparsity[place] = opened(row["thumb"]), row["relative_sparsity"]
    rows, columns = (
        tuple(f"Sample {one}" if key == "sample" else one for one in labels)
        for key, labels in zip(AXES[fixed[0]], along, strict=True)
    )
    title = f"Sample {fixed[1]}" if fixed[0] == "sample" else fixed[1]
    return Sheet(title, config.names, rows, columns, thumbs, sparsity)


def _write_sheet(store: Store, sheet: Sheet, name: str, config: FeatureConfig) -> str:
    store.replace(f"{SHEETS}{name}.png", png_of(feature_sheets.draw(sheet, config.sheets)))
    return f"{SHEETS}{name}.png"


def _read(store: Store, number: int, columns: Sequence[str], filters: Any = None) -> pa.Table:
    file = store.fetch(f"{ACTIVATIONS}sample_{number}.parquet")
    return pq.read_table(file, columns=list(columns), filters=filters, use_threads=False)


def _floats(table: pa.Table, name: str) -> np.ndarray:
    return np.array(table.column(name).to_pylist(), np.float64)


def _index(found: Sequence[Consistency], facts: dict[str, Any], sheets: Sequence[str]) -> Iterator[str]:
    """README.md: what was compared, what came out, and in which order to look."""
    names = facts["config"]["names"]
    yield f"# Feature maps: {_escaped(names[1])} against {_escaped(names[0])}"
    yield ""
    for side, name in zip(SIDES, names, strict=True):
        about = facts.get(side, {})
        said = ", ".join(f"{key} {_escaped(str(value))}" for key, value in about.items()) or "in memory"
        yield f"- **{_escaped(name)}:** {said}"
    yield f"- **Images:** {found[0].num_samples}, the same for both models"
    yield f"- **Noise:** the same for both, one for each image at all timesteps; seed {facts['config']['seed']}"
    yield from (f"- **Note:** {note}" for note in facts["notes"])
    yield from ["", "## Do the models differ?", ""]
    yield from (f"- {one.sentence()}." for one in found)
    yield ""
    yield f"Intervals are at {found[0].level:.0%} over images; those of several conditions or layers hold together."
    yield "Each measure is judged alone: of many measures some would differ by chance. Two trained models were"
    yield "compared; other trainings of the same two recipes may differ otherwise."
    yield from ["", f"![images that are higher or lower, by layer and condition]({EFFECTS})", "", *markdown(found)]
    yield from ["", "## From layer to layer", "", *_progression(found, "layer")]
    yield from ["", "## From timestep to timestep", "", *_progression(found, "condition")]
    yield from ["", "## In which order to look", "", *_order(facts, sheets)]


def _progression(found: Sequence[Consistency], along: Literal["layer", "condition"]) -> Iterator[str]:
    """Means over images and over the other axis, baseline / curriculum."""
    chosen = [one for one in found if one.measure in _ALONG]
    yield f"| {along} | " + " | ".join(one.measure.replace("_", " ") for one in chosen) + " |"
    yield "|---" * (1 + len(chosen)) + "|"
    for rows in zip(*(one.by_layer if along == "layer" else one.by_condition for one in chosen), strict=True):
        means = [f"{row.baseline:.3g} / {row.curriculum:.3g}" if row.num else "–" for row in rows]
        yield f"| {getattr(rows[0], along)} | " + " | ".join(means) + " |"


def _order(facts: dict[str, Any], sheets: Sequence[str]) -> Iterator[str]:
    yield "1. The picture above: where the models differ at all."
    yield "2. Contact sheets of those layers and timesteps: " + ", ".join(f"[{name}]({name})" for name in sheets) + "."
    yield "3. Single figures: `sample_<i>/<condition>/<layer>.png`; what the models saw: `sample_<i>/input_*.png`."
    yield f"   {_SCALES[facts['config']['grid']['shared']]}"
    yield f"4. The numbers behind every figure: `{ACTIVATIONS}sample_<i>.parquet`, `{JSON}`."


def _escaped(text: str) -> str:
    """Somebody's text, as text, in Markdown."""
    return "".join(f"&#{ord(char)};" if char in "|`*_[]\\" else html.escape(char) for char in printable(text))
