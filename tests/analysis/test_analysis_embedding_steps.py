"""Each step is done when its files are there."""

from pathlib import Path

from embedding_networks import items, recogniser
from mien.analysis.embedding_analysis import EmbeddingAnalysisConfig, analyze
from mien.analysis.embedding_capture import CaptureConfig, Item, capture_from
from mien.analysis.embedding_steps import steps
from mien.storage.local import LocalStore


def test_steps_are_done_one_after_the_other(tmp_path: Path) -> None:
    captured, analysed = LocalStore(tmp_path / "captured"), LocalStore(tmp_path / "out")

    def done() -> list[str]:
        return [step.name for step in steps(captured, "embeddings", analysed) if step.is_done]

    assert done() == []
    names = {"network": "embedding_networks:recogniser", "items": "embedding_networks:items"}
    texts = [f"class {number}" for number in range(4)]
    hooks = {"visual": "visual", "text": "text_adapter"}
    config = CaptureConfig.parse({**names, "hooks": hooks, "text_names": texts}, "test")
    capture_from(recogniser(), (Item(*each) for each in items([2, 1, 3, 2, 1])), config, captured)
    assert done() == ["hooks", "capture"]
    given = {"embeddings": str(tmp_path / "captured" / "embeddings.parquet"), "tsne": {"perplexity": 2, "dpi": 40}}
    analyze(EmbeddingAnalysisConfig.parse(given, "test"), analysed)
    assert done() == ["hooks", "capture", "figures", "report"]
    found = {step.name: step.what for step in steps(captured, "embeddings", analysed)}
    assert found["hooks"] == "visual → visual, text → text_adapter"
    assert found["capture"] == "5 items, 0 failed"
