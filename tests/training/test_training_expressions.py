"""What is logged of expressions is the whole sequence of a clip, and a person is told when it does not move."""

import hashlib
import itertools
import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from evaluated_runs import PREDICTION
from mien.storage.local import LocalStore
from mien.training.expressions import Shown, Watch, figures, shown
from mien.training.log import read
from mien.training.validate import Seen
from training_runs import job_of, train

NUM_FRAMES, DIM = 6, 4
FRAMES = np.random.default_rng(0).normal(size=(NUM_FRAMES, DIM)).astype(np.float32)


def seen(mask: list[list[bool]], predicted: bool = False) -> Seen:
    generator = torch.Generator().manual_seed(0)
    kept = torch.tensor(mask)
    tokens = torch.randn(*kept.shape, DIM, generator=generator)
    return Seen({}, tokens, kept, tokens.roll(-1, 1) + 0.5 if predicted else None)


def logged(place: Path) -> list[dict[str, Any]]:
    return [line for line in read(LocalStore(place)) if line["kind"] == "expression"]


def test_shown_are_all_frames_that_count_of_clips_that_have_two() -> None:
    of = seen([[True, False, False], [True, False, True], [True, True, True]])
    assert of.tokens is not None
    first, second = shown(of, 5)
    assert np.array_equal(first.tokens, of.tokens[1][[0, 2]].numpy())
    assert np.array_equal(second.tokens, of.tokens[2].numpy())
    assert len(shown(of, 1)) == 1
    assert shown(Seen({}, None, of.mask), 1) == []


@pytest.mark.parametrize("shape", [(2, 1, DIM), (2, DIM), (2, 3, 1, DIM), (2, 4, DIM)])
def test_what_is_not_every_frame_of_every_clip_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"must be \[clips, frames, dimensions\]"):
        shown(Seen({}, torch.zeros(shape), torch.ones(2, 3, dtype=torch.bool)), 1)


def test_a_pair_is_the_token_that_came_and_what_was_foretold_a_frame_before() -> None:
    of = seen([[True, True, False, True, True]], predicted=True)
    (clip,) = shown(of, 1)
    assert clip.pair is not None
    target, prediction = (np.asarray(values) for values in clip.pair)
    assert of.tokens is not None
    assert np.array_equal(target, of.tokens[0][[1, 4]].numpy())
    assert prediction == pytest.approx(target + 0.5), "foretold at frames 0 and 3, of which each has a next one"
    assert shown(seen([[True, False, True]], predicted=True), 1)[0].pair is None


def test_the_numbers_are_those_of_a_loop() -> None:
    found = Watch()(Shown(FRAMES, None), 7)
    rows = FRAMES.astype(np.float64)
    steps = [float(np.sqrt(((b - a) ** 2).sum())) for a, b in itertools.pairwise(rows)]
    assert found["mean_change"] == pytest.approx(sum(steps) / len(steps))
    assert (found["num_frames"], found["num_dimensions"]) == (NUM_FRAMES, DIM)
    assert (found["is_sequence"], found["is_constant"], found["problem"]) == (True, False, None)
    assert found["sha256"] == hashlib.sha256(rows.tobytes()).hexdigest()


def test_what_does_not_move_is_told_aloud_once(caplog: pytest.LogCaptureFixture) -> None:
    watch, still = Watch(), np.repeat(FRAMES[:1], NUM_FRAMES, axis=0)
    with caplog.at_level(logging.WARNING, "mien"):
        for step in (1, 2):
            assert "constant across all frames" in watch(Shown(still + step, None), step)["problem"]
        assert len(caplog.records) == 1
        repeated = np.concatenate([FRAMES, FRAMES[-1:]])
        assert "repeat: 1 of 7 frames" in watch(Shown(repeated, None), 3)["problem"]
        nan = np.where(np.arange(NUM_FRAMES)[:, None] == 2, np.nan, FRAMES)
        assert watch(Shown(nan, None), 4)["is_sequence"] is False
    assert [record.message.split(":")[0] for record in caplog.records] == ["step 1", "step 3", "step 4"]


def test_the_same_tokens_at_the_next_step_are_told_unless_nothing_learns() -> None:
    watch = Watch()
    assert watch(Shown(FRAMES, None), 10)["problem"] is None
    assert "they are those of step 10, to the last bit" in watch(Shown(FRAMES, None), 20)["problem"]
    assert watch(Shown(FRAMES, None), 30, learns=False)["problem"] is None
    assert watch(Shown(FRAMES + 1, None), 40)["problem"] is None


def test_pictures_are_of_the_clip() -> None:
    clips = shown(seen([[True] * 4, [True] * 4], predicted=True), 2)
    drawn = dict(figures(clips, 3))
    names = ["candles", "movement", "target_prediction", "difference"]
    assert [*drawn] == [f"expression_{name}{end}" for end in ("", "_clip1") for name in names]
    assert len({*drawn.values()}) == 8
    (still, *_) = figures([Shown(np.repeat(clips[0].tokens[:1], 4, axis=0), None)], 3)
    assert still[1] != drawn["expression_candles"]


def test_a_run_logs_and_draws_them_at_every_validation(tokens: Path, tmp_path: Path) -> None:
    changes = {
        **PREDICTION,
        "log.figures": True,
        "log.expression_clips": 2,
        "num_steps": 4,
        "validation.every_steps": 2,
    }
    train(job_of(tokens, tmp_path, PREDICTION | changes))
    lines = logged(tmp_path)
    assert [line["step"] for line in lines] == [2, 4]
    assert all(line["is_sequence"] and line["num_dimensions"] == 8 and line["num_frames"] > 1 for line in lines)
    assert lines[0]["sha256"] != lines[1]["sha256"]
    names = {path.name for path in (tmp_path / "figures").iterdir()}
    assert {"expression_difference_step_4.png", "expression_target_prediction_clip1_step_4.png"} <= names
    assert json.dumps(lines, allow_nan=False)


def test_a_run_that_learns_nothing_says_so_and_a_frozen_one_need_not(tokens: Path, tmp_path: Path) -> None:
    twice = {"num_steps": 2, "validation.every_steps": 1}
    still = {"optimizer.learning_rate": 0.0, "optimizer.min_learning_rate": 0.0}
    train(job_of(tokens, tmp_path / "still", twice | still))
    assert "are those of step 1" in logged(tmp_path / "still")[1]["problem"]
    train(job_of(tokens, tmp_path / "frozen", twice | {"objective.freeze_expression_transformer": True}))
    before, after = logged(tmp_path / "frozen")
    assert (before["sha256"], before["problem"]) == (after["sha256"], None)
    assert after["problem"] is None
