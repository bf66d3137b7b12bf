"""What a sweep found, as a section: the configs by rank with their intervals, every trial, and the best config."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from mien.analysis import trials
from mien.analysis.report_blocks import Block, Cell, Figure, Missing, Note, Section, Table, Text
from mien.analysis.trials import BEST, TABLE, Direction, Trial
from mien.config import parse_yaml
from mien.datasets.tables import TableFile
from mien.errors import DatasetError, MienError
from mien.storage.uri import Store

CONFIG = "config.yaml"


def section(store: Store, title: str, folder: str) -> Section:
    """The trials of one sweep.

    Args:
        store: Its output.
        title: Of the section.
        folder: Where the numbers will lie beside the page.

    Raises:
        DatasetError: The table of its trials is damaged.
        StorageError: It cannot be read.
    """
    found = _read(store)
    raw = f"{folder}/trials.json"
    metrics = _metrics(store, found)
    blocks = [_counted(found), *_ranked(found, metrics), _all(found, raw), *_best(store), *_pictures(store)]
    return Section(title, tuple(blocks), raw={raw: {"metrics": metrics, "trials": [asdict(trial) for trial in found]}})


def _read(store: Store) -> list[Trial]:
    place = f"{store.uri}/{TABLE}"
    rows = TableFile(store.fetch(TABLE), place).table()
    try:
        return trials.trials_of(rows)
    except (KeyError, ValueError, TypeError) as error:
        raise DatasetError(f"{place}: is no table of trials: {error}; give the output of `mien tune`") from None


def _counted(found: Sequence[Trial]) -> Block:
    counts = Counter(trial.state for trial in found)
    return Note(f"{len(found)} trials: " + ", ".join(f"{num} {state}" for state, num in counts.most_common()) + ".")


def _metrics(store: Store, found: Sequence[Trial]) -> dict[str, Direction]:
    """What was sought, as the config says; without one whatever was reported, the lowest first."""
    try:
        said = parse_yaml(store.read(CONFIG), f"{store.uri}/{CONFIG}").get("metrics") or {}
    except MienError:
        said = {}
    return {str(name): "highest" if way == "highest" else "lowest" for name, way in said.items()} or dict.fromkeys(
        sorted({name for trial in found for name in trial.metrics}), "lowest"
    )


def _ranked(found: Sequence[Trial], metrics: Mapping[str, Direction]) -> Iterator[Block]:
    """By the first metric."""
    name, direction = next(iter(metrics.items()), ("", "lowest"))
    ranked = trials.rank(found, name, direction)
    if not ranked:
        yield Missing("Best configs", f"no trial that did not fail has reported {name or 'anything'}")
        return
    rows = [
        (place, one.number, one.estimate, one.num_runs, one.num_failed) for place, one in enumerate(ranked, start=1)
    ]
    columns = ("Place", "Trial", f"{name} ({direction} is best)", "Runs", "Failed")
    yield Table("Configs, the best first", columns, tuple(rows), has_marks=True)
    if all(one.num_runs < 2 for one in ranked):
        yield Note("Nothing was repeated: whether the first is better than the second cannot be told.", is_warning=True)


def _all(found: Sequence[Trial], raw: str) -> Block:
    """A row for each trial: what was drawn for it, and what came of it."""
    keys = list(dict.fromkeys(key for trial in found for key in trial.flat))
    metrics = list(dict.fromkeys(name for trial in found for name in trial.metrics))
    rows = [
        (
            *(trial.number, trial.state, trial.step, round(trial.seconds, 1)),
            *(_cell(trial.flat.get(key)) for key in keys),
            *(trial.metrics.get(name) for name in metrics),
            trial.reason,
        )
        for trial in found
    ]
    return Table("All trials", ("Trial", "State", "Step", "Seconds", *keys, *metrics, "Reason"), tuple(rows), raw=raw)


def _cell(value: Any) -> Cell:
    return value if value is None or isinstance(value, str | int | float) else str(value)


def _best(store: Store) -> Iterator[Block]:
    try:
        yield Text("The best config", store.read(BEST).decode(errors="replace"))
    except MienError as error:
        yield Missing("The best config", str(error))


def _pictures(store: Store) -> Iterator[Block]:
    """Figures that the sweep drew of its trials."""
    for entry in store.list():
        if entry.name.endswith(".png"):
            title = entry.name.removesuffix(".png").replace("_", " ")
            try:
                yield Figure(title, store.read(entry.name), f"{title}, of the trials in the table above.")
            except (MienError, ValueError) as error:
                yield Missing(title, str(error))
