"""What runs of `mien train` logged: one section of curves, over one another where there are several, and their ends."""

from collections.abc import Iterator, Mapping
from typing import Any

from mien.analysis import style, training_curves
from mien.analysis.report_blocks import Block, Cell, Figure, Missing, Section, Table
from mien.analysis.training_curves import Panel, Runs, TrainingCurvesConfig
from mien.errors import MienError
from mien.evaluation.run_log import KINDS, Logged, Series, logged
from mien.storage.uri import Store

_MAX_TOLD = 6
"""Curves that the words of a figure name."""


def section(stores: Mapping[str, Store], folder: str) -> Section:
    """Curves of all runs.

    Args:
        stores: Label -> output of `mien train`.
        folder: Where the numbers will lie beside the page.
    """
    runs, blocks = dict[str, Logged](), list[Block]()
    for label, store in stores.items():
        try:
            runs[label] = logged(store)
        except MienError as error:
            blocks.append(Missing(f"The log of {label}", str(error)))
    raw = dict[str, Any]()
    for name, panels in training_curves.figures(runs).items():
        blocks.append(_figure(runs, panels, name, f"{folder}/{name}.json", raw))
    rows = [row for label, run in runs.items() for row in _ends(label, run)]
    columns = ("Run", "Number", "Of", "First", "Last", "Least", "at step", "Greatest", "at step")
    blocks += [Table("First, last and extreme values", columns, tuple(rows))] if rows else []
    return Section("Training", tuple(blocks), raw=raw)


def _figure(runs: Runs, panels: list[Panel], name: str, place: str, raw: dict[str, Any]) -> Block:
    config = TrainingCurvesConfig()
    try:
        drawn = training_curves.draw(runs, panels, config)
    except MienError as error:
        return Missing(name, str(error))
    raw[place] = training_curves.numbers(runs, panels, config)
    return Figure(name.capitalize(), style.png(drawn), _words(runs, panels), tuple(_behind(runs, panels)), place)


def _words(runs: Runs, panels: list[Panel]) -> str:
    """Where each curve begins and ends."""
    told = [
        f"{label}, {name} ({kind}) from {known.value[0]:.4g} at step {known.step[0]} to {known.value[-1]:.4g} at step "
        f"{known.step[-1]}"
        for label, kind, name, series in _lines(runs, panels)
        if len((known := series.known).step)
    ]
    others = f"; and {len(told) - _MAX_TOLD} others, in the tables" if len(told) > _MAX_TOLD else ""
    return f"Curves over the steps: {'; '.join(told[:_MAX_TOLD])}{others}."


def _lines(runs: Runs, panels: list[Panel]) -> Iterator[tuple[str, str, str, Series]]:
    for label, run in runs.items():
        for kind in KINDS:
            for name in (name for panel in panels for name in panel.names):
                if name in run.series[kind]:
                    yield label, kind, name, run.series[kind][name]


def _behind(runs: Runs, panels: list[Panel]) -> Iterator[Table]:
    """A table for each run and kind of line, a row for each step."""
    found = dict[tuple[str, str], dict[str, Series]]()
    for label, kind, name, series in _lines(runs, panels):
        found.setdefault((label, kind), {})[name] = series
    for (label, kind), columns in found.items():
        by_step = dict[int, dict[str, float]]()
        for name, series in columns.items():
            for step, value in zip(series.step.tolist(), series.value.tolist(), strict=True):
                by_step.setdefault(step, {})[name] = value
        rows = ((step, *(by_step[step].get(name) for name in columns)) for step in sorted(by_step))
        yield Table(f"{label}: {kind}", ("step", *columns), tuple(rows))


def _ends(label: str, run: Logged) -> Iterator[tuple[Cell, ...]]:
    for kind in KINDS:
        for name, series in run.series[kind].items():
            step, value = series.known.step, series.known.value
            if len(step):
                least, greatest = int(value.argmin()), int(value.argmax())
                ends = (float(value[0]), float(value[-1]))
                extremes = (float(value[least]), int(step[least]), float(value[greatest]), int(step[greatest]))
                yield (label, name, kind, *ends, *extremes)
