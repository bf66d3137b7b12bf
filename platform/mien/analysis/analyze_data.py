"""`mien analyze data`: a dataset at a glance, what normalisation does to its vectors, and how alike people are."""

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from pydantic import Field

from mien.analysis import data_overview, dataset_vectors, normalisation, output, style, subject_similarity
from mien.analysis.data_overview import DataOverviewConfig
from mien.analysis.dataset_vectors import Vectors, VectorsConfig
from mien.analysis.normalisation import NormalisationConfig
from mien.analysis.output import AnalysisReport
from mien.analysis.style import Picture
from mien.analysis.subject_similarity import SubjectSimilarityConfig
from mien.config import Config
from mien.datasets.dataset import Dataset, open_dataset
from mien.datasets.preview import PreviewConfig, contact_sheet, failure_gallery
from mien.errors import ConfigError, DatasetError
from mien.log import logger

_OWNED = ("overview", "normalisation", "similarity", "contact_sheet", "failures")
FigureName = Literal["overview", "normalisation", "similarity"]


class DataFiguresConfig(Config):
    """One run of `mien analyze data`."""

    dataset: str = ""
    """Dataset of `mien serialize`."""
    output: str = "data_figures"
    """Where figures and numbers go, a folder or gs://."""
    figures: tuple[FigureName, ...] = Field(("overview", "normalisation", "similarity"), min_length=1)
    """What is drawn; the last two need vectors, and are left out, with the reason, where the dataset has none."""
    vectors: VectorsConfig = VectorsConfig()
    """Which vectors of which frames are normalised and compared."""
    overview: DataOverviewConfig = DataOverviewConfig()
    """Lengths, sizes, gaps, failures, people."""
    normalisation: NormalisationConfig = NormalisationConfig()
    """Vectors before and after."""
    similarity: SubjectSimilarityConfig = SubjectSimilarityConfig()
    """Cosines within clips, between clips of a person, and between people."""
    include_faces: bool = False
    """Write a contact sheet and the gallery of failures, too: they show faces."""
    preview: PreviewConfig = PreviewConfig()
    """How much these two show."""


class _Part(NamedTuple):
    """One of the figures."""

    pictures: list[Picture]
    numbers: Mapping[str, Any]
    """Those that a person asks for first; all of them stand beside the pictures."""
    text: str


def run(config: DataFiguresConfig, *, fresh: bool = False) -> AnalysisReport:
    """Draw a dataset; nothing is written before all of it is read and drawn.

    Args:
        config: What is drawn.
        fresh: Delete an earlier analysis first.

    Raises:
        ConfigError: No dataset is named.
        DatasetError: It is none, unfinished or damaged, or has nothing of what is asked for.
        RefusedError: The output was made with another config.
        StorageError: A file cannot be read or written.
    """
    if not config.dataset:
        raise ConfigError("dataset: is required; name a dataset of `mien serialize`")
    dataset = open_dataset(config.dataset)
    config = config.model_copy(update={"dataset": dataset.uri})
    parts, missing = _parts(dataset, config)
    faces = _faces(dataset, config) if config.include_faces else []
    dataset.close()
    store = output.begin(config, config.output, _OWNED, fresh=fresh)
    names = output.write(store, [*(one for part in parts.values() for one in part.pictures), *faces])
    for name, reason in missing.items():
        logger.warning("note     %s: not available: %s", name, reason)
    found = {name: part.numbers for name, part in parts.items()}
    document = {"dataset": dataset.uri, **found, "not_available": missing, "figures": names}
    text = [f"{name}: {part.text}" for name, part in parts.items()]
    text += [f"{name}: not available: {reason}" for name, reason in missing.items()]
    return output.finish(store, document, text, names[0])


def _parts(dataset: Dataset, config: DataFiguresConfig) -> tuple[dict[str, _Part], dict[str, str]]:
    """What can be drawn, by name, and why the rest cannot."""
    parts, missing = dict[str, _Part](), dict[str, str]()
    if "overview" in config.figures:
        parts["overview"] = _overview(dataset, config.overview)
    if wanted := [name for name in config.figures if name != "overview"]:
        reason = dataset_vectors.lacking(dataset, config.vectors.column)
        if reason is None:
            vectors = dataset_vectors.read(dataset, config.vectors)
            parts |= {name: _of_vectors(name, vectors, config) for name in wanted}
        else:
            missing = dict.fromkeys(wanted, f"column {config.vectors.column}: {reason}")
    if not parts:
        raise DatasetError(f"{dataset.uri}: {next(iter(missing.values()))}")
    return parts, missing


def _overview(dataset: Dataset, config: DataOverviewConfig) -> _Part:
    found = data_overview.overview(dataset, config)
    numbers = data_overview.numbers(found)
    drawn = style.picture("overview", data_overview.draw(found, config), numbers)
    return _Part([drawn], numbers, data_overview.sentence(found))


def _of_vectors(name: FigureName, vectors: Vectors, config: DataFiguresConfig) -> _Part:
    if name == "normalisation":
        return _normalisation(vectors, config.normalisation)
    return _similarity(vectors, config.similarity)


def _normalisation(vectors: Vectors, config: NormalisationConfig) -> _Part:
    numbers = normalisation.numbers(vectors, config)
    scales = {
        kind: {name: value for name, value in found.items() if name != "dimensions"}
        for kind, found in numbers["scales"].items()
    }
    drawn = normalisation.pictures(vectors, config)
    return _Part(drawn, {**vectors.facts(), "scales": scales}, f"{vectors.place}: {normalisation.sentence(vectors)}")


def _similarity(vectors: Vectors, config: SubjectSimilarityConfig) -> _Part:
    numbers = subject_similarity.numbers(vectors, config)
    drawn = style.picture("similarity", subject_similarity.draw(vectors, config), numbers)
    told = {name: numbers[name] for name in ("centred", "pairs", "separation", "level")}
    text = subject_similarity.sentence(subject_similarity.similarity(vectors, config).separation)
    return _Part([drawn], {**vectors.facts(), **told}, f"{vectors.place}: {text}")


def _faces(dataset: Dataset, config: DataFiguresConfig) -> list[Picture]:
    return [
        Picture("contact_sheet", contact_sheet(dataset, config.preview)),
        Picture("failures", failure_gallery(dataset.failures, config.preview)),
    ]
