from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from mien.datasets.dataset import Dataset
from mien.datasets.export.kinds import KINDS

Export = Callable[..., tuple[Path, dict[str, Any]]]


@pytest.mark.parametrize("kind", KINDS)
def test_every_export_carries_licence_consent_and_origin(one: Dataset, export_to: Export, kind: str) -> None:
    folder, record = export_to(one, kind)
    text = (folder / "README.md").read_text()
    assert yaml.safe_load(text.split("---\n")[1])["license"] == "CC-BY-4.0"
    for part in ("Consent: signed on paper", "Redistributable: True", f"`{one.uri}`", "`/videos`", "mien forget"):
        assert part in text, part
    assert "3 samples (face tracks) with 22 frames" in text
    origin = record["origin"]
    assert (origin["licence"], origin["consent"], origin["source"]) == ("CC-BY-4.0", "signed on paper", "/videos")
    assert origin["models"] == {"net": {"sha256": "0" * 64}}
