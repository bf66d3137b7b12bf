"""One report of all measures: what stands in it, and what stands there instead of a number."""

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from embedded_scenes import embedded, expression
from mien.evaluation.bootstrap import BootstrapConfig, NotMeasurable
from mien.evaluation.image_scores import FrameScores
from mien.evaluation.report import TITLES, EvaluationConfig, Report, evaluate, markdown, numbers, plain
from mien.evaluation.swap import Swapped

NAMES = ("browDownLeft", "jawOpen", "mouthClose", "mouthPucker", "noseSneerLeft", "_neutral")
CONFIG = EvaluationConfig(bootstrap=BootstrapConfig(num=200, level=0.9))


def full() -> Report:
    """Every measure; `_neutral` does not vary."""
    face = expression(20, 40, 6)
    tokens = face + 0.1 * np.random.default_rng(0).normal(size=face.shape)
    face[:, 5] = 0
    frames = embedded(tokens=tokens, blendshapes=face)
    held_out = frames.where(frames.is_held_out)
    num = len(held_out)
    psnr_db = {"reconstruction": np.full(num, 26.0), "subject_mean": np.full(num, 22.0), "overall_mean": np.ones(num)}
    scores = FrameScores(held_out.clip, psnr_db, psnr_db)
    identity = np.random.default_rng(1).normal(size=(3, num, 4))
    swapped = Swapped(held_out.blendshapes, held_out.blendshapes, *identity, held_out.clip, np.full(6, 0.5))
    return evaluate(frames, NAMES, CONFIG, scores, swapped)


def leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from leaves(item)
    else:
        yield value


def test_a_report_is_one_json_document() -> None:
    found = json.loads(json.dumps(plain(full()), allow_nan=False))
    assert {*TITLES} < {*found}
    assert found["probe"]["tokens"]["mean"].keys() == {"value", "low", "high"}
    assert found["images"]["psnr_db"]["reconstruction_minus_subject_mean"] == {"value": 4, "low": 4, "high": 4}
    assert found["counts"] == {
        "num_frames": 800,
        "num_frames_with_blendshapes": 800,
        "num_training_clips": 12,
        "num_held_out_clips": 8,
        "num_subjects": 4,
    }
    assert EvaluationConfig.parse(found["config"], "report") == CONFIG
    assert not any("not_measurable" in str(value) for value in leaves(found))


def test_the_table_holds_every_number_with_its_interval() -> None:
    report = full()
    text = markdown(report)
    assert "| PSNR (dB): reconstruction − subject mean | 4.000 | 4.000 to 4.000 |" in text
    assert "Intervals: 90%, over clips" in text
    for title in TITLES.values():
        assert f"## {title}" in text
    assert not isinstance(report.probe, NotMeasurable)
    mean = report.probe.tokens.mean
    assert f"| tokens: mean | {mean.value:.3f} | {mean.low:.3f} to {mean.high:.3f} |" in text
    assert f"| jawOpen | {report.probe.tokens.per_blendshape[1]} |" in text
    assert "| expression R² | 1.000 | 1.000 to 1.000 |" in text
    assert "timing: lag (s)" in text
    assert "Left out, for they hardly vary: _neutral." in text
    rows = [line for line in text.splitlines() if line.startswith("|") and "---" not in line]
    assert {line.count("|") for line in rows} == {4, 5}


def test_every_estimate_has_a_name_that_leads_to_it() -> None:
    report = full()
    found, document = numbers(report), plain(report)
    assert {"probe.tokens.mean", "leakage.tokens", "images.psnr_db.reconstruction", "swap.cosine_to_target"} <= {*found}
    for path, value in found.items():
        place = document
        for name in path.split("."):
            place = place[name]
        assert place["value"] == (value if value == value else None)


def test_nothing_measurable_is_a_report_too() -> None:
    report = evaluate(embedded(num_clips=1), NAMES, CONFIG)
    found = json.loads(json.dumps(plain(report), allow_nan=False))
    for name in TITLES:
        assert found[name].keys() == {"not_measurable"}
    assert markdown(report).count("Not measurable: ") == len(TITLES)


def test_what_has_no_interval_is_null() -> None:
    frames = embedded(is_held_out=embedded().clip == 3)
    report = evaluate(frames, NAMES, CONFIG)
    found = json.loads(json.dumps(plain(report), allow_nan=False))
    assert found["probe"]["tokens"]["mean"]["low"] is None
    assert found["leakage"].keys() == {"not_measurable"}
    assert "| none |" in markdown(report)
    assert "nan" not in markdown(report)


def test_the_same_data_give_the_same_report() -> None:
    assert plain(full()) == plain(full())


def test_every_blendshape_needs_a_name() -> None:
    with pytest.raises(ValueError, match="2 names for 6 blendshapes"):
        evaluate(embedded(), NAMES[:2], CONFIG)
