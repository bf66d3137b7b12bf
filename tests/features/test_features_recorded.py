"""What a record of tokens says of the network that made them; a run whose network is another is refused."""

from pathlib import Path

import pytest

from evaluated_runs import make_backbone
from mien.errors import CheckpointError, PreflightError
from mien.features.recorded import backbone_of, differing, provenance_of
from mien.models import checkpoint
from mien.storage.local import LocalStore


def test_only_what_decides_the_tokens_is_compared() -> None:
    made = {"kind": "vit", "model": "x", "sha256": "0", "size_px": 32, "output": "patch", "dtype": "float32"}
    assert provenance_of(made) == provenance_of(made | {"dtype": "bfloat16", "batch_size": 1})
    for key, other in {"kind": "dinov2", "sha256": "1", "size_px": 64, "output": "cls", "seed": 3}.items():
        assert provenance_of(made) != provenance_of(made | {key: other})


def test_a_network_is_found_again_by_its_record_and_another_one_is_told(tmp_path: Path) -> None:
    backbone, other = (make_backbone(tmp_path / name, seed=seed) for name, seed in (("a", 0), ("b", 1)))
    assert differing(dict(backbone.provenance), backbone) == []
    assert differing(dict(other.provenance), backbone) == ["model", "seed"]
    store = LocalStore(tmp_path / "run")
    found = checkpoint.write(store, 1, {}, {"tokens": dict(backbone.provenance)})
    assert differing(dict(backbone_of(found).provenance), backbone) == []
    altered = checkpoint.write(store, 2, {}, {"tokens": {**backbone.provenance, "sha256": "0" * 64}})
    with pytest.raises(PreflightError, match="sha256 differ"):
        backbone_of(altered)
    with pytest.raises(CheckpointError, match="does not tell which network"):
        backbone_of(checkpoint.write(store, 3, {}, {}))
