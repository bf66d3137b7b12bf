"""The extractor of FID (Heusel et al. 2017) and KID: Inception-v3 with the weights that others' numbers are made with.

Their file is the one pickle among the weights that mien reads: tensors alone, and only where its sum is the pinned one.
"""

import hashlib
import io
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from mien import assets
from mien.errors import AssetError
from mien.features.extractor import Provenance, check_frames
from mien.features.inception_network import DIM, inception
from mien.features.resize import resize_as_tensorflow

ASSET = "inception"
"""Name of the file in `mien.assets`."""

SIZE_PX = 299

_CLASSIFIER = {"fc.weight": [1008, DIM], "fc.bias": [1008]}
"""In the file, and not needed."""


class Inception:
    """An `Extractor` whose features are the means of the last block's maps, in float32 on every machine."""

    dim, shape, batch_size = DIM, (DIM,), 32

    def __init__(self, weights: bytes) -> None:
        """Take the bytes of the file, `assets.read(ASSET)` on the driver.

        Raises:
            AssetError: They are not those of the pinned file.
        """
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._network = load(weights).to(self._device)

    @property
    def provenance(self) -> Provenance:
        """What the features are made with."""
        (sha256,) = assets.ASSETS[ASSET].sums
        return {
            "kind": "inception",
            "model": "inception-2015-12-05",
            "weights": "pretrained",
            "sha256": sha256,
            "dtype": "float32",
            "dim": DIM,
            "size_px": SIZE_PX,
            "resize": "bilinear of TensorFlow 1",
        }

    def __call__(self, frames: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Features [N, 2048] of square RGB frames [N, H, H, 3], any number of them.

        Raises:
            ValueError: The frames have another dtype or shape.
        """
        check_frames(frames)
        features = np.empty((len(frames), DIM), np.float32)
        for start in range(0, len(frames), self.batch_size):
            part = slice(start, start + self.batch_size)
            features[part] = self._forward(torch.tensor(frames[part])).numpy(force=True)
        return features

    @torch.inference_mode()
    def _forward(self, frames: torch.Tensor) -> torch.Tensor:
        """[B, 2048] of uint8 [B, H, H, 3]; a GPU would multiply in TF32 else, with ten bits of mantissa."""
        pixels = resize_as_tensorflow(frames.to(self._device).permute(0, 3, 1, 2).float(), SIZE_PX)
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            features: torch.Tensor = self._network((pixels - 128) / 128)
        return features


def load(weights: bytes) -> nn.Module:
    """The frozen network, filled from the bytes of the file.

    Raises:
        AssetError: The bytes have another sum, hold more than tensors, or are of another network.
    """
    asset = assets.ASSETS[ASSET]
    if (found := hashlib.sha256(weights).hexdigest()) not in asset.sums:
        raise _unfit(f"sha256 is {found}, expected {' or '.join(asset.sums)}")
    try:
        state = torch.load(io.BytesIO(weights), map_location="cpu", weights_only=True)
    except Exception as error:  # noqa: BLE001  a damaged file fails in torch, in zip or in its unpickler, each its way
        raise _unfit(f"is damaged, or holds more than tensors ({type(error).__name__})") from None
    with torch.device("meta"):  # nothing is drawn that the file replaces
        network = inception()
    _check(_shapes(state), _shapes(network.state_dict()) | _CLASSIFIER)
    network.load_state_dict({name: state[name] for name in state if name not in _CLASSIFIER}, assign=True)
    return network.float().requires_grad_(False).eval()


def _shapes(state: Any) -> dict[str, list[int]]:
    tensors = state.items() if isinstance(state, Mapping) else ()
    return {str(name): [*getattr(tensor, "shape", ())] for name, tensor in tensors}


def _check(found: Mapping[str, list[int]], expected: Mapping[str, list[int]]) -> None:
    wrong = sorted(name for name in {*found, *expected} if found.get(name) != expected.get(name))
    if wrong:
        first = f"{wrong[0]} is {found.get(wrong[0], 'absent')}, expected {expected.get(wrong[0], 'no such entry')}"
        raise _unfit(f"{len(wrong)} entries are not those of the network ({first})")


def _unfit(reason: str) -> AssetError:
    return AssetError(f"{assets.ASSETS[ASSET].file}: {reason}; run `mien assets pull {ASSET}`")
