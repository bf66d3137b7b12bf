"""Which steps from a network to a verdict are done, and what comes next."""

from typing import NamedTuple

from mien.analysis.embedding_analysis import METRICS, SUMMARY
from mien.datasets.embedding_file import provenance
from mien.storage.uri import Store


class Step(NamedTuple):
    """One of them."""

    name: str
    is_done: bool
    what: str
    """What is there, or what to do."""


def steps(captured: Store, name: str, analysed: Store) -> list[Step]:
    """In their order.

    Args:
        captured: Where the capture wrote.
        name: Of its file, without the ending.
        analysed: Where the analysis wrote.

    Raises:
        DatasetError: The file is damaged.
        StorageError: A place cannot be read.
    """
    found = {entry.name for entry in captured.list(f"{name}.")}
    written = {entry.name for entry in analysed.list()}
    is_captured = f"{name}.parquet" in found
    about = provenance(captured, f"{name}.parquet") if is_captured else {}
    hooks = ", ".join(f"{key} → {path}" for key, path in about.get("hooks", {}).items())
    counts = f"{about.get('num_items', 0)} items, {len(about.get('failures', []))} failed"
    return [
        _step("hooks", bool(found), hooks or "rows are there", "name them, and check one item"),
        _step("capture", is_captured, counts, "run it; what is computed is kept"),
        _step("figures", METRICS in written, "see README.md", f"analyse {name}.parquet"),
        _step("report", SUMMARY in written, f"read {SUMMARY}", f"analyse {name}.parquet"),
    ]


def _step(name: str, is_done: bool, what: str, otherwise: str) -> Step:
    return Step(name, is_done, what if is_done else otherwise)
