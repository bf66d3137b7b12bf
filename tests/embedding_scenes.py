"""Rows, texts and a bridge as files: known gap, known classes, and a checkpoint without a trainer."""

import functools
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mien.models import checkpoint
from mien.objectives.bridge import EmbeddingBridge
from mien.storage.local import LocalStore
from modalities import DIM, trained

NUM_ROWS, NUM_TEXTS = 150, 10
CLASSES = np.array([f"action <img src={number}>" for number in range(NUM_TEXTS)])


def embeddings(seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows [150, 32], texts [10, 32], and the text of each row: rows are their text, an offset and noise."""
    rng = np.random.default_rng(seed)
    text = rng.normal(size=(NUM_TEXTS, DIM)).astype(np.float32)
    answer = np.arange(NUM_ROWS) % NUM_TEXTS
    rows = 3 * text[answer] + 4 * rng.normal(size=DIM) + 2 * rng.normal(size=(NUM_ROWS, DIM))
    return rows.astype(np.float32), text, answer


def write_sets(folder: Path, **changed: Any) -> dict[str, str]:
    """Both files; `changed` replaces `rows`, `text`, `labels` or `names`."""
    rows, text, answer = embeddings()
    values = {"rows": rows, "text": text, "labels": CLASSES[answer], "names": CLASSES, **changed}
    images = np.array([f"image {number // 2}#{number % 2}" for number in range(len(values["rows"]))])
    np.savez(folder / "visual.npz", embeddings=values["rows"], names=images, labels=values["labels"])
    np.savez(folder / "text.npz", embeddings=values["text"], names=values["names"])
    return {"visual": str(folder / "visual.npz"), "text": str(folder / "text.npz")}


@functools.cache
def bridge_of_texts() -> EmbeddingBridge:
    """Trained on noisy copies of the texts."""
    _, text, _ = embeddings()
    copies = torch.from_numpy(np.repeat(text, 60, axis=0))
    noisy = copies + 0.3 * torch.randn(copies.shape, generator=torch.Generator().manual_seed(0))
    return trained(noisy, num_steps=300)


def write_bridge(folder: Path, bridge: EmbeddingBridge) -> str:
    """A run with one checkpoint."""
    facts = {"objective": bridge.config.dump()}
    checkpoint.write(LocalStore(folder), 300, {checkpoint.MODEL: bridge.state_dict()}, facts)
    return str(folder)
