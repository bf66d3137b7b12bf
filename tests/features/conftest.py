"""Tiny models of every kind, made by transformers itself, and a guard against requests."""

import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers

from tiny_clip import write_clip

SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "initializer_range": 0.08}
PATCH_PX = {"dinov2": 14, "vit": 8, "clip_vit": 8}

_forbidden_in: set[int] = set()


def _audit(event: str, arguments: tuple[object, ...]) -> None:
    if event in {"socket.connect", "socket.getaddrinfo"} and threading.get_ident() in _forbidden_in:
        raise AssertionError(f"a request to the network: {event} {arguments[1:]}")


sys.addaudithook(_audit)


@pytest.fixture
def no_network() -> Iterator[None]:
    """A request from the test's thread fails the test, also one that would be refused."""
    _forbidden_in.add(threading.get_ident())
    yield
    _forbidden_in.discard(threading.get_ident())


def _tiny(kind: str) -> torch.nn.Module:
    if kind == "dinov2":
        config = transformers.Dinov2Config(**SIZES, image_size=42, patch_size=14, layerscale_value=1.0)
        return transformers.Dinov2Model(config)
    if kind == "vit":
        config = transformers.ViTConfig(**SIZES, intermediate_size=64, image_size=32, patch_size=8)
        return transformers.ViTModel(config, add_pooling_layer=False)
    vision = {**SIZES, "intermediate_size": 64, "image_size": 32, "patch_size": 8}
    text = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}
    ids = {"vocab_size": 9, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
    return transformers.CLIPModel(transformers.CLIPConfig(vision_config=vision, text_config=text | ids))


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Kind → folder of a tiny model with random weights; CLIP with its text tower, as the hub has it."""
    folders: dict[str, Path] = {}

    def folder(kind: str) -> Path:
        if kind not in folders:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(1)
                model = _tiny(kind)
            folders[kind] = tmp_path_factory.mktemp(kind)
            model.save_pretrained(folders[kind])
        return folders[kind]

    return folder


@pytest.fixture(scope="session")
def clip_with_texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a tiny CLIP that reads texts."""
    return write_clip(tmp_path_factory.mktemp("clip"))


@pytest.fixture(scope="session")
def frames() -> np.ndarray:
    """Five different smooth images with detail, uint8 [5, 48, 48, 3]."""
    generator = np.random.default_rng(0)
    coarse = torch.from_numpy(generator.uniform(0, 255, (5, 3, 6, 6)))
    smooth = torch.nn.functional.interpolate(coarse, (48, 48), mode="bilinear").permute(0, 2, 3, 1).numpy()
    return (smooth + generator.normal(0, 12, smooth.shape)).clip(0, 255).astype(np.uint8)
