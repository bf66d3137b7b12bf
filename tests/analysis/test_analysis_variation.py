"""Variation against plain loops; constant, single and repeated frames are told apart."""

import itertools
import json
import math

import numpy as np
import pytest
import torch

from mien.analysis import variation
from mien.analysis.synthetic import SyntheticConfig, constant, expressions
from mien.analysis.variation import Variation
from mien.evaluation.bootstrap import NotMeasurable

VARYING, CONSTANT = expressions(SyntheticConfig()), constant(SyntheticConfig())


def found(values: object) -> Variation:
    result = variation.variation(values)  # type: ignore[arg-type]
    assert isinstance(result, Variation)
    return result


def test_changes_are_those_of_a_loop_over_frames_and_dimensions() -> None:
    rows = VARYING.tolist()
    change = [math.dist(now, before) for before, now in itertools.pairwise(rows)]
    norm = sum(math.hypot(*row) for row in rows) / 50
    result = found(VARYING)
    assert (result.max_change, result.min_change) == pytest.approx((max(change), min(change)))
    assert result.mean_change == pytest.approx(sum(change) / 49)
    assert result.mean_norm == pytest.approx(norm)
    assert result.relative_change == pytest.approx(sum(change) / 49 / norm)
    assert not result.is_constant
    assert result.num_repeated == 0


def test_constant_frames_are_constant_and_said_so() -> None:
    result = found(CONSTANT)
    assert result.is_constant
    assert (result.mean_change, result.max_change, result.relative_change, result.num_repeated) == (0, 0, 0, 49)
    assert "constant across all frames" in str(variation.numbers(CONSTANT)["warning"])
    assert variation.numbers(VARYING)["warning"] is None


@pytest.mark.parametrize(("step", "is_constant"), [(0.9e-5, True), (3e-5, False)])
def test_constant_means_to_1e_5(step: float, is_constant: bool) -> None:
    frames = np.zeros((4, 3))
    frames[2, 1] = step
    assert found(frames).is_constant == is_constant


@pytest.mark.parametrize("frames", [VARYING[:1], VARYING[None, :1, :][0]])
def test_one_frame_is_not_measurable(frames: np.ndarray) -> None:
    result = variation.variation(frames)
    assert isinstance(result, NotMeasurable)
    assert "frames: 1" in result.reason
    numbers = variation.numbers(frames)
    assert numbers["variation"] == {"not_measurable": result.reason}
    assert "not measurable" in variation.text(frames)
    assert "constant" not in variation.text(frames)


def test_a_frame_that_is_shown_again_is_counted() -> None:
    frames = np.repeat(VARYING[:5], [1, 3, 1, 2, 1], axis=0)
    assert found(frames).num_repeated == 3
    frames[2, 0] += 1e-12
    assert found(frames).num_repeated == 1


def test_frames_of_zeros_have_no_relative_change() -> None:
    assert found(np.zeros((3, 4))).relative_change is None
    assert "None" not in variation.text(np.zeros((3, 4)))


def test_the_report_has_six_decimals_and_ten_dimensions() -> None:
    text = variation.text(VARYING.astype(np.float32)[None])
    assert text.startswith("given shape: [1, 50, 128]\nframes: 50, dimensions: 128\nconstant: False\n")
    assert "mean 0.008542, 0.79" in text
    assert [line.split(":")[0] for line in text.splitlines()[-10:]] == [f"dimension {n}" for n in range(10)]
    column = [row[9] for row in VARYING.tolist()]
    mean = sum(column) / 50
    std = math.sqrt(sum((value - mean) ** 2 for value in column) / 50)
    assert text.endswith(f"dimension 9: mean {mean:.6f}, std {std:.6f}")


def test_numbers_are_plain_and_tell_one_clip_from_another() -> None:
    numbers = variation.numbers(torch.tensor(VARYING))
    assert json.loads(json.dumps(numbers, allow_nan=False)) == numbers
    assert numbers["given_shape"] == [50, 128]
    assert numbers["sha256"] == variation.numbers(VARYING[None])["sha256"]
    assert numbers["sha256"] != variation.numbers(VARYING[::-1])["sha256"]


def test_a_diagnosis_answers_for_every_input() -> None:
    assert variation.diagnosis(VARYING, "targets")["problem"] is None
    assert "constant" in variation.diagnosis(CONSTANT, "targets")["problem"]
    assert "not measurable" in variation.diagnosis(VARYING[:1], "targets")["problem"]
    refused = variation.diagnosis(VARYING[:, None], "targets")
    assert not refused["is_sequence"]
    assert refused["problem"].startswith("targets: shape [50, 1, 128]")
