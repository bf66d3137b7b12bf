"""`mien evaluate` as a person mistypes it; what it measures is tested where it is measured."""

from pathlib import Path
from typing import Any

import yaml

from command_line import assert_refused
from evaluated_runs import make_backbone, make_run
from training_runs import make_tokens


def test_bad_input_is_one_line_with_its_exit_code(run: Any, tmp_path: Path) -> None:
    make_tokens(tmp_path / "dataset").close()
    make_run(tmp_path / "run", tmp_path / "dataset", make_backbone(tmp_path / "backbone"))
    words = ("evaluate", tmp_path / "run")
    assert_refused(run(*words, "dataset=d", "max_frame=3"), 2, "max_frame", "did you mean max_frames?")
    assert_refused(run(*words, f"dataset={tmp_path}/none"), 1, "none", "is not a dataset of mien")
    assert_refused(run("evaluate", tmp_path / "none", f"dataset={tmp_path}/dataset"), 1, "none", "holds no checkpoint")
    assert not (tmp_path / "run" / "evaluation").exists()


def test_its_config_can_be_seen(run: Any, repository: Path) -> None:
    ended = run("config", "show", "--job", "evaluate", repository / "configs/evaluate/joint.yaml", "dataset=d")
    shown = yaml.safe_load(ended.out)
    assert ended.code == 0, ended.err
    assert (shown["dataset"], shown["weights"], shown["evaluation"]["bootstrap"]["num"]) == ("d", "ema", 5000)
