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


@dataclass(frozen=True)
class Family:
    """What the models of one kind have in common."""

    network: str
    """Class in transformers."""
    model_types: tuple[str, ...]
    """Values of `model_type` in config.json that fit."""
    mean: tuple[float, ...]
    std: tuple[float, ...]
    """Normalisation of RGB in 0..1 where a model's folder has no preprocessor_config.json."""
    resize: Literal["bilinear", "bicubic"]
    """Interpolation, with antialiasing, of the image processor in transformers."""
    defaults: Mapping[str, int]
    """What transformers assumes where config.json is silent."""
    known: Mapping[str, Mapping[str, int]]
    """Sizes of well-known models, so that random weights need no network."""
    options: Mapping[str, bool] = field(default_factory=dict)
    """Further arguments of the class."""


class BackboneConfig(Config):
    """Fields of every backbone. A subclass names its defaults and what its network is called."""

    model: str
    """Name on the hub (owner/name), or a local folder with config.json and model.safetensors."""
    revision: str = "main"
    """Branch, tag or commit on the hub; the commit it stands for is recorded. A folder has none."""
    weights: Literal["pretrained", "random"] = "pretrained"
    """`random` draws the weights from `seed`: the pipeline runs, the features mean nothing."""
    seed: int = Field(0, ge=0, lt=2**63)
    """Seed of random weights."""
    output: Literal["cls", "mean", "patch"] = "cls"
    """Per frame: the class token [D], the mean of the patch tokens [D], or the patch tokens [P, D], rows first."""
    size_px: int = Field(224, ge=8, le=2048)
    """Side of the square the network sees, a multiple of its patch; crops of another size are resized."""
    batch_size: int = Field(32, ge=1, le=4096)
    """Frames per forward pass. On a CPU it matters little; at 224 px a large GPU needs 64 and more to be busy."""
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    """Of the network; features are float32. `auto` is bfloat16 where the GPU or CPU computes in it, else float32."""

    family: ClassVar[Family]

    def tokens(self, network: Any, pixels: "torch.Tensor") -> "torch.Tensor":
        """Tokens after the network's last layer norm, class token first: [B, 1 + P, D] of pixels [B, 3, size, size]."""
        raise NotImplementedError


@dataclass(frozen=True)
class Resolved:
    """A backbone whose files were found and checked; small, and all a worker needs besides the weights."""

    config: BackboneConfig
    architecture: dict[str, Any]
    folder: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    provenance: Provenance
    """What decides the features; the dtype is missing while it is `auto`, which each worker's machine decides."""

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


def resolve(config: BackboneConfig) -> Resolved:
    """Find and check the files of a backbone, in seconds and without loading it; the hub is asked here or never.

    Raises:
        AssetError: The weights cannot be had, are damaged, or are those of another kind of network.
        ConfigError: The size does not fit the patches, or random weights of an unknown architecture are asked for.
    """
    if config.weights == "random":
        architecture, snapshot, sha256 = _known_architecture(config), None, ""
        logger.warning(
            "%s: RANDOM weights (seed %d): the features mean nothing, they only exercise the pipeline",
            config.model,
            config.seed,
        )
    else:
        snapshot = weights.find(config.model, config.revision)
        architecture = _read_architecture(config, snapshot.folder)
        sha256 = weights.checked_sha256(snapshot.folder / weights.WEIGHTS)
    _check_size(config, architecture["patch_size"])
    mean, std = _normalisation(config, snapshot.folder if snapshot else None)
    provenance: Provenance = {
        **config.model_dump(include={"kind", "model", "weights", "output", "size_px"}),
        "revision": snapshot.revision if snapshot else "",
        "sha256": sha256,
        "dim": int(architecture["hidden_size"]),
        "resize": config.family.resize,
        "mean": list(mean),
        "std": list(std),
    }
    if config.weights == "random":
        provenance["seed"] = config.seed
    resolved = Resolved(config, architecture, str(snapshot.folder) if snapshot else "", mean, std, provenance)
    return resolved if config.dtype == "auto" else resolved.with_dtype(config.dtype)


def _known_architecture(config: BackboneConfig) -> dict[str, Any]:
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


def _read_architecture(config: BackboneConfig, folder: Path) -> dict[str, Any]:
    """config.json of a model; of CLIP, whose file describes text and vision, the vision part."""
    path = folder / weights.ARCHITECTURE
    values = weights.read_json(path)
    if values.get("model_type") not in config.family.model_types:
        raise AssetError(
            f"{path}: is a {values.get('model_type')!r} model, not one of {', '.join(config.family.model_types)}; "
            "set features.kind to the kind it is, or features.model to another model"
        )
    if "quantization_config" in values:
        raise AssetError(f"{path}: is a quantised model, which is not supported; take the one it was made from")
    sizes = values.get("vision_config", values)
    if not isinstance(sizes, dict):
        raise AssetError(f"{path}: vision_config is {sizes!r:.80}, not an object; fetch the model again")
    # An attention implementation named in the file can be a program on the hub.
    sizes = {key: value for key, value in sizes.items() if "attn_implementation" not in key}
    architecture = {**config.family.defaults, **sizes}
    for key in ("hidden_size", "patch_size"):
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
