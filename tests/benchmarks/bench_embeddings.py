"""The analysis of 4,000 embeddings of 384 dimensions with 212 texts and one bridge, with and without the map.

Takes seconds of wall clock and of the processors, which a busy machine does not stretch, and the peak of the memory.
"""

import json
import resource
import sys
import tempfile
import time
from pathlib import Path

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


def main() -> None:
    """One JSON document for each."""
    with tempfile.TemporaryDirectory() as place:
        given = write_inputs(Path(place))
        for name, more in (("without map", {"tsne": "skip"}), ("with map", {})):
            config = EmbeddingAnalysisConfig.parse({**given, **more}, "bench")
            started, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF)
            analyze(config, LocalStore(Path(place) / name))
            after = resource.getrusage(resource.RUSAGE_SELF)
            found = {
                "bench": "embeddings",
                "case": name,
                "wall_s": round(time.perf_counter() - started, 1),
                "cpu_s": round(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, 1),
                "peak_mb": round(after.ru_maxrss / 1024),
                "threads": torch.get_num_threads(),
            }
            print(json.dumps(found), flush=True)
            print(f"embeddings: {name}: {found['wall_s']} s", file=sys.stderr)


if __name__ == "__main__":
    main()
