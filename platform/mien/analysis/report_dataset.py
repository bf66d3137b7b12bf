"""A dataset as a section: what is in it, its card, its clips frame by frame, and a map of its samples."""

from collections.abc import Iterator, Mapping
from typing import Any

from mien.analysis import data_overview, report_documents, style
from mien.analysis.data_overview import DataOverviewConfig, Overview
from mien.analysis.report_blocks import Block, Cell, Facts, Figure, Missing, Note, Section, Table, Text
from mien.analysis.report_clips import ShownClipsConfig, sample_map, scrubber, stored
from mien.datasets.card import facts_in_words
from mien.datasets.dataset import Dataset
from mien.datasets.preview import PreviewConfig, contact_sheet
from mien.errors import DatasetError, MienError

CARD = "README.md"
_SHEET = PreviewConfig(max_clips=6)
"""All clips of the sheet in `preview/` would be half of the page."""
_SHOWN = ("num_clips", "num_samples", "num_sources", "num_frames", "num_failed", "num_shards")


def section(dataset: Dataset, title: str, config: ShownClipsConfig, folder: str) -> Section:
    """All of it; what the dataset does not have is said.

    Raises:
        DatasetError: It is damaged.
        StorageError: It cannot be read.
    """
    found = data_overview.overview(dataset, DataOverviewConfig())
    summary, raw = found.summary, f"{folder}/dataset.json"
    blocks: list[Block] = [Note(f"{dataset.uri}: unfinished; told of what is committed.", True)] * (not dataset.record)
    blocks += [
        Facts(_facts(dataset, summary)),
        _glance(found, raw),
        *_counts(summary, raw),
        _card(dataset),
        _sheet(dataset),
    ]
    blocks += [_card(dataset), _sheet(dataset), *_clips(dataset, config)]
    headlines: dict[str, Cell] = {name.removeprefix("num_"): summary[name] for name in _SHOWN}
    return Section(title, tuple(blocks), headlines, {raw: data_overview.numbers(found)})


def _glance(found: Overview, raw: str) -> Block:
    told = report_documents.tables({"distributions": data_overview.numbers(found)["distributions"]}, "Distributions")
    drawn = style.png(data_overview.draw(found, DataOverviewConfig()))
    return Figure("At a glance", drawn, f"{data_overview.sentence(found)}.", told, raw)


def _clips(dataset: Dataset, config: ShownClipsConfig) -> Iterator[Block]:
    """What the frames hold, as far as it is asked for."""
    try:
        reader = stored(dataset)
    except DatasetError as error:
        yield Missing("Frame by frame", str(error))
        return
    if config.num_clips:
        yield scrubber(dataset, config, reader)
    if config.num_points:
        yield sample_map(dataset, config, reader)


def _facts(dataset: Dataset, summary: Mapping[str, Any]) -> dict[str, Cell]:
    models = {f"Model {name}": facts_in_words(facts) for name, facts in summary["models"].items()}
    return {
        "Place": dataset.uri,
        "Duration": f"{summary['duration_s'] / 3600:.2f} h",
        "Frames with a face": f"{100 * summary['face_share']:.1f} %",
        "Subjects": len(summary["subjects"]) or "not known",
        "Code": f"mien {dataset.record['version']}" if "version" in dataset.record else "not known",
        **models,
    }


def _counts(summary: Mapping[str, Any], raw: str) -> Iterator[Block]:
    if summary["failures"]:
        rows = tuple(sorted(summary["failures"].items(), key=lambda row: -row[1]))
        yield Table("Clips that could not be made", ("Reason", "Clips"), rows, raw=raw)
    if summary["columns"]:
        yield Table("Columns of a frame", ("Column", "Type"), tuple(summary["columns"].items()))
    values = [(name, value, num) for name, counts in summary["labels"].items() for value, num in counts.items()]
    if values:
        yield Table("Labels", ("Label", "Value", "Face tracks"), tuple(values), raw=raw)


def _card(dataset: Dataset) -> Block:
    try:
        return Text("The dataset's card", dataset.store.read(CARD).decode(errors="replace"))
    except MienError as error:
        return Missing("The dataset's card", str(error))


def _sheet(dataset: Dataset) -> Block:
    words = "Contact sheet: a row for each face track, whole frames above, crops below; red edges: no face was found."
    return Figure("Contact sheet", contact_sheet(dataset, _SHEET), words, shows_faces=True)
