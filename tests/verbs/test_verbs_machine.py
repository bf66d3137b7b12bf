"""Verbs about the set-up, as a person types them."""

import json
from pathlib import Path
from typing import Any

from mien.pipelines.serialize import SerializeConfig


def test_the_version_and_the_resolved_config_are_printed(run: Any) -> None:
    from mien import __version__

    assert run("--version").out.strip() == __version__
    shown = run("config", "show", "crop.size_px=64", "fps=12.5").out
    assert "fps: 12.5" in shown.splitlines()
    assert SerializeConfig.parse(json.loads(run("config", "show", "--json", "fps=12.5").out), "shown").fps == 12.5


def test_the_folder_of_a_config_tells_whose_it_is(run: Any, repository: Path) -> None:
    path = repository / "configs" / "train" / "prediction.yaml"
    shown = json.loads(run("config", "show", path, "dataset=d", "--json").out)
    assert shown["objective"]["kind"] == "prediction"
