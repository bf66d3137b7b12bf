"""A backbone in memory: frozen, offline, on the GPU if there is one. Heavy imports live here."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt
import safetensors.torch
import torch
import transformers

from mien.errors import AssetError
from mien.features.backbone import Frozen, Resolved
from mien.features.extractor import Provenance, check_frames
from mien.features.resize import resize


class Network:
    """An `Extractor` whose features are a vision transformer's tokens, as they come."""

    def __init__(self, resolved: Resolved, weights: bytes | None = None):
        self._resolved = resolved
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._dtype = choose_dtype(resolved.config.dtype, self._device)
        self._network = load(resolved, weights).to(self._device, self._dtype).requires_grad_(False).eval()
        self._mean = torch.tensor(resolved.mean, device=self._device).view(1, 3, 1, 1)
        self._std = torch.tensor(resolved.std, device=self._device).view(1, 3, 1, 1)

    @property
    def dim(self) -> int:
        """Length D of a token."""
        return self._resolved.dim

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the feature of one frame: (D,), or (P, D) for patch tokens."""
        return self._resolved.shape

    @property
    def batch_size(self) -> int:
        """Frames per forward pass; more at once are split."""
        return self._resolved.config.batch_size

    @property
    def provenance(self) -> Provenance:
        """What the features are made with, the dtype of this machine included."""
        return {**self._resolved.provenance, "dtype": str(self._dtype).removeprefix("torch.")}

    def __call__(self, frames: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Features [N, *shape] of square RGB frames [N, H, H, 3], any number of them.

        Raises:
            ValueError: The frames have another dtype or shape.
        """
        check_frames(frames)
        features = np.empty((len(frames), *self.shape), np.float32)
        for start in range(0, len(frames), self.batch_size):
            part = slice(start, start + self.batch_size)
            features[part] = self._forward(torch.tensor(frames[part])).numpy(force=True)
        return features

    def positions(self) -> torch.Tensor:
        """Position embeddings of the patches at the size the network sees, rows first: float32 [P, D]."""
        size_px, architecture = self._resolved.config.size_px, self._resolved.architecture
        num_patches = (size_px // architecture["patch_size"]) ** 2
        like = torch.zeros(1, 1 + num_patches, self.dim, dtype=self._dtype, device=self._device)
        with torch.no_grad():
            whole: torch.Tensor = self._network.embeddings.interpolate_pos_encoding(like, size_px, size_px)
        return whole[0, 1:].float().cpu()

    @torch.no_grad()
    def embed(self, frames: torch.Tensor) -> torch.Tensor:
        """Features float32 [N, *shape] of frames uint8 [N, H, H, 3], both on the network's device."""
        parts = [self._computed(part) for part in torch.split(frames, self.batch_size)]
        return torch.cat(parts) if len(parts) != 1 else parts[0]

    @torch.inference_mode()
    def _forward(self, frames: torch.Tensor) -> torch.Tensor:
        return self._computed(frames)

    def _computed(self, frames: torch.Tensor) -> torch.Tensor:
        """Features [B, *shape] in float32 of frames [B, H, H, 3] in uint8."""
        config = self._resolved.config
        tokens = config.tokens(self._network, self._pixels(frames).to(self._dtype)).float()
        if config.output == "cls":
            return tokens[:, 0]
        return tokens[:, 1:].mean(dim=1) if config.output == "mean" else tokens[:, 1:]

    def _pixels(self, frames: torch.Tensor) -> torch.Tensor:
        """Normalised [B, 3, size, size] on the device."""
        config = self._resolved.config
        pixels = frames.to(self._device).permute(0, 3, 1, 2)
        if pixels.shape[-1] != config.size_px:
            pixels = resize(pixels, config.size_px, config.family.resize)
        return (pixels.float() / 255 - self._mean) / self._std


def choose_dtype(wanted: str, device: torch.device) -> torch.dtype:
    """The dtype that is asked for; `auto` is bfloat16 where the processor multiplies in it, else float32.

    With AVX512-BF16 a core computes 1.9 times as many ViT-S frames in bfloat16; processors without it emulate it.
    """
    if wanted == "auto":
        if device.type == "cuda":
            has_bfloat16 = torch.cuda.is_bf16_supported(including_emulation=False)
        else:
            capabilities = torch.cpu.get_capabilities()
            has_bfloat16 = bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))
        return torch.bfloat16 if has_bfloat16 else torch.float32
    return {"float32": torch.float32, "bfloat16": torch.bfloat16}[wanted]


def load(resolved: Frozen, weights: bytes | None = None) -> Any:
    """The network in float32, its weights those that were resolved.

    Args:
        resolved: What was found on the driver.
        weights: The weights file, where this machine does not see the driver's disk.

    Raises:
        AssetError: The weights are not those that were resolved, or do not fit the architecture.
    """
    config = resolved.config
    network_class = getattr(transformers, config.family.network)
    try:
        architecture = network_class.config_class.from_dict(resolved.architecture)
        if config.weights == "random":
            return _draw(network_class, architecture, resolved)
        content = _checked(resolved, weights)
        with _quiet():
            network, report = network_class.from_pretrained(
                None,
                config=architecture,
                state_dict=safetensors.torch.load(content),
                attn_implementation="sdpa",
                dtype=torch.float32,
                output_loading_info=True,
                local_files_only=True,
                **config.family.options,
            )
    except AssetError:
        raise
    except Exception as error:  # a stranger's config.json can fail in any way inside transformers
        raise AssetError(f"{_name(resolved)}: cannot be loaded: {error}; fetch the model again") from error
    if report["missing_keys"]:
        missing = sorted(report["missing_keys"])
        raise AssetError(
            f"{_name(resolved)}: lacks {len(missing)} weights of {config.family.network} ({missing[0]}, …); "
            "take a model of that architecture"
        )
    return network


def _draw(network_class: Any, architecture: Any, resolved: Frozen) -> Any:
    """Weights from the seed alone, the caller's random state left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(resolved.config.seed)
        return network_class(architecture, **resolved.config.family.options)


def _checked(resolved: Frozen, weights: bytes | None) -> bytes:
    """The weights file with the sum that the driver saw; on another machine another file may lie there."""
    content = resolved.read_weights() if weights is None else weights
    sha256 = hashlib.sha256(content).hexdigest()
    if sha256 != resolved.provenance["sha256"]:
        raise AssetError(
            f"{_name(resolved)}: the weights have sha256 {sha256} here, but {resolved.provenance['sha256']} "
            "where the job was started; give all machines the same files"
        )
    return content


def _name(resolved: Frozen) -> str:
    return resolved.folder or resolved.config.model


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the loading bar and the table of unused weights; what matters is checked and raised."""
    log = transformers.utils.logging
    verbosity, has_bars = log.get_verbosity(), log.is_progress_bar_enabled()
    log.set_verbosity_error()
    log.disable_progress_bar()
    try:
        yield
    finally:
        log.set_verbosity(verbosity)
        if has_bars:
            log.enable_progress_bar()
