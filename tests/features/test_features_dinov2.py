import pytest
import torch
import transformers

from mien.errors import ConfigError
from mien.features.dinov2 import Dinov2Config
from mien.features.registry import resolve


@pytest.mark.parametrize(
    ("model", "num_parameters"),
    [
        ("facebook/dinov2-small", 22_056_576),
        ("facebook/dinov2-base", 86_580_480),
        ("facebook/dinov2-large", 304_368_640),
    ],
)
def test_the_known_sizes_are_those_of_the_published_network(model: str, num_parameters: int) -> None:
    """The published parameter counts of the backbones, without head or pooler."""
    config = Dinov2Config.parse({"model": model, "weights": "random"}, "test")
    network_class = getattr(transformers, config.family.network)
    architecture = network_class.config_class.from_dict(resolve(config).architecture)
    with torch.device("meta"):
        network = network_class(architecture, **config.family.options)
    assert sum(parameter.numel() for parameter in network.parameters()) == num_parameters


def test_the_defaults_are_the_usual_input_of_the_network() -> None:
    config = Dinov2Config()
    assert (config.kind, config.size_px, config.output, config.weights) == ("dinov2", 518, "cls", "pretrained")


def test_a_size_that_is_no_multiple_of_the_patch_is_refused() -> None:
    with pytest.raises(ConfigError, match="size_px"):
        resolve(Dinov2Config.parse({"weights": "random", "size_px": 225}, "test"))


def test_random_weights_of_an_unknown_model_name_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="facebook/dinov2-small"):
        resolve(Dinov2Config.parse({"weights": "random", "model": "someone/else"}, "test"))
