"""Hooks read what a module puts out in this pass, from any network, and leave nothing behind."""

import pytest
import torch
from torch import Tensor, nn

from mien.analysis.feature_capture import capturing, locate
from mien.errors import ConfigError


class Steps(nn.Module):
    """A stranger's network: a list, a branch that runs at times, and a part that returns two tensors."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Linear(3, 4)
        self.blocks = nn.ModuleList([nn.Linear(4, 4), nn.Linear(4, 4)])
        self.none = nn.ModuleList()
        self.branch = nn.Linear(4, 4)
        self.memory = nn.LSTM(4, 4)
        self.drop = nn.Dropout(0.5)

    def forward(self, x: Tensor, branches: bool = True) -> Tensor:
        x = self.drop(self.stem(x))
        for block in self.blocks:
            x = block(x)
        return self.memory(self.branch(x) if branches else x)[0]


def hooks_of(network: nn.Module) -> int:
    return sum(len(module._forward_hooks) for module in network.modules())


def test_outputs_are_those_of_the_modules() -> None:
    network, x = Steps(), torch.randn(5, 3)
    with capturing(network, ["stem", "blocks.0"]) as read:
        seen = read(x)
    stem = x @ network.stem.weight.T + network.stem.bias
    assert torch.allclose(seen["stem"], stem)
    assert torch.allclose(seen["blocks.0"], network.blocks[0](stem)), "in eval mode, without dropout"
    assert not seen["stem"].requires_grad
    assert network.training


def test_of_a_list_the_last_module_is_read_and_that_is_told() -> None:
    network, x = Steps(), torch.randn(5, 3)
    assert locate(network, "blocks").path == "blocks.1"
    with capturing(network, ["blocks", "blocks.1"]) as read:
        seen = read(x)
    assert torch.equal(seen["blocks"], seen["blocks.1"])


def test_a_name_of_the_network_leads_to_its_module() -> None:
    network = Steps()
    assert locate(network, "end", {"end": network.branch}) == ("end", "branch", network.branch)


@pytest.mark.parametrize(("asked", "offered"), [("blocks.2", "blocks.0"), ("brunch", "branch"), ("???", "stem")])
def test_for_an_unknown_path_the_nearest_are_offered(asked: str, offered: str) -> None:
    with pytest.raises(ConfigError, match="no such module; the nearest are") as error, capturing(Steps(), [asked]):
        pass
    assert offered in str(error.value).partition("nearest")[2]


@pytest.mark.parametrize(
    ("asked", "words"), [("none", "empty list"), ("memory", "puts out a tuple, not one tensor; name another module")]
)
def test_what_has_no_tensor_is_one_error(asked: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words), capturing(Steps(), [asked]) as read:
        read(torch.zeros(1, 3))


def test_a_module_that_does_not_run_gives_an_error_and_not_its_last_value() -> None:
    network = Steps()
    with capturing(network, ["stem", "branch"]) as read:
        assert set(read(torch.zeros(1, 3))) == {"stem", "branch"}
        network(torch.zeros(1, 3))
        with pytest.raises(ConfigError, match="branch: took no part"):
            read(torch.zeros(1, 3), False)


def test_a_later_pass_changes_nothing_of_an_earlier_one() -> None:
    with capturing(Steps(), ["stem"]) as read:
        first = read(torch.zeros(1, 3))["stem"]
        kept = first.clone()
        assert not torch.equal(read(torch.ones(1, 3))["stem"], kept)
        assert torch.equal(first, kept)


@pytest.mark.parametrize("shape", [(1, 3), (1, 7)], ids=["sound", "wrong shape"])
def test_hooks_are_placed_once_and_gone_afterwards(shape: tuple[int, int]) -> None:
    network = Steps()
    try:
        with capturing(network, ["stem", "branch"]) as read:
            assert hooks_of(network) == 2
            read(torch.zeros(shape))
            read(torch.zeros(shape))
            assert hooks_of(network) == 2
    except RuntimeError:
        assert shape == (1, 7)
    assert hooks_of(network) == 0
    assert network.training
