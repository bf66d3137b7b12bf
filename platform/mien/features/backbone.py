"""What the backbones have in common: their config, and how a config becomes files, sums and shapes on the driver.

Light on purpose: neither torch nor transformers is imported here; `network` does that, in the workers.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from mien.config import Config
from mien.errors import AssetError, ConfigError
from mien.features import weights
from mien.features.extractor import Provenance
from mien.log import logger

if TYPE_CHECKING:
    import torch

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True, kw_only=True)
class Family:
    """What the networks of one kind have in common."""

    network: str
    """Class in transformers."""
    model_types: tuple[str, ...]
    """Values of `model_type` in config.json that fit."""
    section: str = ""
    """Part of config.json that tells of the network, where it tells of several."""
    defaults: Mapping[str, int]
    """What transformers assumes where config.json is silent."""
    known: Mapping[str, Mapping[str, int]]
    """Sizes of well-known models, so that random weights need no network."""
    options: Mapping[str, bool] = field(default_factory=dict)
    """Further arguments of the class."""


@dataclass(frozen=True, kw_only=True)
class ImageFamily(Family):
    """The same of networks that see images."""

    mean: tuple[float, ...]
    std: tuple[float, ...]
    """Normalisation of RGB in 0..1 where a model's folder has no preprocessor_config.json."""
    resize: Literal["bilinear", "bicubic"]
    """Interpolation, with antialiasing, of the image processor in transformers."""


class FrozenConfig(Config):
    """Fields of every network that does not learn here. A subclass names its defaults and its family."""

    model: str
    """Name on the hub (owner/name), or a local folder with config.json and model.safetensors."""
    revision: str = "main"
    """Branch, tag or commit on the hub; the commit it stands for is recorded. A folder has none."""
    weights: Literal["pretrained", "random"] = "pretrained"
    """`random` draws the weights from `seed`: the pipeline runs, the features mean nothing."""
    seed: int = Field(0, ge=0, lt=2**63)
    """Seed of random weights."""

    family: ClassVar[Family]


class BackboneConfig(FrozenConfig):
    """Fields of every backbone. A subclass names its defaults and what its network is called."""

    output: Literal["cls", "mean", "patch"] = "cls"
    """Per frame: the class token [D], the mean of the patch tokens [D], or the patch tokens [P, D], rows first."""
    size_px: int = Field(224, ge=8, le=2048)
    """Side of the square the network sees, a multiple of its patch; crops of another size are resized."""
    batch_size: int = Field(32, ge=1, le=4096)
    """Frames per forward pass. On a CPU it matters little; at 224 px a large GPU needs 64 and more to be busy."""
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    """Of the network; features are float32. `auto` is bfloat16 where the GPU or CPU computes in it, else float32."""

    family: ClassVar[ImageFamily]

    def tokens(self, network: Any, pixels: "torch.Tensor") -> "torch.Tensor":
        """Tokens after the network's last layer norm, class token first: [B, 1 + P, D] of pixels [B, 3, size, size]."""
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class Frozen:
    """A network whose files were found and checked; small, and all a worker needs besides the weights."""

    config: FrozenConfig
    architecture: dict[str, Any]
    folder: str
    """Empty for random weights."""
    provenance: Provenance
    """What decides the features; the dtype is missing while it is `auto`, which each worker's machine decides."""

    def read_weights(self) -> bytes:
        """The weights file, to hand to workers that do not see the driver's disk; empty for random weights.

        Raises:
            AssetError: It cannot be read.
        """
        if self.config.weights == "random":
            return b""
        path = Path(self.folder) / weights.WEIGHTS
        try:
            return path.read_bytes()
        except OSError as error:
            raise AssetError(
                f"{path}: cannot be read on this machine: {error.strerror}; "
                "put the model on a disk that all machines share, or hand its bytes to the workers"
            ) from None


@dataclass(frozen=True, kw_only=True)
class Resolved(Frozen):
    """A backbone."""

    config: BackboneConfig
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def with_dtype(self, dtype: Literal["float32", "bfloat16"]) -> "Resolved":
        """The same for workers of all machines, where `auto` could mix dtypes in one dataset."""
        config = self.config.model_copy(update={"dtype": dtype})
        return replace(self, config=config, provenance={**self.provenance, "dtype": dtype})

    @property
    def dim(self) -> int:
        """Length D of a token."""
        return int(self.architecture["hidden_size"])

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the feature of one frame: (D,), or (P, D) for patch tokens."""
        num_patches = (self.config.size_px // self.architecture["patch_size"]) ** 2
        return (num_patches, self.dim) if self.config.output == "patch" else (self.dim,)


def resolve(config: BackboneConfig) -> Resolved:
    """Find and check the files of a backbone, in seconds and without loading it; the hub is asked here or never.

    Raises:
        AssetError: The weights cannot be had, are damaged, or are those of another kind of network.
        ConfigError: The size does not fit the patches, or random weights of an unknown architecture are asked for.
    """
    found = resolve_frozen(config)
    _check_size(config, found.architecture["patch_size"])
    mean, std = _normalisation(config, Path(found.folder) if found.folder else None)
    provenance: Provenance = {
        **found.provenance,
        **config.model_dump(include={"output", "size_px"}),
        "dim": int(found.architecture["hidden_size"]),
        "resize": config.family.resize,
        "mean": list(mean),
        "std": list(std),
    }
    resolved = Resolved(
        config=config,
        architecture=found.architecture,
        folder=found.folder,
        provenance=provenance,
        mean=mean,
        std=std,
    )
    return resolved if config.dtype == "auto" else resolved.with_dtype(config.dtype)


def resolve_frozen(config: FrozenConfig, more: tuple[str, ...] = ()) -> Frozen:
    """The same of what all frozen networks have in common: architecture, files, kind, model, revision and sum.

    Args:
        config: Which network.
        more: Files that it needs besides config and weights.

    Raises:
        AssetError: The weights cannot be had, are damaged, or are those of another kind of network.
        ConfigError: Random weights of an unknown architecture are asked for.
    """
    provenance: Provenance = config.model_dump(include={"kind", "model", "weights"})
    if config.weights == "random":
        logger.warning(
            "%s: RANDOM weights (seed %d): the features mean nothing, they only exercise the pipeline",
            config.model,
            config.seed,
        )
        provenance |= {"revision": "", "sha256": "", "seed": config.seed}
        return Frozen(config=config, architecture=_known_architecture(config), folder="", provenance=provenance)
    snapshot = weights.find(config.model, config.revision, more)
    architecture = _read_architecture(config, snapshot.folder)
    sha256 = weights.checked_sha256(snapshot.folder / weights.WEIGHTS)
    provenance |= {"revision": snapshot.revision, "sha256": sha256}
    return Frozen(config=config, architecture=architecture, folder=str(snapshot.folder), provenance=provenance)


def _known_architecture(config: FrozenConfig) -> dict[str, Any]:
    folder = Path(config.model).expanduser()
    if folder.is_dir():
        return _read_architecture(config, folder)
    if config.model not in config.family.known:
        known = ", ".join(config.family.known)
        raise ConfigError(
            f"features.model: the sizes of {config.model!r} are not known, so it cannot have random weights; "
            f"take one of {known}, or a folder with its config.json"
        )
    return {**config.family.defaults, **config.family.known[config.model]}


def _read_architecture(config: FrozenConfig, folder: Path) -> dict[str, Any]:
    """config.json of a model; of CLIP, whose file describes text and vision, the part of the family."""
    path = folder / weights.ARCHITECTURE
    values = weights.read_json(path)
    if values.get("model_type") not in config.family.model_types:
        raise AssetError(
            f"{path}: is a {values.get('model_type')!r} model, not one of {', '.join(config.family.model_types)}; "
            "set features.kind to the kind it is, or features.model to another model"
        )
    if "quantization_config" in values:
        raise AssetError(f"{path}: is a quantised model, which is not supported; take the one it was made from")
    sizes = values.get(config.family.section, values)
    if not isinstance(sizes, dict):
        raise AssetError(f"{path}: {config.family.section} is {sizes!r:.80}, not an object; fetch the model again")
    # An attention implementation named in the file can be a program on the hub.
    sizes = {key: value for key, value in sizes.items() if "attn_implementation" not in key}
    architecture = {**config.family.defaults, **sizes}
    for key in config.family.defaults:
        if not isinstance(architecture[key], int) or architecture[key] < 1:
            raise AssetError(f"{path}: {key} is {architecture[key]!r}, not a positive whole number; fetch it again")
    return architecture


def _check_size(config: BackboneConfig, patch_px: int) -> None:
    if config.size_px % patch_px:
        below = config.size_px // patch_px * patch_px
        fitting = f"{below} or {below + patch_px}" if below else f"{patch_px}"
        raise ConfigError(
            f"features.size_px: {config.size_px} is not a multiple of the {patch_px} px patches of {config.model}; "
            f"use {fitting}"
        )


def _normalisation(config: BackboneConfig, folder: Path | None) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and std the model was trained with, in RGB: its preprocessor_config.json knows, else those of its kind."""
    path = folder / weights.PREPROCESSOR if folder else None
    if not path or not path.is_file():
        return config.family.mean, config.family.std
    values = weights.read_json(path)
    if values.get("do_normalize") is False:
        return (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
    mean, std = values.get("image_mean", config.family.mean), values.get("image_std", config.family.std)
    for name, value in (("image_mean", mean), ("image_std", std)):
        if not _is_rgb(value):
            raise AssetError(f"{path}: {name} is {value!r}, not three numbers; fetch the model again")
    return tuple(mean), tuple(std)


def _is_rgb(values: object) -> bool:
    return (
        isinstance(values, list | tuple)
        and len(values) == 3
        and all(isinstance(value, int | float) for value in values)
    )
