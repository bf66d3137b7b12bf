"""What a run writes on the way: lines, validations of the averaged weights, figures without a face."""

import json
from pathlib import Path

import pytest
import torch

from mien.models import checkpoint
from mien.storage.local import LocalStore
from mien.training import log
from mien.training.record import Pace
from mien.training.setup import set_up
from mien.training.validate import Validator
from mien.training.world import World
from training_runs import begun, job_of, saved, stopped_after, train


def lines(store: LocalStore, kind: str) -> list[dict[str, float]]:
    return [line for line in log.read(store) if line["kind"] == kind]


def test_every_line_has_what_a_person_watches(tokens: Path, tmp_path: Path) -> None:
    job = job_of(tokens, tmp_path / "run", {"num_steps": 5, "log.every_steps": 2, "validation.every_steps": 3})
    setup = train(job)
    store = LocalStore(tmp_path / "run")
    found = lines(store, "train")
    assert [line["step"] for line in found] == [2, 4, 5]
    for line in found:
        parts = [line[name] * line[f"weight/{name}"] for name in ("reconstruction", "temporal", "diversity")]
        assert line["loss"] == pytest.approx(sum(parts))
        assert line["learning_rate"] == 1e-3
        assert line["gradient_norm"] > 0
        assert line["epoch"] == pytest.approx(line["step"] * 8 / len(setup.reader.order))
        assert 0 <= line["data_wait_share"] <= 1
        assert line["clips_per_s"] * line["step_s"] == pytest.approx(8)
        assert line["similarity_count"] > 0
    assert [line["step"] for line in lines(store, "validation")] == [3, 5]


def test_the_same_lines_come_whoever_has_the_clips_and_after_a_stop(tokens: Path, tmp_path: Path) -> None:
    changes = {"precision": "float64"}
    train(job_of(tokens, tmp_path / "whole", changes))
    train(job_of(tokens, tmp_path / "parts", {**changes, "batch.exact": False, "batch.per_forward": 3}))
    copy = stopped_after(4, tmp_path / "whole", tmp_path / "copy")
    train(job_of(tokens, copy, changes))
    for kind, keys in (("train", {"loss", "gradient_norm", "temporal"}), ("validation", {"loss", "similarity_mean"})):
        whole, parts, resumed = (
            lines(LocalStore(place), kind) for place in (tmp_path / "whole", tmp_path / "parts", copy)
        )
        for expected, one, other in zip(whole, parts, resumed, strict=True):
            for key in {"step", *keys}:
                assert one[key] == pytest.approx(expected[key], rel=1e-6)
                assert other[key] == expected[key]


def test_averaged_weights_are_validated_and_training_keeps_its_own(tokens: Path, tmp_path: Path) -> None:
    job = job_of(tokens, tmp_path / "run", {"ema": {"decay": 0.5, "warmup": "none"}, "num_steps": 3})
    train(job)
    store = LocalStore(tmp_path / "run")
    setup = set_up(job, World())
    checkpoint.load_into(setup.objective, checkpoint.find(store.uri).weights(), "x")
    weights = setup.objective.weights(2, 3)
    validator = Validator(setup.held_out, lambda clips: setup.batches.make(clips, None), World(), 5)
    (line,) = lines(store, "validation")
    assert line["loss"] == pytest.approx(validator(setup.objective, weights, 8).metrics["loss"], rel=1e-6)
    assert checkpoint.find(store.uri).facts["metrics"]["loss"] == line["loss"]
    found = saved(store)
    name = "expression_transformer.output_projection.weight"
    assert not torch.equal(found[f"model/{name}"], found[f"ema/{name}"])


def test_a_record_is_plain_json_though_a_metric_is_no_number(tokens: Path, tmp_path: Path) -> None:
    changes = {"data.length": 1, "num_steps": 2, "validation.every_steps": 1, "checkpoints.best_by": "temporal"}
    train(job_of(tokens, tmp_path / "run", changes))

    def refuse(constant: str) -> float:
        raise AssertionError(constant)

    store = LocalStore(tmp_path / "run")
    record = json.loads(store.read("checkpoints/step_000000002.json"), parse_constant=refuse)
    assert "reconstruction" in record["metrics"]
    assert "temporal" not in record["metrics"], "one frame has no neighbour"
    assert checkpoint.pointed(store, checkpoint.BEST) == {}, "what is no number is never best"
    assert lines(store, "validation")[-1]["temporal"] == "nan"


def test_figures_are_drawn_once_a_checkpoint_and_leave_nothing_behind(tokens: Path, tmp_path: Path) -> None:
    changes = {"log.figures": True, "num_steps": 3, "validation.every_steps": 1, "checkpoints.every_steps": 2}
    train(job_of(tokens, tmp_path / "run", changes))
    store = LocalStore(tmp_path / "run")
    pictures = [entry.name for entry in store.list() if entry.name.endswith((".png", ".jpg"))]
    at_each = ("expression_candles", "expression_movement", "similarity")
    names = [f"{name}_step_{step}" for name in at_each for step in (2, 3)]
    names += ["schedules_step_3", "similarity_evolution_step_3"]
    assert sorted(pictures) == sorted(f"figures/{name}.png" for name in names), "no other picture, so no face"
    assert [*(tmp_path / "run" / ".scratch").iterdir()] == []


def test_a_step_is_saved_once(tokens: Path, tmp_path: Path) -> None:
    setup, loop, record = begun(job_of(tokens, tmp_path / "run", {"num_steps": 2, "checkpoints.every_steps": 2}))
    record.save(setup.state, at_once=True)
    store = LocalStore(tmp_path / "run")
    assert checkpoint.names(store) == [], "nothing was done yet"
    loop.run()
    before = store.stat("checkpoints/step_000000002.json")
    record.save(setup.state, at_once=True)
    record.save(setup.state)
    assert store.stat("checkpoints/step_000000002.json") == before
    assert record.failure() is None
    assert record.summary()["step"] == 2
    assert record.last_save_s > 0


def test_pace_counts_steps_and_leaves_out_what_is_none() -> None:
    pace = Pace()
    pace.leave_out(-100.0)  # as if it had begun 100 s earlier
    for _ in range(5):
        pace.step(8, 4.0)
    told = pace.told()
    assert told["step_s"] == pytest.approx(20, rel=0.01)
    assert told["clips_per_s"] == pytest.approx(0.4, rel=0.01)
    assert told["data_wait_share"] == pytest.approx(0.2, rel=0.01)
