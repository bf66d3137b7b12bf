"""`mien analyze embeddings`: two modalities before and after bridges; and which steps to a verdict are done."""

from mien.analysis import embedding_analysis, embedding_steps, output
from mien.analysis.embedding_analysis import INDEX, METRICS, SUMMARY, EmbeddingAnalysisConfig
from mien.analysis.embedding_steps import Step
from mien.analysis.output import AnalysisReport
from mien.log import logger
from mien.storage.uri import canonical, open_store

_OWNED = (
    *(METRICS, SUMMARY, INDEX, "sweep."),
    *("tsne_comparison.", "distribution_metrics.", "diffusion_effect.", "class_changes."),
    *("bridge/", "bridge_", "after/", "after_", "mean_shift/"),
)
_PLACES = ("embeddings", "visual", "text", "after", "mean_of")


class EmbeddingsConfig(EmbeddingAnalysisConfig):
    """One run of `mien analyze embeddings`."""

    output: str = "embedding_analysis"
    """Where figures and numbers go, a folder or gs://."""


def run(config: EmbeddingsConfig, *, fresh: bool = False) -> AnalysisReport:
    """Compare, judge and draw; nothing is written before all input is read and found to fit.

    Args:
        config: What is compared.
        fresh: Delete an earlier analysis first.

    Raises:
        ConfigError: Files, columns, widths, classes or options do not fit together.
        DatasetError: A file is damaged, or an embedding is no number.
        RefusedError: The output was made with another config.
        StorageError: A file cannot be read or written.
    """
    config = _settled(config)
    sets = embedding_analysis.opened(config)
    store = output.begin(config, config.output, _OWNED, fresh=fresh)
    found = embedding_analysis.write(sets, config, store)
    for note in sets.notes:
        logger.warning("note     %s", note)
    document = {
        "verdicts": {name: one.verdict for name, one in found.judgements.items()},
        "summary": found.summary(),
        "notes": [*sets.notes],
        "files": [*found.files],
    }
    said = [store.read(SUMMARY).decode(), *(f"{name}: {line}" for name, line in found.summary().items())]
    return output.finish(store, document, ["\n".join(said)], INDEX)


def status(config: EmbeddingsConfig) -> list[Step]:
    """Which steps are done, from a network to a verdict.

    Raises:
        DatasetError: The file of embeddings is damaged.
        StorageError: A place cannot be read.
    """
    folder, _, name = canonical(config.embeddings or "embeddings.parquet").rpartition("/")
    return embedding_steps.steps(open_store(folder or "/"), name.rpartition(".")[0], open_store(config.output))


def _settled(config: EmbeddingsConfig) -> EmbeddingsConfig:
    """With places that mean the same from every folder."""
    places = {name: canonical(place) for name in _PLACES if (place := getattr(config, name))}
    return config.model_copy(update={**places, "bridges": tuple(map(canonical, config.bridges))})
