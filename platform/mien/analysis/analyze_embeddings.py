"""`mien analyze embeddings`: two modalities before and after bridges; and which steps to a verdict are done."""

from dataclasses import replace

from mien.analysis import clip_embeddings, embedding_analysis, embedding_sets, embedding_steps, output
from mien.analysis.clip_embeddings import ClipEmbeddingsConfig
from mien.analysis.compute import Compute, here
from mien.analysis.embedding_analysis import INDEX, METRICS, SUMMARY, EmbeddingAnalysisConfig
from mien.analysis.embedding_sets import Sets
from mien.analysis.embedding_steps import Step
from mien.analysis.output import AnalysisReport
from mien.analysis.style import FigureConfig
from mien.errors import ConfigError
from mien.log import logger
from mien.storage.uri import Store, canonical, open_store

_OWNED = (
    *(METRICS, SUMMARY, INDEX, "sweep.", f"{clip_embeddings.NAME}."),
    *("tsne_comparison.", "distribution_metrics.", "diffusion_effect.", "class_changes."),
    *("bridge/", "bridge_", "after/", "after_", "mean_shift/"),
)
_FIGURES = ("tsne", "distribution", "effect", "class_figure", "sweep")
_PLACES = ("dataset", "embeddings", "visual", "text", "after", "mean_of")


class EmbeddingsConfig(EmbeddingAnalysisConfig):
    """One run of `mien analyze embeddings`."""

    dataset: str = ""
    """Dataset of `mien serialize` whose crops and words are embedded by CLIP, where no files are given."""
    clips: ClipEmbeddingsConfig = ClipEmbeddingsConfig()
    """What the two modalities of a dataset are."""
    output: str = "embedding_analysis"
    """Where figures and numbers go, a folder or gs://."""


def run(config: EmbeddingsConfig, *, fresh: bool = False, compute: Compute = here) -> AnalysisReport:
    """Compare, judge and draw; nothing is written before all input is read and found to fit.

    Args:
        config: What is compared.
        fresh: Delete an earlier analysis first.
        compute: Who embeds the crops of a dataset.

    Raises:
        ConfigError: Files, columns, widths, classes or options do not fit together; a dataset has no two texts.
        DatasetError: A file or dataset is damaged, or an embedding is no number.
        AssetError: The files of CLIP cannot be had.
        RefusedError: The output was made with another config.
        StorageError: A file cannot be read or written.
    """
    config = _settled(config)
    if config.dataset:
        return _of_dataset(config, fresh, compute)
    sets = embedding_analysis.opened(config)
    return _written(sets, config, output.begin(config, config.output, _OWNED, fresh=fresh))


def _of_dataset(config: EmbeddingsConfig, fresh: bool, compute: Compute) -> AnalysisReport:
    """Embed both modalities first; their file stays in the output."""
    if named := [name for name in ("embeddings", "visual", "text") if getattr(config, name)]:
        raise ConfigError(f"dataset and {named[0]}: give one of them")
    source = clip_embeddings.opened(config.dataset, config.clips)
    num_rows = min(len(source.tracks), config.num_rows or len(source.tracks))
    bridges, _ = embedding_sets.open_bridges(config, source.reader.dim)
    embedding_analysis.require_fitting(config, num_rows, source.texts, bridges)
    embedding_sets.mean_rows(config, source.reader.dim)
    store = output.begin(config, config.output, _OWNED, fresh=fresh)
    name = clip_embeddings.write(source, store, compute)
    given = config.model_copy(update={"embeddings": f"{store.uri}/{name}"})
    if source.is_random:
        given = given.model_copy(update={figure: _stamped(getattr(given, figure)) for figure in _FIGURES})
    sets = embedding_analysis.opened(given)
    return _written(replace(sets, notes=(*clip_embeddings.notes(source), *sets.notes)), given, store)


def _stamped(figure: FigureConfig) -> FigureConfig:
    """A picture of what was never trained says so."""
    return figure.model_copy(update={"title": f"RANDOM weights: {figure.title}"})


def _written(sets: Sets, config: EmbeddingsConfig, store: Store) -> AnalysisReport:
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
    own = f"{config.output}/{clip_embeddings.NAME}.parquet"
    folder, _, name = canonical(config.embeddings or own).rpartition("/")
    return embedding_steps.steps(open_store(folder or "/"), name.rpartition(".")[0], open_store(config.output))


def _settled(config: EmbeddingsConfig) -> EmbeddingsConfig:
    """With places that mean the same from every folder."""
    places = {name: canonical(place) for name in _PLACES if (place := getattr(config, name))}
    return config.model_copy(update={**places, "bridges": tuple(map(canonical, config.bridges))})
