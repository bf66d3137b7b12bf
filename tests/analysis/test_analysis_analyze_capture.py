"""A capture claims its output, grows by the same command, and says what comes next; a check writes nothing."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from embedding_networks import DIM, NUM_TEXTS, images, recogniser
from mien.analysis.analyze_capture import CaptureRunConfig, check, run
from mien.datasets.embedding_file import provenance
from mien.datasets.embeddings import ColumnsConfig, read_rows
from mien.errors import ConfigError, RefusedError, TooManyFailures
from mien.storage.local import LocalStore


def config(folder: Path, nums: list[int], **more: Any) -> CaptureRunConfig:
    values = {
        "network": "embedding_networks:recogniser",
        "items": "embedding_networks:items",
        "item_arguments": {"nums": nums},
        "hooks": {"visual": "visual", "text": "text_adapter"},
        "output": str(folder),
        **more,
    }
    return CaptureRunConfig.parse(values, "test")


def test_the_first_items_then_all_by_the_same_output(tmp_path: Path) -> None:
    nums = [2, 0, 1, 1]
    first = run(config(tmp_path, nums, num_items=2))
    assert first.document == {
        "name": "embeddings.parquet", "num_items": 2, "num_failed": 0, "num_empty": 1, "num_rows": 2 + NUM_TEXTS
    }  # fmt: skip
    found = run(config(tmp_path, nums, save_every=1, safetensors=True))
    assert found.text == f"items: 4, of which 0 failed and 1 gave no row\nrows: {4 + NUM_TEXTS}"
    assert found.following == f"mien analyze embeddings embeddings={tmp_path}/embeddings.parquet output=FIGURES"
    assert json.loads((tmp_path / "analysis.json").read_text()) == found.document
    columns = ColumnsConfig(modality_column="modality", keep="visual")
    visual = read_rows(found.see, columns).values
    assert np.array_equal(visual, read_rows(f"{tmp_path}/embeddings.safetensors", columns).values)
    network = recogniser().eval()
    expected = [network.visual(image[:num]).detach().numpy() for num, image in zip(nums, images(nums), strict=True)]
    assert np.allclose(visual, np.concatenate(expected))
    about = provenance(LocalStore(tmp_path), "embeddings.parquet")
    assert about["hooks"] == {"visual": "visual", "text": "text_adapter"}
    assert "output" not in about


def test_another_network_is_refused_and_starts_over_when_asked_to(tmp_path: Path) -> None:
    run(config(tmp_path, [1, 1]))
    other = config(tmp_path, [1, 1], arguments={"scale": 2.0})
    with pytest.raises(RefusedError, match=r"these keys differ: arguments, arguments\.scale"):
        run(other)
    text = ColumnsConfig(modality_column="modality", keep="text")
    before = read_rows(str(tmp_path / "embeddings.parquet"), text).values
    run(other, fresh=True)
    assert not np.allclose(before, read_rows(str(tmp_path / "embeddings.parquet"), text).values)


def test_a_check_tells_the_shapes_of_one_item(tmp_path: Path) -> None:
    lines = check(config(tmp_path / "out", [3, -1]))
    assert lines[-3:] == [f"visual: [3, {DIM}]", f"text: [{NUM_TEXTS}, {DIM}]", "ALL CHECKS PASSED"]
    with pytest.raises(ConfigError, match="items: embedding_networks:items gives none"):
        check(config(tmp_path / "out", []))
    with pytest.raises(ConfigError, match=r"hooks\.visual: visual took no part .* nothing was detected"):
        check(config(tmp_path / "out", [0]))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"hooks": {"visual": "visuel"}}, r"hooks\.visual: visuel: no such module; the nearest are visual"),
        ({"network": "no_such_module:load"}, "network: no_such_module:load cannot be imported.*PYTHONPATH"),
        ({"network": "embedding_networks:images", "arguments": {"nums": [1]}}, "gives a list, not a torch module"),
    ],
)
def test_what_does_not_fit_leaves_nothing_behind(tmp_path: Path, changed: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        run(config(tmp_path / "out", [1], **changed))
    assert not (tmp_path / "out").exists()


def test_too_many_failures_end_with_what_was_found(tmp_path: Path) -> None:
    with pytest.raises(TooManyFailures, match="the detector is broken"):
        run(config(tmp_path, [1, -1]))
    assert (tmp_path / "embeddings.parquet").exists()
    assert run(config(tmp_path, [1, -1], max_failed=0.5)).document["num_failed"] == 1
