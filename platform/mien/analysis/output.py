"""The output of an analysis: claimed by its config, started over when asked to, and the one result document."""

import json
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from mien.analysis import style
from mien.analysis.style import Picture
from mien.config import Config
from mien.errors import ConfigError, StorageError
from mien.log import logger
from mien.storage.claim import CONFIG, claim
from mien.storage.uri import Store, open_store

RESULT = "analysis.json"
"""What was found, written last."""


class AnalysisReport(NamedTuple):
    """What an analysis left."""

    path: str
    document: dict[str, Any]
    """All that was found, as in analysis.json."""
    text: str
    """The same, for a person."""
    see: str
    """What to look at first."""
    command: str = ""
    """What comes next, where that is more than to look."""

    @property
    def following(self) -> str:
        """The next step, in words."""
        return self.command or f"see {self.see}"

    def to_json(self) -> dict[str, Any]:
        """Plain values for `--json`."""
        return {"path": self.path, **self.document}


def begin(config: Config, place: str, owned: Sequence[str], *, fresh: bool, free: Sequence[str] = ("output",)) -> Store:
    """Take an output for a config, or go on with the same one.

    Args:
        config: What is asked for.
        place: The output.
        owned: How names of what this kind of analysis makes begin.
        fresh: Delete what is there first.
        free: Keys of the config that decide nothing of what is made.

    Raises:
        RefusedError: It was made with another config, or holds something else.
        StorageError: It cannot be written.
    """
    store = open_store(place)
    if fresh:
        _remove(store, config, owned)
    claim(store, config, lambda one: one.model_dump(mode="json", exclude={*free}), "such analysis")
    return store


def write(store: Store, pictures: Iterable[Picture]) -> list[str]:
    """Write pictures and the numbers behind them; returns the names of the PNGs.

    Raises:
        StorageError: A file cannot be written.
    """
    names = []
    for one in pictures:
        style.write(store, one)
        names.append(f"{one.name}.png")
        logger.info("figure   %s/%s.png", store.uri, one.name)
    return names


def finish(store: Store, document: dict[str, Any], text: Sequence[str], see: str) -> AnalysisReport:
    """Write the result document.

    Raises:
        StorageError: It cannot be written.
    """
    store.replace(RESULT, json.dumps(document, indent=1, allow_nan=False).encode())
    return AnalysisReport(store.uri, document, "\n".join(text), f"{store.uri}/{see}")


def _remove(store: Store, config: Config, owned: Sequence[str]) -> None:
    """Delete an earlier analysis of this kind; what is not its own stays, and so does an output of something else."""
    try:
        type(config).load(store.fetch(CONFIG))
    except (StorageError, ConfigError):  # nothing, or something else, which the claim will refuse
        return
    for prefix in (*owned, RESULT, CONFIG):
        for entry in list(store.list(prefix)):
            store.delete(entry.name)
