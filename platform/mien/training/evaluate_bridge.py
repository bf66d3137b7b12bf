"""`mien evaluate` of a bridge: does it bring embeddings of one modality nearer to another, and what else would."""

import json
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import torch

from mien.datasets.embeddings import Embeddings, EmbeddingsConfig, open_embeddings
from mien.datasets.split import HELD_OUT, TRAIN
from mien.errors import CheckpointError, ConfigError
from mien.evaluation.bridging import BridgingConfig, BridgingReport, HeldOutPairs, judge, markdown
from mien.evaluation.report import plain
from mien.evaluation.translators import FitConfig, TrainingPairs, Translator, adapter, learned_projection, linear_map
from mien.objectives.bridge import EmbeddingBridge
from mien.objectives.load import Weights, load_objective
from mien.storage.uri import Store
from mien.training.evaluation_files import JSON, TABLES, EvaluateReport


class PairsConfig(BridgingConfig):
    """Pairs of embeddings of two modalities, and how translators between them are judged."""

    source: str = ""
    """File of the embeddings that are led; its split says which pairs are held out."""
    target: str = ""
    """File of the embeddings that they are led to, each name once."""
    source_columns: EmbeddingsConfig = EmbeddingsConfig()
    """What is read of the source; a row belongs to the target of the same name, so that for pairs by class
    `names_column` is the column of the labels."""
    target_columns: EmbeddingsConfig = EmbeddingsConfig()
    """What is read of the target."""
    others: tuple[str, ...] = ()
    """Checkpoints of further bridges that are judged beside this one, of another network or modality, say."""
    fit: FitConfig = FitConfig()
    """How the alternatives are fitted, which learn from pairs: a linear map, a projection, an adapter."""


def run(config: PairsConfig, place: str, weights: Weights, facts: dict[str, Any], store: Store) -> EvaluateReport:
    """Judge the bridge beside no translation, both controls and what learns from pairs; write JSON and a table.

    Raises:
        ConfigError: No pairs are named, or they do not fit together or the bridge.
        DatasetError: A file is damaged.
        StorageError: The report cannot be written.
    """
    bridges = [_loaded(each, weights) for each in (place, *config.others)]
    own = bridges[0].config
    training, held_out = pairs(config, own.network.embed_dim)
    report = judge(held_out, training, translators(bridges, training, config.fit), config)
    document = {**facts, "modality": own.modality, "network": own.network.kind, "bridging": plain(report)}
    about = [
        f"- Bridge: {own.network.kind}, step {facts['step']} of `{facts['checkpoint']}`, trained on {own.modality}"
    ]
    about += [f"- Bridge {number}: `{other}`" for number, other in enumerate(config.others, start=2)]
    about += [f"- From `{config.source}` to `{config.target}`", *(f"- **Note:** {note}" for note in facts["notes"])]
    text = "\n".join(["# From one modality to another", "", *about, "", markdown(report), ""])
    store.replace(TABLES, text.encode())
    store.replace(JSON, json.dumps(document, indent=1, allow_nan=False).encode())
    return EvaluateReport(store.uri, document, summary(report))


def pairs(config: PairsConfig, embed_dim: int) -> tuple[TrainingPairs, HeldOutPairs]:
    """Rows of the source with the targets of the same name; the gallery is every target.

    Raises:
        ConfigError: A file is not named, a target's name stands twice, or rows of the source have no target.
    """
    if not (config.source and config.target):
        raise ConfigError("bridging.source and bridging.target: are required, files of embeddings of two modalities")
    source = open_embeddings(config.source, config.source_columns, embed_dim)
    target = open_embeddings(config.target, config.target_columns, embed_dim)
    answer = _answers(source, target, config)
    x, gallery = torch.from_numpy(source.values), torch.from_numpy(target.values)
    seen, unseen = (torch.from_numpy(np.flatnonzero(source.parts == part)) for part in (TRAIN, HELD_OUT))
    return TrainingPairs(x[seen], gallery[answer[seen]]), HeldOutPairs(x[unseen], gallery, answer[unseen])


def _answers(source: Embeddings, target: Embeddings, config: PairsConfig) -> torch.Tensor:
    """Row of the target of each row of the source: int64 [n]."""
    rows = {target.name(row): row for row in range(len(target))}
    if len(rows) < len(target):
        raise ConfigError(f"bridging.target={config.target}: a name stands twice; name each target once")
    names = [source.name(row) for row in range(len(source))]
    lonely = [name for name in names if name not in rows]
    if lonely:
        raise ConfigError(
            f"bridging.source={config.source}: {len(lonely)} of {len(names)} rows have no target of their name "
            f"({lonely[0]!r}, …); set names_column of source_columns and target_columns"
        )
    return torch.tensor([rows[name] for name in names])


def _loaded(place: str, weights: Weights) -> EmbeddingBridge:
    objective = load_objective(place, weights).objective
    if not isinstance(objective, EmbeddingBridge):
        raise CheckpointError(f"{place}: is no bridge")
    return objective


def translators(bridges: Sequence[EmbeddingBridge], training: TrainingPairs, fit: FitConfig) -> list[Translator]:
    """Bridges, which know the target alone, and what learns from pairs."""
    mean = training.means[0]
    led = [
        Translator(
            "bridge" if number == 1 else f"bridge {number} ({bridge.config.network.kind})",
            partial(bridge.translate, source_mean=mean, frame="raw"),
            bridge.config.modality,
        )
        for number, bridge in enumerate(bridges, start=1)
    ]
    return [*led, linear_map(training), learned_projection(training, fit), adapter(training, fit)]


def summary(report: BridgingReport) -> dict[str, str]:
    """One line for each translator."""
    before = {"none": f"alignment {report.before.alignment}, top-1 {report.before.top_1}"}
    return before | {
        one.name: f"{one.verdict}: alignment {one.measures.alignment}, top-1 {one.measures.top_1}"
        for one in report.translators
    }
