"""The kinds of export, and the one that is asked for."""

from collections.abc import Iterable

from mien.config import COMMAND_LINE, assign, parse_override
from mien.datasets.export.clips import ClipsConfig
from mien.datasets.export.hf import HfConfig
from mien.datasets.export.kind import Kind
from mien.datasets.export.lerobot import LerobotConfig
from mien.datasets.export.openface import OpenfaceConfig
from mien.datasets.export.webdataset import WebdatasetConfig
from mien.errors import ConfigError

KINDS: dict[str, type[ClipsConfig | LerobotConfig | WebdatasetConfig | HfConfig | OpenfaceConfig]] = {
    "clips": ClipsConfig,
    "lerobot": LerobotConfig,
    "webdataset": WebdatasetConfig,
    "hf": HfConfig,
    "openface": OpenfaceConfig,
}
"""To add a kind: one file like `openface.py`, its name here, and its test."""


def read_kind(name: str, overrides: Iterable[str] = ()) -> Kind:
    """The config of a kind from its name and `key.path=value` texts.

    Raises:
        ConfigError: There is no such kind, or a key or value does not fit.
    """
    if name not in KINDS:
        raise ConfigError(f"{name!r}: is no kind of export; the kinds are {', '.join(KINDS)}")
    values = dict[str, object]()
    for text in overrides:
        key, value = parse_override(text)
        if key == "kind":
            raise ConfigError(f"kind={value}: the kind is given by its name alone, here {name}")
        assign(values, key, text.partition("=")[2] if key == "subject" else value)  # 007 is a name, no number
    return KINDS[name].parse(values, COMMAND_LINE)
