"""`mien analyze report`: one page that explains runs, evaluations, sweeps, datasets and the figures of analyses."""

import json
import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from datetime import UTC, datetime
from typing import Any

from pydantic import Field

import mien
from mien.analysis import (
    output,
    report_clips,
    report_dataset,
    report_evaluation,
    report_figures,
    report_run,
    report_sweep,
    report_training,
    trials,
)
from mien.analysis.output import AnalysisReport
from mien.analysis.report_blocks import Missing, ReportPage, Section, Table
from mien.analysis.report_clips import ShownClipsConfig
from mien.analysis.report_page import html
from mien.config import Config
from mien.datasets import index
from mien.datasets.dataset import COMPLETE, open_dataset
from mien.errors import CheckpointError, ConfigError, MienError
from mien.log import logger
from mien.storage.uri import Store, open_store

PAGE = "report.html"
FOLDER = "data/"
_OF_FACES = ("joint", "prediction", "face_id")
"""Objectives whose models make a token of a face."""
EVALUATION = "evaluation"
"""Below a run, where `mien evaluate` writes."""


class ReportConfig(Config):
    """What a page is about."""

    sources: tuple[str, ...] = Field((), max_length=64)
    """Outputs of `mien train`, `evaluate`, `tune`, `serialize` and `analyze`, in any order; a run brings its evaluation
    and its dataset along."""
    output: str = ""
    """Where the page and the numbers behind it go, a folder or gs://."""
    title: str = Field("Report", max_length=200)
    """Of the page."""
    include_faces: bool = False
    """Show crops, thumbnails and other pictures with faces."""
    clips: ShownClipsConfig = ShownClipsConfig()
    """How much of a dataset is shown."""


def run(config: ReportConfig, *, fresh: bool = False) -> AnalysisReport:
    """Read all sources, then write the page, in place of an earlier one of the same config.

    Raises:
        ConfigError: There is no source or no output, or a source is nothing that mien makes.
        RefusedError: The output was made with another config.
        StorageError: The page cannot be written.
    """
    if not config.sources:
        raise ConfigError("sources: is empty; name outputs of mien train, evaluate, tune, serialize or analyze")
    if not config.output:
        raise ConfigError("output: is required; name where the page goes")
    stores = {label: open_store(place) for label, place in labelled(config.sources).items()}
    kinds = {label: kind_of(store) for label, store in stores.items()}
    sections = tuple(_sections(stores, kinds, config))
    blocks = [block for section in sections for block in section.blocks]
    missing = [f"{block.title}: {block.reason}" for block in blocks if isinstance(block, Missing)]
    made_at = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    page = ReportPage(config.title, sections, f"mien {mien.__version__}, {made_at}")
    data = html(page, include_faces=config.include_faces).encode()
    store = output.begin(config, config.output, (PAGE, FOLDER), fresh=fresh)
    for section in sections:
        for name, document in section.raw.items():
            store.replace(name, json.dumps(_finite(document), indent=1, allow_nan=False, default=str).encode())
    store.replace(PAGE, data)
    text = [f"{label}: {kind}" for label, kind in kinds.items()] + [f"not available: {one}" for one in missing]
    return output.finish(store, {"page": PAGE, "sources": kinds, "not_available": missing}, text, PAGE)


def labelled(places: Sequence[str]) -> dict[str, str]:
    """What the page calls each source: the last part of its place, or all of it where that is not enough.

    Raises:
        ConfigError: One is named twice.
    """
    last = {place: place.rstrip("/").rpartition("/")[2] or place for place in places}
    if len(last) < len(places):
        raise ConfigError(f"sources: {Counter(places).most_common(1)[0][0]} is named twice; name each once")
    counts = Counter(last.values())
    return {name if counts[name] == 1 else place: place for place, name in last.items()}


def kind_of(store: Store) -> str:
    """run, evaluation, sweep, dataset or figures.

    Raises:
        ConfigError: It is none of them.
    """
    names = {entry.name for entry in store.list()}
    signs = {
        "sweep": trials.TABLE in names,
        "dataset": COMPLETE in names or any(name.startswith(index.PLAN_FOLDER) for name in names),
        "evaluation": report_evaluation.JSON in names,
        "run": report_run.is_run(names),
        "figures": bool(report_figures.pairs(names)),
    }
    found = next((kind for kind, is_there in signs.items() if is_there), "run" if report_run.CONFIG in names else "")
    if not found:
        what = "holds nothing that a report can show" if names else "is empty or absent"
        raise ConfigError(f"{store.uri}: {what}; name an output of mien train, evaluate, tune, serialize or analyze")
    return found


Make = Callable[[Store, str, str], Section]
"""A store, a title and a folder beside the page to a section."""


def _sections(stores: Mapping[str, Store], kinds: Mapping[str, str], config: ReportConfig) -> Iterator[Section]:
    """Overview first, curves of all runs together, each source in its order, datasets last and once."""
    yield _overview(stores, kinds)
    runs = {label: store for label, store in stores.items() if kinds[label] == "run"}
    if runs:
        yield report_training.section(runs, f"{FOLDER}training")
    datasets = dict[str, str]()
    for number, (label, store) in enumerate(stores.items(), start=1):
        kind, folder = kinds[label], f"{FOLDER}{number}"
        if kind == "run":
            place = _dataset_of(store)
            yield from _of_run(store, label, folder, place, config.clips)
            datasets.setdefault(place, f"{folder}/dataset")
        elif kind == "dataset":
            datasets.setdefault(store.uri, folder)
        else:
            yield _guarded(_MAKERS[kind], store, f"{kind.capitalize()} {label}", folder)
    for place, folder in datasets.items():
        if place:
            yield _of_dataset(place, config.clips, folder)


def _overview(stores: Mapping[str, Store], kinds: Mapping[str, str]) -> Section:
    rows = tuple((label, kinds[label], store.uri) for label, store in stores.items())
    return Section("Overview", (Table("What this page is about", ("Name", "What it is", "Place"), rows),))


def _of_run(store: Store, label: str, folder: str, place: str, config: ShownClipsConfig) -> Iterator[Section]:
    """The run, how good it is, where that was measured, and what it says of clips of its dataset."""
    yield _guarded(report_run.section, store, f"Run {label}", folder)
    title = f"Evaluation of {label}"
    if any(True for _ in store.list(f"{EVALUATION}/{report_evaluation.JSON}")):
        below = open_store(f"{store.uri}/{EVALUATION}")
        yield _guarded(report_evaluation.section, below, title, f"{folder}/evaluation")
    else:
        yield Section(title, (Missing("Evaluation", f"none was made; `mien evaluate {store.uri}` does"),))
    if config.num_clips:
        yield _guarded(lambda *_: _frames(store, place, label, config), store, f"Frames by {label}", folder)


def _dataset_of(store: Store) -> str:
    """What a run was trained on; empty where it does not say."""
    try:
        return str(report_run.newest(store).facts.get("dataset") or "")
    except MienError:
        return ""


def _frames(store: Store, place: str, label: str, config: ShownClipsConfig) -> Section:
    """Clips of the dataset as the model of a run sees them."""
    found = report_run.newest(store)
    kind = (found.facts.get("objective") or {}).get("kind", "unknown")
    if kind not in _OF_FACES:
        raise CheckpointError(f"a model of kind {kind} makes no tokens of faces")
    if not place:
        raise CheckpointError(f"{found.uri}: does not say which dataset it was trained on")
    with closing(open_dataset(place, allow_unfinished=True)) as dataset:
        shown = report_clips.scrubber(dataset, config, report_clips.of_run(found, dataset, config))
    return Section(f"Frames by {label}", (shown,))


def _of_dataset(place: str, config: ShownClipsConfig, folder: str) -> Section:
    def make(store: Store, title: str, folder: str) -> Section:
        with closing(open_dataset(store.uri, allow_unfinished=True)) as dataset:
            return report_dataset.section(dataset, title, config, folder)

    title = f"Dataset {place.rstrip('/').rpartition('/')[2]}"
    try:
        return _guarded(make, open_store(place), title, folder)
    except MienError as error:
        return Section(title, (Missing(title, str(error)),))


_MAKERS: dict[str, Make] = {
    "evaluation": report_evaluation.section,
    "sweep": report_sweep.section,
    "figures": report_figures.section,
}


def _guarded(make: Make, store: Store, title: str, folder: str) -> Section:
    """A source that cannot be read costs its section, not the page."""
    logger.info("reading  %s", store.uri)
    try:
        return make(store, title, folder)
    except MienError as error:
        logger.warning("%s: %s", title, error)
        return Section(title, (Missing(title, str(error)),))


def _finite(value: Any) -> Any:
    """JSON has neither NaN nor infinity."""
    if isinstance(value, Mapping):
        return {str(name): _finite(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
