"""The three files of a report, from planted measures."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from embedded_scenes import embedded
from mien.evaluation.report import EvaluationConfig, Report, evaluate
from mien.storage.local import LocalStore
from mien.training.evaluation_files import picture, summary, tables, write

FACTS: dict[str, Any] = {
    "checkpoint": "/runs/a/checkpoints/step_000000600.json",
    "step": 600,
    "weights": "ema",
    "objective": "joint",
    "dataset": "/datasets/b",
    "split": {"by": "source_end", "held_out": 0.2, "seed": 0},
    "backbone": {"model": "facebook/dinov2-small", "size_px": 112},
    "patch_tokens": "stored",
    "notes": ["RANDOM weights of the backbone"],
}


@pytest.fixture(scope="module")
def report() -> Report:
    names = [f"b{number}" for number in range(6)]
    scene = embedded(num_clips=8, num_frames=12)
    return evaluate(scene, names, EvaluationConfig(bootstrap={"num": 100}))  # type: ignore[arg-type]


def test_all_of_it_is_written_and_written_again(report: Report, tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "out")
    found = write(store, report, FACTS | {"step": 1})
    again = write(store, report, FACTS)
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "evaluation.json",
        "evaluation.md",
        "evaluation.png",
    }
    document = json.loads(store.read("evaluation.json"))
    assert document == again.document
    assert again.to_json() == {"path": store.uri, **document}
    assert found.document["step"] == 1
    assert document["step"] == 600
    assert document["leakage"]["chance"] == 0.25
    assert document["images"] == {"not_measurable": "no image was reconstructed"}
    assert np.isfinite(document["probe"]["tokens"]["mean"]["low"])


def test_tables_say_what_they_are_about_below_their_title(report: Report) -> None:
    lines = tables(report, FACTS).splitlines()
    assert lines[0] == "# Evaluation"
    assert "`/runs/a/checkpoints/step_000000600.json`" in lines[2]
    assert "`/datasets/b`, held out by source_end" in lines[3]
    assert lines[5] == "- **Note:** RANDOM weights of the backbone"
    assert "Not measurable: no image was swapped." in lines


def test_the_summary_has_each_headline_with_its_interval_or_the_reason(report: Report) -> None:
    lines = summary(report)
    assert lines["expression R²"] == str(report.probe.tokens.mean)  # type: ignore[union-attr]
    assert lines["images"] == "not measurable: no image was reconstructed"
    assert lines["swap"] == "not measurable: no image was swapped"
    assert not any(label.startswith("PSNR") for label in lines)


def test_the_figure_is_a_picture_and_its_notes_are_in_it(report: Report) -> None:
    plain, noted = (picture(report, FACTS | {"notes": notes}) for notes in ([], ["a note " * 60]))
    with Image.open(io.BytesIO(plain)) as one, Image.open(io.BytesIO(noted)) as other:
        assert one.format == "PNG"
        shown, with_note = (np.asarray(image.convert("L"), float) for image in (one, other))
    assert shown.shape == with_note.shape
    foot = slice(-60, None)
    assert (with_note[foot] < 200).sum() > (shown[foot] < 200).sum()
