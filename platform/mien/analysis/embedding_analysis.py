"""Embeddings of two modalities, before and after bridges: all figures, all numbers, and what they say.

metrics.json                                  config, data, every system with its measures and verdict
summary_report.txt, README.md                 the first bridge in words; all systems, classes and ways in tables
tsne_comparison, distribution_metrics,        PNG and the numbers behind it as JSON, of the first bridge; of every
diffusion_effect, class_changes               other system in a folder of its own
sweep                                         ways of the first bridge, where some are asked for
"""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import field_validator

from mien.analysis import (
    embedding_classes,
    embedding_distribution,
    embedding_effect,
    embedding_map,
    embedding_report,
    embedding_sweep,
    style,
)
from mien.analysis.embedding_classes import ClassFigureConfig
from mien.analysis.embedding_distribution import DistributionConfig
from mien.analysis.embedding_effect import EffectConfig
from mien.analysis.embedding_map import Points, TsneConfig
from mien.analysis.embedding_sets import Bridge, Sets, SetsConfig, open_sets, read_after
from mien.analysis.embedding_sweep import Point, SweepConfig
from mien.diffusion.bridge import BridgeConfig
from mien.errors import ConfigError
from mien.evaluation.alignment import AlignmentConfig, Scene, System, compare, mean_of, placed
from mien.evaluation.alignment_verdict import Judgement, VerdictConfig, judge
from mien.evaluation.bootstrap import BootstrapConfig, Estimate, NotMeasurable
from mien.evaluation.classes import ClassesConfig, ClassReport, by_class
from mien.evaluation.embedded import Floats
from mien.evaluation.report import plain
from mien.log import logger
from mien.storage.uri import Store

if TYPE_CHECKING:
    from matplotlib.figure import Figure

METRICS, SUMMARY, INDEX = "metrics.json", "summary_report.txt", "README.md"
MEAN_SHIFT = "mean shift"


class EmbeddingAnalysisConfig(SetsConfig):
    """What is compared, and how it is measured and drawn."""

    alignment: AlignmentConfig = AlignmentConfig()
    """Frame and intervals."""
    verdict: VerdictConfig = VerdictConfig()
    """Where good, mixed and poor begin."""
    classes: ClassesConfig = ClassesConfig()
    """Which classes are rare or unseen."""
    tsne: TsneConfig = TsneConfig()
    """The map of embeddings, or `skip`."""
    distribution: DistributionConfig = DistributionConfig()
    """The figure of similarity, norms and distances."""
    effect: EffectConfig = EffectConfig()
    """The figure of single rows."""
    class_figure: ClassFigureConfig = ClassFigureConfig()
    """The figure of classes."""
    sweep: SweepConfig = SweepConfig()
    """Other ways of the first bridge."""

    @field_validator("tsne", mode="before")
    @classmethod
    def _skip_or_options(cls, given: Any) -> Any:
        if isinstance(given, str):
            if given != "skip":
                raise ValueError(f"{given!r:.40} is neither skip nor options such as tsne.samples=1000")
            return {"is_skipped": True}
        return given


@dataclass(frozen=True)
class Analysis:
    """What was found; the files say it all."""

    sets: Sets
    systems: tuple[System, ...]
    """What was before, then every bridge, then the mean shift."""
    judgements: dict[str, Judgement]
    """Of every system but the first, by name."""
    beyond_shift: dict[str, Estimate]
    """Similarity minus that after the mean shift: what a bridge does that costs more."""
    classes: dict[str, ClassReport | NotMeasurable]
    points: tuple[Point, ...]
    """Of the sweep."""
    text: Floats
    """Unit vectors of the texts in the frame [m, d]."""
    files: tuple[str, ...] = ()
    """Written, in the order of reading."""

    def summary(self) -> dict[str, str]:
        """One line for each system."""
        before = {"before": f"similarity {self.systems[0].measures.similarity}"}
        return before | {name: f"{one.verdict}: {'; '.join(one.reasons)}" for name, one in self.judgements.items()}


def analyze(config: EmbeddingAnalysisConfig, store: Store) -> Analysis:
    """Read both sets, lead the rows by every bridge, measure, judge, draw, and write all of it.

    Raises:
        ConfigError: Files, columns, widths, classes or options do not fit together.
        DatasetError: A file is damaged, or an embedding is no number.
        StorageError: A file cannot be read or written.
    """
    return write(opened(config), config, store)


def opened(config: EmbeddingAnalysisConfig) -> Sets:
    """Read both sets and all bridges, and refuse options that do not fit them, before minutes are spent.

    Raises:
        ConfigError: Files, columns, widths, classes or options do not fit together.
        DatasetError: A file is damaged, or an embedding is no number.
        StorageError: A file cannot be read.
    """
    sets = open_sets(config)
    require_fitting(config, len(sets.visual.names), sets.text.names, sets.bridges)
    if config.after:
        read_after(config, sets.visual)
    logger.info("rows: %d, texts: %d, bridges: %d", len(sets.visual.names), len(sets.text.names), len(sets.bridges))
    return sets


def write(sets: Sets, config: EmbeddingAnalysisConfig, store: Store) -> Analysis:
    """Lead the rows by every bridge, measure, judge, draw, and write all of it.

    Raises:
        ConfigError: A bridge makes of a row what has no direction.
        StorageError: A file cannot be written.
    """
    found = _measured(config, sets)
    files = [*_draw(found, config, store)]
    facts = _facts(config, found)
    files += [METRICS, SUMMARY, INDEX]
    store.replace(METRICS, json.dumps(_document(found, facts), indent=1, allow_nan=False).encode())
    store.replace(SUMMARY, _summary(found, facts).encode())
    store.replace(INDEX, "\n".join([*_index(found, facts, files), ""]).encode())
    return replace(found, files=tuple(files))


def require_fitting(
    config: EmbeddingAnalysisConfig, num_rows: int, texts: Sequence[str], bridges: Sequence[Bridge]
) -> None:
    """Refuse a perplexity, classes and ways that so many rows, these texts and these bridges cannot have.

    Raises:
        ConfigError: They do not fit.
    """
    config.classes.require_known(texts)
    if not config.tsne.is_skipped:
        num = (1 + (bool(bridges) or bool(config.after))) * min(num_rows, config.tsne.samples)
        embedding_map.require_points(num + min(len(texts), config.tsne.samples), config.tsne)
    if bridges and config.sweep.start_steps:
        _ways(config, bridges[0])


def _measured(config: EmbeddingAnalysisConfig, sets: Sets) -> Analysis:
    after, before = _after(config, sets), sets.visual.values
    try:
        systems = compare(before, after, sets.scene, config.alignment)
        classes = {
            one.name: by_class(
                (systems[0].rows, one.rows), sets.scene, sets.text.names, config.classes, config.alignment.bootstrap
            )
            for one in systems[1:]
        }
    except ValueError as error:
        raise ConfigError(f"embeddings: {error}") from None
    judgements = {one.name: judge(systems[0], one, config.verdict) for one in systems[1:]}
    mean = mean_of(sets.text.values) if config.alignment.frame == "centred" else None
    text = placed(sets.text.values, mean)
    beyond = _beyond_shift(systems, sets.scene, config.alignment.bootstrap)
    return Analysis(sets, tuple(systems), judgements, beyond, classes, tuple(_sweep(config, sets)), text)


def _beyond_shift(systems: Sequence[System], scene: Scene, config: BootstrapConfig) -> dict[str, Estimate]:
    """Paired with the control, where there is one."""
    shifts = [one.rows.similarity for one in systems if one.name == MEAN_SHIFT]
    bootstrap = config.build(scene.group)
    return {
        one.name: bootstrap.estimate(bootstrap.mean(one.rows.similarity - shift))
        for shift in shifts
        for one in systems[1:-1]
    }


def _after(config: EmbeddingAnalysisConfig, sets: Sets) -> dict[str, Floats]:
    """Rows by every way, the most important one first."""
    rows = sets.visual.values
    after = {"after": read_after(config, sets.visual)} if config.after else {}
    after |= {one.name: sets.lead(one, rows) for one in sets.bridges}
    if after and config.uncertain_share:
        name, led = next(iter(after.items()))
        margin = compare(rows, {}, sets.scene, config.alignment)[0].rows.margin
        is_led = margin <= np.quantile(margin, config.uncertain_share)
        after[f"{name}, uncertain rows alone"] = np.where(is_led[:, None], placed(led, None), placed(rows, None))
    return after | ({MEAN_SHIFT: sets.shifted()} if config.mean_shift else {})


def _sweep(config: EmbeddingAnalysisConfig, sets: Sets) -> list[Point]:
    if not sets.bridges or not config.sweep.start_steps:
        return []
    first, num, tried = sets.bridges[0], len(sets.visual.names), _ways(config, sets.bridges[0])
    some = np.unique(np.linspace(0, num - 1, min(num, config.sweep.num_rows)).astype(int))
    scene = Scene(sets.scene.text, sets.scene.answer[some], sets.scene.group[some])
    logger.info("sweep: %d ways, %d rows", len(tried), len(some))
    lead = partial(sets.lead, first)
    return embedding_sweep.sweep(sets.visual.values[some], scene, tried, lead, config.alignment, config.verdict)


def _ways(config: EmbeddingAnalysisConfig, first: Bridge) -> list[BridgeConfig]:
    """Of the first bridge, at least one."""
    own = first.objective.config
    tried = [*embedding_sweep.ways(config.sweep, own.bridge, own.schedule.num_steps)]
    if not tried:
        num = own.schedule.num_steps
        raise ConfigError(f"sweep: no start step is between num_steps and {num}, the noise levels of {first.name}")
    return tried


def _draw(found: Analysis, config: EmbeddingAnalysisConfig, store: Store) -> Iterator[str]:
    """Write every figure; gives the names of the pictures."""
    for folder, after in _folders(found):
        for name, figure, numbers in _figures(found, after, config):
            style.save(store, f"{folder}{name}", figure, numbers)
            logger.info("figure   %s%s.png", folder, name)
            yield f"{folder}{name}.png"
    if found.points:
        figure = embedding_sweep.draw(found.points, config.sweep)
        style.save(store, "sweep", figure, embedding_sweep.numbers(found.points))
        yield "sweep.png"


def _folders(found: Analysis) -> Iterator[tuple[str, System | None]]:
    """The first bridge, or none, at the top; every other system below its name."""
    others = list(found.systems[1:])
    is_bridged = bool(others) and others[0].name != MEAN_SHIFT
    yield "", others.pop(0) if is_bridged else None
    for one in others:
        yield re.sub(r"\W+", "_", one.name) + "/", one


def _figures(
    found: Analysis, after: System | None, config: EmbeddingAnalysisConfig
) -> Iterator[tuple[str, "Figure", dict[str, Any]]]:
    """Name, picture and numbers; the control has no map of its own."""
    before, text_norm = found.systems[0], _text_norm(found.sets)
    if not config.tsne.is_skipped and (after is None or after.name != MEAN_SHIFT):
        points = embedding_map.project(before.rows.unit, after.rows.unit if after else None, found.text, config.tsne)
        yield "tsne_comparison", embedding_map.draw(points, config.tsne), _map_numbers(found.sets, points)
    figure = embedding_distribution.draw(before, after, text_norm, config.distribution)
    yield "distribution_metrics", figure, embedding_distribution.numbers(before, after, text_norm)
    if after is None:
        return
    figure = embedding_effect.draw(before.rows, after.rows, config.effect)
    yield "diffusion_effect", figure, embedding_effect.numbers(before.rows, after.rows)
    classes = found.classes[after.name]
    if isinstance(classes, ClassReport):
        figure = embedding_classes.draw(classes, config.classes.num_listed, config.class_figure)
        yield "class_changes", figure, embedding_classes.numbers(classes)


def _map_numbers(sets: Sets, points: Points) -> dict[str, Any]:
    """With the names of rows and texts, to look them up by."""
    names = {"names": [sets.visual.names[row] for row in points.rows]}
    return {**embedding_map.numbers(points), **names, "text_names": [sets.text.names[row] for row in points.texts]}


def _text_norm(sets: Sets) -> float:
    return float(np.linalg.norm(sets.text.values.astype(np.float64), axis=1).mean())


def _facts(config: EmbeddingAnalysisConfig, found: Analysis) -> dict[str, Any]:
    """What was compared with what."""
    sets, way = found.sets, {}
    if sets.bridges:
        own = sets.bridges[0].objective.config
        way = {"start_step": own.bridge.start_step, "num_steps": own.bridge.num_steps, "scale": own.bridge.radius}
    files = config.embeddings or f"{config.visual}, {config.text}"
    rows, dim = sets.visual.values.shape
    return {
        "configuration": {
            "embeddings": files,
            "bridges": ", ".join(str(one.facts["checkpoint"]) for one in sets.bridges) or config.after or "none",
            "trained_on": ", ".join(one.objective.config.modality for one in sets.bridges) or "nothing",
            **way,
            "mean_of": config.mean_of or "the rows",
            "frame": config.alignment.frame,
            "num_rows": config.num_rows or "all",
        },
        "data": {
            "visual": f"[{rows}, {dim}]",
            "images": int(sets.scene.group.max()) + 1,
            "text": f"[{len(sets.text.names)}, {dim}]",
            "dimension": dim,
        },
        "notes": list(sets.notes),
        "config": config.dump(),
    }


def _document(found: Analysis, facts: dict[str, Any]) -> dict[str, Any]:
    systems = [
        {
            "name": one.name,
            "measures": plain(one.measures),
            "spread": plain(one.spread),
            "minus_before": plain(one.minus_before) if one.minus_before else None,
            "beyond_shift": plain(found.beyond_shift[one.name]) if one.name in found.beyond_shift else None,
            "judgement": plain(found.judgements[one.name]) if one.name in found.judgements else None,
            "groups": _groups(found.classes.get(one.name)),
        }
        for one in found.systems
    ]
    bridges = {one.name: one.facts for one in found.sets.bridges}
    return {**facts, "bridges": bridges, "systems": systems, "sweep": [plain(point) for point in found.points]}


def _groups(report: ClassReport | NotMeasurable | None) -> Any:
    """Without the single classes, which stand beside their figure."""
    return [plain(one) for one in report.groups] if isinstance(report, ClassReport) else report and plain(report)


def _summary(found: Analysis, facts: dict[str, Any]) -> str:
    _, main = next(_folders(found))
    judgement = found.judgements[main.name] if main else None
    return embedding_report.summary(found.systems[0], main, judgement, facts, _text_norm(found.sets))


def _index(found: Analysis, facts: dict[str, Any], files: list[str]) -> Iterator[str]:
    """README.md: what was compared, what came out, and in which order to look."""
    said = embedding_report.escaped
    yield "# From one modality to another: embeddings before and after"
    yield ""
    for title in ("configuration", "data"):
        yield from (f"- **{key}:** {said(str(value))}" for key, value in facts[title].items())
    yield from (f"- **Note:** {said(note)}" for note in facts["notes"])
    yield f"- **Intervals:** {facts['config']['alignment']['bootstrap']['level']:.0%}, over images; the texts are given"
    yield from ["", "## Systems", "", *embedding_report.table(found.systems, found.judgements), ""]
    for name, one in found.judgements.items():
        beyond = f"Beyond the mean shift: {found.beyond_shift[name]}. " if name in found.beyond_shift else ""
        yield f"- **{said(name)}: {one.verdict}.** {'; '.join(one.reasons)}. {beyond}Next: {'; '.join(one.advice)}."
    for name, report in found.classes.items():
        yield from ["", f"## Classes: {said(name)}", ""]
        if isinstance(report, ClassReport):
            yield from embedding_report.classes(report, facts["config"]["classes"]["num_listed"])
        else:
            yield f"Not available: {report.reason}."
    if found.points:
        yield from ["", "## Ways of the first bridge", "", *embedding_report.sweep(found.points)]
        yield from ["", "The best way is chosen on these rows: measure it on others before it is believed."]
    yield from ["", "## Files", "", *(f"- [{name}]({name})" for name in files)]
