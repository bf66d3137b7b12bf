"""`mien analyze capture`: embeddings out of a torch model of somebody else, and what one item of it shows."""

from mien.analysis import embedding_capture, output
from mien.analysis.embedding_capture import FREE, CaptureConfig, Item
from mien.analysis.output import AnalysisReport
from mien.errors import ConfigError


class CaptureRunConfig(CaptureConfig):
    """One run of `mien analyze capture`."""

    output: str = "captured_embeddings"
    """Where the file goes, a folder or gs://."""


def run(config: CaptureRunConfig, *, fresh: bool = False) -> AnalysisReport:
    """Write the rows of all items; what an earlier call computed is not computed again.

    Args:
        config: Which network sees which items, and what is read of it.
        fresh: Delete an earlier file first.

    Raises:
        ConfigError: A name cannot be imported, or a hook leads nowhere or to something else than rows.
        DatasetError: No item gave a visual embedding.
        TooManyFailures: More items failed than may.
        RefusedError: The output was made with another config.
        StorageError: The file cannot be written.
    """
    network, items = embedding_capture.opened(config)
    store = output.begin(config, config.output, (f"{config.name}.",), fresh=fresh, free=("output", *FREE))
    found = embedding_capture.capture_from(network, items, config, store)
    said = [
        f"items: {found.num_items}, of which {found.num_failed} failed and {found.num_empty} gave no row",
        f"rows: {found.num_rows}",
    ]
    report = output.finish(store, found._asdict(), said, found.name)
    return report._replace(command=f"mien analyze embeddings embeddings={report.see} output=FIGURES")


def check(config: CaptureRunConfig) -> list[str]:
    """What the hooks see of the first item, line by line; nothing is written.

    Raises:
        ConfigError: A name cannot be imported, there is no item, or a hook leads to no rows.
    """
    network, items = embedding_capture.opened(config)
    first = next(items, None)
    if first is None:
        raise ConfigError(f"items: {config.items} gives none; see item_arguments")
    return embedding_capture.check(network, Item(*first), config)
