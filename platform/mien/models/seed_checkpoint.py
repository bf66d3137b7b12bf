"""Checkpoints of the first tools (`*.pt`), whose names of parameters are known only in part.

The key that holds the weights tells which network it is. Weights find their place by structure: the layers of a stack
by the names that torch gives them, all else by shape and order.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mien.errors import CheckpointError, ConfigError
from mien.models.expression_transformer import ExpressionTransformerConfig
from mien.models.predictor import PredictorConfig
from mien.models.reconstruction import ReconstructionConfig

NetworkConfig = ExpressionTransformerConfig | ReconstructionConfig | PredictorConfig
State = Mapping[str, Tensor]

_JOINT = "joint_model_state_dict"
_LAYER = re.compile(r"(.*?)layers\.(\d+\.(?:self_attn|multihead_attn|linear\d|norm\d)\..+)")
_EXPRESSIONS, _SECTIONS = "expression_embed", ("validation_outputs", "last_batch")
"""What a trainer kept, and where."""
_LEAVES = {"weight", "bias", "running_mean", "running_var", "num_batches_tracked"}
_SHOWN = 4
"""Parameters that a message names of each sort."""


@dataclass(frozen=True)
class _Network:
    """Where a checkpoint tells of a network."""

    config: type[NetworkConfig]
    section: str
    length: str
    """Field of the config that is the length of the one parameter of shape [1, length, d]."""


_NETWORKS = {
    "expression_transformer": _Network(ExpressionTransformerConfig, "expression_model", "num_patches"),
    "expression_reconstruction": _Network(ReconstructionConfig, "expression_reconstruction", "num_patches"),
    "transformer_decoder": _Network(PredictorConfig, "transformer_decoder", "max_length"),
}
_RENAMED = {"max_sequence_length": "max_length"}


@dataclass(frozen=True)
class SeedCheckpoint:
    """What a file holds, built and filled."""

    networks: dict[str, nn.Module]
    """By the names that objectives give them, such as expression_transformer."""
    epoch: int
    """Of the training; 0 where the file is silent."""
    num_steps: int
    """Of the training; 0 where the file is silent."""


def read(path: Path) -> SeedCheckpoint:
    """Read a checkpoint, joint or of one network, without running anything that it says.

    What `config` does not tell is seen from shapes (hidden width, patches, length), or is as in the defaults here.

    Raises:
        CheckpointError: It is absent, damaged, needs code to be read, holds no known network, or one of another shape.
    """
    content = _content(path)
    states = {name: state for name, state in _states(path, content).items() if state}
    config = content.get("config")
    sections = config if isinstance(config, dict) else {}
    networks = {name: _network(path, name, state, sections) for name, state in states.items()}
    return SeedCheckpoint(networks, *(_whole(content.get(key)) for key in ("epoch", "total_steps")))


def expressions(path: Path) -> tuple[str, Tensor]:
    """Expressions that a trainer left beside the weights, [T, D] or [B, T, D], and the key that they stand under.

    Raises:
        CheckpointError: It is absent, damaged, needs code to be read, or holds none; the keys that it has are told.
    """
    content = _content(path)
    for section in _SECTIONS:
        found = content.get(section)
        if isinstance(found, dict) and isinstance(found.get(_EXPRESSIONS), Tensor):
            return f"{section}.{_EXPRESSIONS}", found[_EXPRESSIONS]
    states = [value for value in content.values() if isinstance(value, dict)]
    weights = [str(key) for state in states for key in state if "expression" in str(key)]
    has = {"keys": [*map(str, content)], "keys of its state": weights}
    has |= {f"keys of {name}": [*map(str, content[name])] for name in _SECTIONS if isinstance(content.get(name), dict)}
    told = "; ".join(f"{what}: {_listed(names)}" for what, names in has.items() if names)
    wanted = " or ".join(f"{section}.{_EXPRESSIONS}" for section in _SECTIONS)
    raise CheckpointError(f"{path}: holds no expressions, which would be {wanted} ({told}); give a run of `mien train`")


def _content(path: Path) -> dict[str, Any]:
    try:
        file = path.open("rb")
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror}") from None
    try:
        with file:
            content = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # noqa: BLE001  a damaged file fails in torch, in zip or in its unpickler, each its way
        raise CheckpointError(
            f"{path}: is damaged, or holds more than tensors and plain values, which only code could read "
            f"({type(error).__name__}); save it anew, with state dicts alone"
        ) from None
    if not isinstance(content, dict):
        raise CheckpointError(f"{path}: holds a {type(content).__name__}; give a checkpoint of the first tools")
    return content


def _states(path: Path, content: dict[str, Any]) -> dict[str, dict[str, Tensor]]:
    """Weights by network, without the prefixes of wrappers."""
    keys = [key for key in (_JOINT, *(f"{name}_state_dict" for name in _NETWORKS)) if key in content]
    if len(keys) != 1:
        found = ", ".join(keys) or ", ".join(map(str, list(content)[:_SHOWN])) or "nothing"
        raise CheckpointError(f"{path}: holds {found}; one of {_JOINT} or NETWORK_state_dict is needed")
    state = content[keys[0]]
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise CheckpointError(f"{path}: {keys[0]} is no mapping of names to tensors; give another checkpoint")
    bare = {str(name).removeprefix("module."): tensor for name, tensor in state.items()}
    if keys[0] != _JOINT:
        return {keys[0].removesuffix("_state_dict"): bare}
    return _parts(path, bare)


def _parts(path: Path, state: State) -> dict[str, dict[str, Tensor]]:
    """Weights of a joint model by the first part of their names."""
    parts: dict[str, dict[str, Tensor]] = defaultdict(dict)
    for name, tensor in state.items():
        network, _, rest = name.partition(".")
        parts[network][rest.removeprefix("module.")] = tensor
    unknown = sorted(parts.keys() - _NETWORKS)
    if unknown:
        raise CheckpointError(f"{path}: {_JOINT} has {', '.join(unknown[:_SHOWN])}; known are {', '.join(_NETWORKS)}")
    return dict(parts)


def _network(path: Path, name: str, state: State, sections: Mapping[str, Any]) -> nn.Module:
    known = _NETWORKS[name]
    section = sections.get(known.section)
    told = {_RENAMED.get(key, key): value for key, value in section.items()} if isinstance(section, dict) else {}
    fields = known.config.model_fields.keys() - {"kind"}
    values = _seen(state, known.length) | {key: value for key, value in told.items() if key in fields}
    try:
        config = known.config.parse(values, f"{path}: config.{known.section}")
    except ConfigError as error:
        raise CheckpointError("; ".join(str(error).splitlines())) from None
    with torch.device("meta"):  # shapes alone: nothing is allocated for a file that does not fit
        expected = config.build().state_dict()
    fitted = _fitted(f"{path}: {name}", state, expected)
    network = config.build()
    network.load_state_dict(fitted)
    return network


def _seen(state: State, length: str) -> dict[str, int]:
    """What shapes tell."""
    seen = {}
    for name, tensor in state.items():
        if name.endswith("linear1.weight"):
            seen["ff_dim"] = tensor.shape[0]
        if tensor.ndim == 3 and tensor.shape[0] == 1 < tensor.shape[1]:
            seen[length] = tensor.shape[1]
    return seen


def _fitted(origin: str, state: State, expected: State) -> dict[str, Tensor]:
    """The weights under our names.

    Raises:
        CheckpointError: Some are missing, left over, or of another shape.
    """
    ours, theirs = _places(expected), _places(state)
    fitted = {ours[place]: state[theirs[place]] for place in ours.keys() & theirs.keys()}
    differing = [name for name, tensor in fitted.items() if tensor.shape != expected[name].shape]
    problems = {
        "lacks": [_shown(ours[place], expected) for place in ours if place not in theirs],
        "has besides": [_shown(theirs[place], state) for place in theirs if place not in ours],
        "differs in": [f"{_shown(name, fitted)} for {list(expected[name].shape)}" for name in sorted(differing)],
    }
    if any(problems.values()):
        told = "; ".join(f"{what} {_listed(names)}" for what, names in problems.items() if names)
        raise CheckpointError(f"{origin} is of another architecture: {told}; correct its config, or give another file")
    return fitted


def _places(state: State) -> dict[tuple[Any, ...], str]:
    """Name of each parameter by its place in the structure, which does not depend on what attributes are called."""
    decoders = {match[1] for name in state if "multihead_attn" in name and (match := _LAYER.fullmatch(name))}
    owners: dict[str, dict[str, str]] = defaultdict(dict)
    places: dict[tuple[Any, ...], str] = {}
    for name in state:
        owner, _, leaf = name.rpartition(".")
        if match := _LAYER.fullmatch(name):
            places["decoder" if match[1] in decoders else "encoder", match[2]] = name
        elif leaf in _LEAVES:
            owners[owner][leaf] = name
        else:
            owners[name][""] = name
    count: Counter[frozenset[tuple[str, torch.Size]]] = Counter()
    for leaves in owners.values():
        kind = frozenset((leaf, state[name].shape) for leaf, name in leaves.items())
        places |= {(kind, count[kind], leaf): name for leaf, name in leaves.items()}
        count[kind] += 1
    return places


def _shown(name: str, state: State) -> str:
    return f"{name} {list(state[name].shape)}"


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def _whole(value: Any) -> int:
    return value if isinstance(value, int) else 0
