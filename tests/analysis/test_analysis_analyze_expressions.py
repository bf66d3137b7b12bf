"""From a source to files: each picture has its numbers, a wrong input another picture or an error and no file."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mien.analysis.analyze_expressions import ExpressionsConfig, run
from mien.errors import ConfigError, DatasetError, RefusedError
from mien.storage.local import LocalStore

VALUES = np.random.default_rng(0).normal(size=(6, 4))


def config(place: Path, **values: Any) -> ExpressionsConfig:
    small = {"size_in": [4, 3], "dpi": 40}
    figures = ("candlestick", "movement", "heatmap", "target_prediction", "difference_map")
    return ExpressionsConfig.parse({"output": str(place), **dict.fromkeys(figures, small), **values}, "test")


def of_arrays(folder: Path, place: Path, arrays: dict[str, Any], **values: Any) -> ExpressionsConfig:
    np.savez(folder / "in.npz", **arrays)
    return config(place, source={"kind": "file", "file": str(folder / "in.npz")}, **values)


def names(place: Path) -> set[str]:
    return {entry.name for entry in LocalStore(place).list()}


def numbers(place: Path, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((place / f"{name}.json").read_text())
    return found


def test_made_expressions_have_the_files_of_the_seed(tmp_path: Path) -> None:
    report = run(config(tmp_path, source={"kind": "synthetic", "num_frames": 8}))
    pictures = {f"synthetic_expression_{kind}_{which}" for kind in ("candles", "movement") for which in WHICH}
    stats = {f"synthetic_expression_stats_{which}.txt" for which in WHICH}
    expected = {f"{name}.{suffix}" for name in pictures for suffix in ("png", "json")} | stats
    assert names(tmp_path) == expected | {"config.yaml", "analysis.json"}
    assert report.document == json.loads((tmp_path / "analysis.json").read_text())
    varying, constant = report.document["clips"]
    assert (varying["variation"]["is_constant"], constant["variation"]["is_constant"]) == (False, True)
    assert constant["warning"].startswith("Expressions are constant")
    assert report.see == f"{tmp_path}/synthetic_expression_candles_variation.png"
    drawn = [(tmp_path / f"synthetic_expression_candles_{which}.png").read_bytes() for which in WHICH]
    assert drawn[0] != drawn[1]


WHICH = ("variation", "constant")


def test_numbers_are_those_of_the_arrays_and_a_resolved_config_draws_the_same(tmp_path: Path) -> None:
    pair = {"target": VALUES, "prediction": VALUES + 0.5}
    report = run(of_arrays(tmp_path, tmp_path / "out", pair, figures=["candlestick", "heatmap"]))
    (clip,) = report.document["clips"]
    assert clip["figures"] == [
        "expression_candles_file.png",
        "expression_heatmap_file_batch0_sample0.png",
        "expression_target_prediction_file.png",
        "expression_difference_file.png",
    ]
    assert clip["variation"]["mean_change"] == pytest.approx(np.linalg.norm(np.diff(VALUES, axis=0), axis=1).mean())
    assert clip["difference"]["mean_absolute_difference"] == pytest.approx(0.5)
    assert "mean |difference| 0.5000, max 0.5000" in report.text
    candles = numbers(tmp_path / "out", "expression_candles_file")
    assert candles["candles"]["q25"] == pytest.approx(np.percentile(VALUES, 25, axis=1))
    again = ExpressionsConfig.load(tmp_path / "out" / "config.yaml", [f"output={tmp_path}/again"])
    assert run(again).document == report.document


def test_a_batch_has_a_heatmap_for_each_item(tmp_path: Path) -> None:
    batch = {"expression_embed": np.stack([VALUES, 2 * VALUES])}
    run(of_arrays(tmp_path, tmp_path / "out", batch, figures=["heatmap"]))
    found = [numbers(tmp_path / "out", f"expression_heatmap_file_batch0_sample{item}") for item in range(2)]
    assert found[1]["variation"]["mean_change"] == pytest.approx(2 * found[0]["variation"]["mean_change"])


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"expression_embed": np.zeros((3, 1, 4))}, r"shape \[3, 1, 4\] is one frame of each item"),
        ({"expression_embed": np.where(VALUES > 1, np.nan, VALUES)}, "numbers are not finite"),
        ({"expression_embed": np.zeros(5)}, "is not a sequence"),
        ({"target": VALUES, "prediction": VALUES[:3]}, r"prediction: shape \[3, 4\] is not that of the target"),
        ({"target": VALUES, "prediction": VALUES[:, None]}, "prediction: shape .* is one frame of each item"),
    ],
)
def test_what_is_no_sequence_leaves_nothing_behind(tmp_path: Path, arrays: dict[str, Any], words: str) -> None:
    with pytest.raises(DatasetError, match=words):
        run(of_arrays(tmp_path, tmp_path / "out", arrays))
    assert not (tmp_path / "out").exists()


def test_one_frame_is_drawn_and_said_not_to_be_measurable(tmp_path: Path) -> None:
    report = run(of_arrays(tmp_path, tmp_path / "out", {"expression_embed": VALUES[:1]}))
    assert report.document["clips"][0]["variation"] == {"not_measurable": "frames: 1; a change needs 2"}
    assert "not measurable" in report.text


def test_another_config_is_refused_and_fresh_starts_over(tmp_path: Path) -> None:
    run(config(tmp_path, source={"kind": "synthetic", "num_frames": 8}))
    other = config(tmp_path, source={"kind": "synthetic", "num_frames": 9}, figures=["movement"])
    with pytest.raises(RefusedError, match=r"these keys differ: figures, source\.num_frames"):
        run(other)
    (tmp_path / "notes.txt").write_text("mine")
    run(other, fresh=True)
    assert "notes.txt" in names(tmp_path)
    assert "synthetic_expression_candles_variation.png" not in names(tmp_path)


def test_no_source_is_told_how_to_give_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"source: is required; give source\.kind=dataset .* source\.kind=synthetic"):
        run(config(tmp_path))
