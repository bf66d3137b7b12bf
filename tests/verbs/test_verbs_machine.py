"""Verbs about the set-up, as a person types them."""

import json
from typing import Any

from mien.pipelines.serialize import SerializeConfig


def test_the_version_and_the_resolved_config_are_printed(run: Any) -> None:
    from mien import __version__

    assert run("--version").out.strip() == __version__
    shown = run("config", "show", "crop.size_px=64", "fps=12.5").out
    assert "fps: 12.5" in shown.splitlines()
    assert SerializeConfig.parse(json.loads(run("config", "show", "--json", "fps=12.5").out), "shown").fps == 12.5
