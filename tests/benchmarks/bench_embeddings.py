"""The analysis of 4,000 embeddings of 384 dimensions with 212 texts and one bridge, with and without the map.

Tells also the seconds of the processors, which a busy machine does not stretch, and the peak of the memory.
"""

import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from mien.analysis.embedding_analysis import EmbeddingAnalysisConfig, analyze
from mien.models import checkpoint
from mien.objectives.bridge import EmbeddingBridgeConfig
from mien.storage.local import LocalStore

NUM_ROWS, NUM_TEXTS, DIM = 4000, 212, 384


def write_inputs(folder: Path) -> dict[str, object]:
    """Rows that are their text, an offset and noise; a bridge with random weights costs what a trained one does."""
    rng = np.random.default_rng(0)
    text, answer = rng.normal(size=(NUM_TEXTS, DIM)).astype(np.float32), rng.integers(0, NUM_TEXTS, NUM_ROWS)
    rows = text[answer] + 2.5 * rng.normal(size=(NUM_ROWS, DIM)) + 1.5 * rng.normal(size=DIM)
    names = np.array([f"class {number}" for number in range(NUM_TEXTS)])
    np.savez(folder / "visual.npz", embeddings=rows.astype(np.float32), labels=names[answer])
    np.savez(folder / "text.npz", embeddings=text, names=names)
    bridge = EmbeddingBridgeConfig.parse({"network": {"embed_dim": DIM}}, "bench").build()
    bridge.set_mean(functional.normalize(torch.from_numpy(text)).mean(0))
    facts = {"objective": bridge.config.dump()}
    checkpoint.write(LocalStore(folder / "run"), 0, {checkpoint.MODEL: bridge.state_dict()}, facts)
    files = {name: str(folder / f"{name}.npz") for name in ("visual", "text")}
    return {**files, "bridges": [str(folder / "run")]}


def run() -> Iterator[dict[str, Any]]:
    """Seconds of wall clock of both."""
    with tempfile.TemporaryDirectory() as place:
        given = write_inputs(Path(place))
        for name, bound_s, more in (("without_map", 20.0, {"tsne": "skip"}), ("with_map", 90.0, {})):
            config = EmbeddingAnalysisConfig.parse({**given, **more}, "bench")
            started, before = time.perf_counter(), time.process_time()
            analyze(config, LocalStore(Path(place) / name))
            wall_s, cpu_s = time.perf_counter() - started, time.process_time() - before
            peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            print(f"embeddings: {name}: {cpu_s:.1f} s of the processors, peak {peak_mb:.0f} MB", file=sys.stderr)
            yield {
                "bench": f"embeddings.{name}",
                "ratio": wall_s,
                "bound": bound_s,
                "better": "lower",
                "ours": wall_s,
                "other": 1.0,
                "unit": "s",
            }
