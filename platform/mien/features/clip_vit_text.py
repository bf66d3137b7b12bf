"""The text tower of CLIP (Radford et al. 2021), and the projections to the space that images and texts share.

An image's embedding there is the projection of the class token that `clip_vit` gives (`output=cls`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from pydantic import Field

from mien.errors import AssetError
from mien.features import weights
from mien.features.backbone import Family, Frozen, FrozenConfig, Resolved, resolve_frozen

if TYPE_CHECKING:
    from tokenizers import Tokenizer

_SIZES = {"hidden_size": 512, "num_hidden_layers": 12, "num_attention_heads": 8, "intermediate_size": 2048}
_VOCABULARY = {"vocab_size": 49408, "bos_token_id": 49406, "eos_token_id": 49407}
_PROJECTION = "visual_projection.weight"
_OLD_END = 2
"""What old configs of CLIP say is the end of a text: transformers then takes the largest token for it."""
_MAX_TOKENIZER_BYTES = 100_000_000
_BEGIN, _END = "<|startoftext|>", "<|endoftext|>"


class ClipVitTextConfig(FrozenConfig):
    """CLIP's transformer of texts with its projection to the space shared with images."""

    kind: Literal["clip_vit_text"] = "clip_vit_text"
    """Kind of network."""
    model: str = "openai/clip-vit-base-patch16"
    """Name on the hub (owner/name), or a local folder with config.json, model.safetensors and tokenizer.json."""
    batch_size: int = Field(64, ge=1, le=4096)
    """Texts per forward pass."""

    family = Family(
        network="CLIPTextModelWithProjection",
        model_types=("clip", "clip_text_model"),
        section="text_config",
        defaults={"hidden_size": 512, "projection_dim": 512, "max_position_embeddings": 77, "vocab_size": 49408},
        known={
            "openai/clip-vit-base-patch16": {**_SIZES, **_VOCABULARY},
            "openai/clip-vit-base-patch32": {**_SIZES, **_VOCABULARY},
        },
    )


@dataclass(frozen=True, kw_only=True)
class ResolvedText(Frozen):
    """A text tower whose files were found and checked."""

    config: ClipVitTextConfig

    @property
    def dim(self) -> int:
        """Of the shared space."""
        return int(self.architecture["projection_dim"])


class Texts(NamedTuple):
    """What texts became."""

    values: npt.NDArray[np.float32]
    """In the shared space, their length included [n, d]."""
    num_cut: int
    """Texts whose end was left out: the network reads no more than 77 tokens."""


def resolve_text(config: ClipVitTextConfig) -> ResolvedText:
    """Find and check the files of a text tower, without loading it; the hub is asked here or never.

    Raises:
        AssetError: Weights or tokenizer cannot be had, are damaged, or are those of another kind of network.
        ConfigError: Random weights of an unknown architecture are asked for.
    """
    found = resolve_frozen(config, (weights.TOKENIZER,))
    architecture = found.architecture
    if not found.folder:
        num = architecture["vocab_size"]
        architecture = {**architecture, "bos_token_id": num - 2, "eos_token_id": num - 1}
    elif not (Path(found.folder) / weights.TOKENIZER).is_file():
        raise AssetError(f"{found.folder}: has no {weights.TOKENIZER}, so texts cannot be read; save it with the model")
    provenance = {**found.provenance, "dim": int(architecture["projection_dim"])}
    return ResolvedText(config=config, architecture=architecture, folder=found.folder, provenance=provenance)


class TextTower:
    """Frozen, on the CPU and in float32: texts are few and short."""

    def __init__(self, resolved: ResolvedText) -> None:
        """Load what was resolved, without any request to the network.

        Raises:
            AssetError: The weights are not those that were resolved, do not fit, or the tokenizer is damaged.
        """
        from mien.features.network import load

        self._resolved = resolved
        self._network: Any = load(resolved).requires_grad_(False).eval()
        self._tokenizer = _tokenizer(resolved)

    def __call__(self, texts: Sequence[str]) -> Texts:
        """Embeddings of texts, any number of them."""
        read = self._tokenizer.encode_batch([*texts])
        size = self._resolved.config.batch_size
        parts = [self._embedded([one.ids for one in read[at : at + size]]) for at in range(0, len(read), size)]
        values = np.concatenate([np.empty((0, self._resolved.dim), np.float32), *parts])
        return Texts(values, sum(bool(one.overflowing) for one in read))

    def _embedded(self, ids: Sequence[Sequence[int]]) -> npt.NDArray[np.float32]:
        """[b, d]. Rows are filled up with their last token, which nothing before it sees: attention is causal."""
        import torch

        longest = max(map(len, ids))
        filled = torch.tensor([[*row, *[row[-1]] * (longest - len(row))] for row in ids])
        with torch.inference_mode():
            return np.asarray(self._network(filled).text_embeds.numpy())


def visual_projection(resolved: Resolved, dim: int) -> npt.NDArray[np.float32]:
    """Projection [dim, hidden] of a class token of `clip_vit` to the shared space; drawn by the seed of random weights.

    Raises:
        AssetError: The model has none.
    """
    if resolved.config.weights == "random":
        drawn = np.random.default_rng(resolved.config.seed).normal(size=(dim, resolved.dim))
        return np.asarray(drawn / np.sqrt(resolved.dim), np.float32)
    from safetensors import safe_open

    path = Path(resolved.folder) / weights.WEIGHTS
    with safe_open(path, framework="pt") as file:
        if _PROJECTION not in file.keys():  # noqa: SIM118  it is no mapping
            raise AssetError(f"{path}: has no {_PROJECTION}: it is the vision tower alone; give the whole CLIP")
        found = file.get_tensor(_PROJECTION)
    if [*found.shape] != [dim, resolved.dim]:
        shapes = f"{[*found.shape]}, not {[dim, resolved.dim]}"
        raise AssetError(f"{path}: {_PROJECTION} is {shapes}; fetch the model again")
    return np.asarray(found.float().numpy())


def _tokenizer(resolved: ResolvedText) -> "Tokenizer":
    """Reads no more tokens than the network has places for, begin and end included."""
    found = _own_tokenizer(Path(resolved.folder) / weights.TOKENIZER) if resolved.folder else _bytes(resolved)
    architecture, place = resolved.architecture, resolved.folder or resolved.config.model
    if max(found.get_vocab().values()) >= architecture["vocab_size"]:
        raise AssetError(f"{place}: its tokenizer has more tokens than the network; give the one of this model")
    found.enable_truncation(architecture["max_position_embeddings"])
    found.no_padding()
    end = architecture.get("eos_token_id", _VOCABULARY["eos_token_id"])
    if end != _OLD_END and end not in found.encode("a").ids:
        raise AssetError(f"{place}: its tokenizer ends no text with token {end}; give the one of this model")
    return found


def _own_tokenizer(path: Path) -> "Tokenizer":
    from tokenizers import Tokenizer

    try:
        if path.stat().st_size > _MAX_TOKENIZER_BYTES:
            raise ValueError(f"it is larger than {_MAX_TOKENIZER_BYTES} bytes")
        return Tokenizer.from_file(str(path))
    except Exception as error:  # noqa: BLE001  the errors of the library have no other base
        raise AssetError(f"{path}: is no tokenizer: {error}; fetch the model again") from None


def _bytes(resolved: ResolvedText) -> "Tokenizer":
    """CLIP's tokenizer before anything was merged: single bytes, for random weights, which mean nothing anyhow."""
    from tokenizers import pre_tokenizers
    from transformers import CLIPTokenizer

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    symbols = [*alphabet, *(f"{char}</w>" for char in alphabet)]
    ends = {_BEGIN: resolved.architecture["bos_token_id"], _END: resolved.architecture["eos_token_id"]}
    vocabulary = {symbol: number for number, symbol in enumerate(symbols)} | ends
    found: Tokenizer = CLIPTokenizer(vocab=vocabulary, merges=[]).backend_tokenizer
    return found
