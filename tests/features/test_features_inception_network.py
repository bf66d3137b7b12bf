"""The network against its publisher's list of weights, and against the same graph written out function by function."""

import math
from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from inception_weights import drawn, shapes
from mien.features.inception_network import inception

State = dict[str, Tensor]
Pool = Callable[[Tensor], Tensor]


@pytest.fixture(scope="module")
def state() -> State:
    return drawn()


@pytest.fixture(scope="module")
def network(state: State) -> torch.nn.Module:
    built = inception()
    built.load_state_dict({name: tensor for name, tensor in state.items() if not name.startswith("fc.")})
    return built.eval()


@pytest.fixture(scope="module")
def pixels() -> Tensor:
    """Two images with large and small structure, [2, 3, 299, 299]."""
    generator = torch.Generator().manual_seed(3)
    coarse = functional.interpolate(torch.randn(2, 3, 12, 12, generator=generator), (299, 299), mode="bicubic")
    return (0.5 * coarse + 0.2 * torch.randn(2, 3, 299, 299, generator=generator)).clamp(-1, 1)


def neighbours(x: Tensor, fill: float) -> Tensor:
    """The nine values around each place, [b, c, 9, h, w]; `fill` lies outside."""
    padded = functional.pad(x, (1, 1, 1, 1), value=fill)
    height, width = x.shape[2:]
    return torch.stack([padded[:, :, i : i + height, j : j + width] for i in range(3) for j in range(3)], 2)


def average_of_those_inside(x: Tensor) -> Tensor:
    return neighbours(x, 0).sum(2) / neighbours(torch.ones_like(x), 0).sum(2)


def average_with_zeros_outside(x: Tensor) -> Tensor:
    return neighbours(x, 0).sum(2) / 9


def maximum(x: Tensor) -> Tensor:
    return neighbours(x, -math.inf).amax(2)


def every_second_maximum(x: Tensor) -> Tensor:
    return neighbours(x, -math.inf).amax(2)[:, :, 1:-1:2, 1:-1:2]


class Reference:
    """Every layer by its name."""

    def __init__(self, state: State, average: Pool = average_of_those_inside, last: Pool = maximum) -> None:
        self.state, self.average, self.last = state, average, last

    def layer(self, x: Tensor, name: str, stride: int = 1, padding: tuple[int, int] = (0, 0)) -> Tensor:
        """Batch norm by its formula, with the averages of the file (Ioffe and Szegedy 2015)."""
        weight, mean, variance, scale, shift = (
            self.state[f"{name}.{key}"]
            for key in ("conv.weight", "bn.running_mean", "bn.running_var", "bn.weight", "bn.bias")
        )
        gain = scale / (variance + 0.001).sqrt()
        maps = functional.conv2d(x, weight * gain[:, None, None, None], shift - mean * gain, stride, padding)
        return maps.clamp(min=0)

    def fine(self, x: Tensor, block: str) -> Tensor:
        layer = partial(self.named, block)
        five = layer(layer(x, "branch5x5_1"), "branch5x5_2", padding=(2, 2))
        three = layer(layer(x, "branch3x3dbl_1"), "branch3x3dbl_2", padding=(1, 1))
        three = layer(three, "branch3x3dbl_3", padding=(1, 1))
        return torch.cat([layer(x, "branch1x1"), five, three, layer(self.average(x), "branch_pool")], 1)

    def named(self, block: str, x: Tensor, name: str, **options: object) -> Tensor:
        return self.layer(x, f"{block}.{name}", **options)

    def to_17_px(self, x: Tensor, block: str) -> Tensor:
        layer = partial(self.named, block)
        three = layer(layer(x, "branch3x3dbl_1"), "branch3x3dbl_2", padding=(1, 1))
        return torch.cat(
            [layer(x, "branch3x3", stride=2), layer(three, "branch3x3dbl_3", stride=2), every_second_maximum(x)], 1
        )

    def middle(self, x: Tensor, block: str) -> Tensor:
        layer = partial(self.named, block)
        seven = layer(layer(x, "branch7x7_1"), "branch7x7_2", padding=(0, 3))
        seven = layer(seven, "branch7x7_3", padding=(3, 0))
        double = layer(layer(x, "branch7x7dbl_1"), "branch7x7dbl_2", padding=(3, 0))
        double = layer(layer(double, "branch7x7dbl_3", padding=(0, 3)), "branch7x7dbl_4", padding=(3, 0))
        double = layer(double, "branch7x7dbl_5", padding=(0, 3))
        return torch.cat([layer(x, "branch1x1"), seven, double, layer(self.average(x), "branch_pool")], 1)

    def to_8_px(self, x: Tensor, block: str) -> Tensor:
        layer = partial(self.named, block)
        three = layer(layer(x, "branch3x3_1"), "branch3x3_2", stride=2)
        seven = layer(layer(x, "branch7x7x3_1"), "branch7x7x3_2", padding=(0, 3))
        seven = layer(layer(seven, "branch7x7x3_3", padding=(3, 0)), "branch7x7x3_4", stride=2)
        return torch.cat([three, seven, every_second_maximum(x)], 1)

    def coarse(self, x: Tensor, block: str, pool: Pool) -> Tensor:
        layer = partial(self.named, block)
        first = layer(x, "branch3x3_1")
        second = layer(layer(x, "branch3x3dbl_1"), "branch3x3dbl_2", padding=(1, 1))
        maps = [
            layer(x, "branch1x1"),
            layer(first, "branch3x3_2a", padding=(0, 1)),
            layer(first, "branch3x3_2b", padding=(1, 0)),
            layer(second, "branch3x3dbl_3a", padding=(0, 1)),
            layer(second, "branch3x3dbl_3b", padding=(1, 0)),
            layer(pool(x), "branch_pool"),
        ]
        return torch.cat(maps, 1)

    def __call__(self, x: Tensor) -> Tensor:
        x = self.layer(x, "Conv2d_1a_3x3", stride=2)
        x = self.layer(self.layer(x, "Conv2d_2a_3x3"), "Conv2d_2b_3x3", padding=(1, 1))
        x = self.layer(every_second_maximum(x), "Conv2d_3b_1x1")
        x = every_second_maximum(self.layer(x, "Conv2d_4a_3x3"))
        for letter in "bcd":
            x = self.fine(x, f"Mixed_5{letter}")
        x = self.to_17_px(x, "Mixed_6a")
        for letter in "bcde":
            x = self.middle(x, f"Mixed_6{letter}")
        x = self.coarse(self.to_8_px(x, "Mixed_7a"), "Mixed_7b", self.average)
        return self.coarse(x, "Mixed_7c", self.last).mean((2, 3))


def distance(features: Tensor, expected: Tensor) -> float:
    """The largest difference in units of what sets two images apart."""
    return float((features - expected).abs().max() / (expected[0] - expected[1]).std())


def test_every_weight_of_the_file_has_its_place_and_shape() -> None:
    with torch.device("meta"):
        own = inception()
    expected = shapes()
    assert len(expected) == 566
    expected = {name: shape for name, shape in expected.items() if not name.startswith("fc.")}
    assert {name: tuple(tensor.shape) for name, tensor in own.state_dict().items()} == expected
    assert sum(parameter.numel() for parameter in own.parameters()) == 21_785_568


def test_features_are_those_of_the_graph_written_out(network: torch.nn.Module, state: State, pixels: Tensor) -> None:
    with torch.inference_mode():
        features, expected = network(pixels), Reference(state)(pixels)
    assert features.shape == (2, 2048)
    assert distance(features, expected) < 1e-3
    assert (expected[0] - expected[1]).std() > 0.05, "the images must tell right from wrong"


@pytest.mark.parametrize(
    "wrong", [{"average": average_with_zeros_outside}, {"last": average_of_those_inside}, {"average": maximum}]
)
def test_other_pools_would_be_seen(
    network: torch.nn.Module, state: State, pixels: Tensor, wrong: dict[str, Pool]
) -> None:
    with torch.inference_mode():
        assert distance(network(pixels), Reference(state, **wrong)(pixels)) > 0.03


def test_an_image_has_its_features_whoever_is_beside_it(network: torch.nn.Module, pixels: Tensor) -> None:
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    with torch.inference_mode():
        both, alone = network(pixels), network(pixels[:1])
    torch.testing.assert_close(both[:1], alone, rtol=1e-4, atol=1e-4)
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())
