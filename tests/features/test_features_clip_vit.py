import pytest
import torch
import transformers

from mien.errors import ConfigError
from mien.features.clip_vit import ClipVitConfig
from mien.features.registry import resolve


@pytest.mark.parametrize(
    ("model", "num_parameters"),
    [
        ("openai/clip-vit-base-patch32", 87_456_000),
        ("openai/clip-vit-base-patch16", 85_799_424),
    ],
)
def test_the_known_sizes_are_those_of_the_published_network(model: str, num_parameters: int) -> None:
    """The published parameter counts of the backbones, without head or pooler."""
    config = ClipVitConfig.parse({"model": model, "weights": "random"}, "test")
    network_class = getattr(transformers, config.family.network)
    architecture = network_class.config_class.from_dict(resolve(config).architecture)
    with torch.device("meta"):
        network = network_class(architecture, **config.family.options)
    assert sum(parameter.numel() for parameter in network.parameters()) == num_parameters


def test_the_defaults_are_the_usual_input_of_the_network() -> None:
    config = ClipVitConfig()
    assert (config.kind, config.size_px, config.output, config.weights) == ("clip_vit", 224, "cls", "pretrained")


def test_a_size_that_is_no_multiple_of_the_patch_is_refused() -> None:
    with pytest.raises(ConfigError, match="size_px"):
        resolve(ClipVitConfig.parse({"weights": "random", "size_px": 225}, "test"))


def test_random_weights_of_an_unknown_model_name_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="openai/clip-vit-base-patch32"):
        resolve(ClipVitConfig.parse({"weights": "random", "model": "someone/else"}, "test"))
