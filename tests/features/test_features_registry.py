from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from mien.config import Config
from mien.errors import ConfigError
from mien.features.clip_vit import ClipVitConfig
from mien.features.dinov2 import Dinov2Config
from mien.features.registry import ExtractorConfig, build, resolve
from mien.features.vit import VitConfig


class Job(Config):
    """A config with an extractor."""

    features: ExtractorConfig | None = None


def test_the_kind_chooses_the_config() -> None:
    kinds = {"dinov2": Dinov2Config, "vit": VitConfig, "clip_vit": ClipVitConfig}
    for kind, config in kinds.items():
        job = Job.load(None, [f"features.kind={kind}", "features.output=patch"])
        assert job.features == config(output="patch")
        assert Job.parse(job.dump(), "test") == job


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("features.kind=dinov3", "features.kind: 'dinov3' is not one of 'dinov2', 'vit', 'clip_vit'"),
        ("features.output=pooled", "features.output: input should be 'cls', 'mean' or 'patch'"),
        ("features.weights=none", "features.weights: input should be 'pretrained' or 'random'"),
        ("features.batch_size=0", "features.batch_size: input should be greater than or equal to 1"),
        ("features.seed=-1", "features.seed: input should be greater than or equal to 0"),
        ("features.size=224", "features.size: no such key; did you mean features.size_px"),
    ],
)
def test_a_wrong_value_is_named(override: str, message: str) -> None:
    with pytest.raises(ConfigError) as failure:
        Job.load(None, ["features.kind=vit", override])
    assert message in str(failure.value)


def test_dinov2_at_518_px_gives_1369_patch_tokens(no_network: None) -> None:
    config = Dinov2Config(weights="random", output="patch")
    extractor = build(resolve(config))
    frame = np.random.default_rng(0).integers(0, 256, (1, 224, 224, 3), np.uint8)
    features = extractor(frame)
    assert features.shape == (1, *extractor.shape) == (1, 1369, 384)
    assert np.isfinite(features).all()
    assert features.std(axis=1).min() > 0, "patches differ"


def test_what_is_built_elsewhere_needs_the_weights_only(
    tiny: Callable[[str], Path], frames: np.ndarray, no_network: None
) -> None:
    resolved = resolve(VitConfig(model=str(tiny("vit")), size_px=32))
    np.testing.assert_array_equal(build(resolved)(frames), build(resolved, resolved.read_weights())(frames))
