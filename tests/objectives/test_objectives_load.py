"""What is read from a checkpoint is the model that was written, in eval mode, whoever wrote it."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from clip_batches import CONFIGS, clips, objective
from evaluated_runs import save
from mien.errors import CheckpointError
from mien.objectives.load import load_objective


@pytest.mark.parametrize("name", CONFIGS)
def test_a_model_comes_back_as_it_was_written(tmp_path: Path, name: str) -> None:
    model, batch = objective(CONFIGS[name]), clips()
    save(tmp_path, model, {"objective": CONFIGS[name].dump(), "subjects": "kept"})
    loaded, facts = load_objective(str(tmp_path), "model")
    assert facts["subjects"] == "kept"
    assert not any(parameter.requires_grad for parameter in loaded.parameters())
    single = {key: getattr(batch, key).float() for key in ("tokens", "positions", "images")}
    assert torch.allclose(loaded(replace(batch, **single)).tokens, model.eval()(batch).tokens.float(), atol=1e-5)


def test_averages_are_taken_where_there_are_any(tmp_path: Path) -> None:
    model = objective(CONFIGS["joint"]).float()
    save(tmp_path, model, {"objective": CONFIGS["joint"].dump()})
    averaged, last = (load_objective(str(tmp_path), weights).objective for weights in ("ema", "model"))
    for name, parameter in model.named_parameters():
        assert torch.equal(averaged.get_parameter(name), 1.5 * parameter)
        assert torch.equal(last.get_parameter(name), parameter)
    for name, buffer in model.named_buffers():
        assert torch.equal(averaged.get_buffer(name), buffer.to(averaged.get_buffer(name).dtype))


def test_one_of_several_checkpoints_is_named_and_the_newest_is_the_default(tmp_path: Path) -> None:
    model = objective(CONFIGS["face id"])
    early, late = (save(tmp_path, model, {"objective": CONFIGS["face id"].dump()}, step) for step in (3, 20))
    assert load_objective(str(tmp_path)).facts["step"] == 20
    assert load_objective(early.uri).facts["step"] == 3
    assert late.uri.endswith("step_000000020.json")


def test_nobody_elses_random_numbers_change(tmp_path: Path) -> None:
    save(tmp_path, objective(CONFIGS["face id"]), {"objective": CONFIGS["face id"].dump()})
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    load_objective(str(tmp_path))
    assert torch.equal(torch.rand(4), expected)


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({}, "objective"),
        ({"objective": {"kind": "other"}}, "another version of mien"),
        ({"objective": CONFIGS["prediction"].dump()}, "another architecture"),
    ],
)
def test_what_does_not_fit_is_one_error(tmp_path: Path, facts: dict[str, Any], words: str) -> None:
    save(tmp_path, objective(CONFIGS["face id"]), facts)
    with pytest.raises(CheckpointError, match=words):
        load_objective(str(tmp_path))


def test_a_place_without_a_checkpoint_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="holds no checkpoint"):
        load_objective(str(tmp_path))
