"""Devices are counted over the workers, by kind."""

import os
from pathlib import Path
from typing import Any

import torch

from mien.models import checkpoint
from mien.storage.local import LocalStore
from mien.training.hardware import device_name, hardware, processor
from mien.training.world import World
from training_runs import job_of, make_tokens, train


class Three(World):
    """Three workers, of which two have the same device."""

    def objects(self, value: Any) -> list[Any]:
        return [value, "another", value]


def test_workers_are_counted_by_their_device() -> None:
    own = device_name(torch.device("cpu"))
    assert own
    assert hardware(Three()) == {own: 2, "another": 1}


def test_the_processor_is_the_one_that_linux_names(tmp_path: Path) -> None:
    file = tmp_path / "cpuinfo"
    file.write_text("processor\t: 0\nmodel name\t: Fast: 3000\nmodel name\t: Slow\n")
    assert processor(file) == "Fast: 3000"
    file.write_text("processor\t: 0\n")
    assert processor(file) == ""
    assert processor(tmp_path / "none") == ""


def test_a_checkpoint_tells_it_and_names_no_machine(tmp_path: Path) -> None:
    make_tokens(tmp_path / "dataset").close()
    train(job_of(tmp_path / "dataset", tmp_path / "run", {"num_steps": 2}))
    found = checkpoint.newest(LocalStore(tmp_path / "run"))
    assert found
    assert found.facts["hardware"] == {device_name(torch.device("cpu")): 1}
    assert os.uname().nodename not in str(found.facts["hardware"])
