"""`mien demo`, as a person types it."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from command_line import assert_refused
from evaluated_runs import save
from mien.diffusion.schedule import LinearScheduleConfig
from mien.models.unet import UnetConfig
from mien.objectives.diffusion import DdpmConfig

NETWORK = UnetConfig(image_size_px=8, base_channels=32, multipliers=(1,), attention_levels=(), num_blocks=1)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = DdpmConfig(network=NETWORK, schedule=LinearScheduleConfig(num_steps=60))
    torch.manual_seed(0)
    place = tmp_path_factory.mktemp("run")
    save(place, config.build(), {"objective": config.dump()})
    return place


def test_sample_writes_two_pictures_and_says_how_long_an_image_took(run: Any, checkpoint: Path, tmp_path: Path) -> None:
    ended = run("demo", "sample", checkpoint, "num=3", "num_steps=4", f"output={tmp_path}", "--json")
    assert ended.code == 0, ended.err
    result = json.loads(ended.out)
    assert (result["num"], result["num_steps"]) == (3, 4)
    assert result["s_per_image"] > 0
    for name in ("grid", "strip"):
        assert Path(result[name]).read_bytes()[:4] == b"\x89PNG"
        assert result[name] in ended.err
    shown = run("demo", "sample", checkpoint, "num=1", "num_steps=2", f"output={tmp_path}").out
    assert {"s_per_image", "grid", "strip"} <= {line.split()[0] for line in shown.splitlines()}


def test_what_cannot_be_is_one_line(run: Any, checkpoint: Path, tmp_path: Path) -> None:
    assert_refused(run("demo", "sample", checkpoint, "num=0"), 2, "num: ")
    assert_refused(run("demo", "sample", checkpoint, "num_steps=61"), 2, "more than the schedule has: 60")
    assert_refused(run("demo", "sample", checkpoint, "steps=3"), 2, "steps: no such key", "did you mean num_steps?")
    assert_refused(run("demo", "sample", tmp_path), 1, str(tmp_path), "holds no checkpoint")
