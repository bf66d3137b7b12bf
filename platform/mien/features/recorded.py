"""The frozen network that made some tokens, from what a dataset or a checkpoint says of them."""

from collections.abc import Mapping
from typing import Any

from mien.config import Config, differing_keys
from mien.errors import CheckpointError, ConfigError, PreflightError
from mien.features.registry import ExtractorConfig, Resolved, resolve
from mien.models.checkpoint import Checkpoint

_GIVEN = ("kind", "model", "weights", "seed", "size_px", "output")
"""What a record says of a network that its config asks for."""


class _Recorded(Config):
    """What a checkpoint says of its tokens."""

    extractor: ExtractorConfig
    """The frozen network."""


def provenance_of(features: Mapping[str, Any]) -> dict[str, Any]:
    """What must be equal for tokens to mean the same."""
    return {key: features.get(key) for key in ("kind", "model", "weights", "seed", "sha256", "size_px", "output")}


def differing(made_by: Mapping[str, Any], backbone: Resolved) -> list[str]:
    """Keys in which the network of a record is another one; empty if its tokens mean the same."""
    return differing_keys(provenance_of(made_by), provenance_of(dict(backbone.provenance)))


def backbone_of(found: Checkpoint) -> Resolved:
    """The frozen network that made the tokens of a run, its files found on this machine.

    Raises:
        CheckpointError: The record does not say which it was.
        PreflightError: Its files cannot be had, or are others by now.
    """
    said = dict(found.facts.get("tokens") or {})
    given = {key: said[key] for key in _GIVEN if key in said} | {"revision": said.get("revision") or "main"}
    try:
        config = _Recorded.parse({"extractor": given}, found.uri).extractor
    except ConfigError as error:
        raise CheckpointError(f"{error}; its record does not tell which network made its tokens") from None
    resolved = resolve(config)
    if keys := differing(said, resolved):
        raise PreflightError(
            f"{found.uri}: its tokens were made by another {config.model} ({', '.join(keys)} differ); put the files "
            "back that it was trained with"
        )
    return resolved
