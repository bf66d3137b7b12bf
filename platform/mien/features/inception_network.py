"""Inception-v3 (Szegedy et al. 2016) as the FID knows it: pixels to 2048 numbers, modules named as in its weights.

It is the graph `inception-2015-12-05` of TensorFlow, which other Inceptions differ from: an average over neighbours
counts those alone that lie inside of the map, and the last block takes their maximum instead.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

DIM = 2048
"""Features of an image."""

_POOL = "branch_pool"
"""The branch that sees the pooled maps; it may end there."""

Kernel = tuple[int, int]
"""Height and width."""


class Conv(NamedTuple):
    """One step of a branch."""

    channels: int
    kernel: Kernel = (1, 1)
    fork: Kernel | None = None
    """A second kernel beside the first, with maps of its own."""
    stride: int = 1
    is_padded: bool = True
    """Whether the maps keep their size."""


class ConvNormRelu(nn.Module):
    """A convolution without bias, batch norm, relu."""

    def __init__(self, num_inputs: int, step: Conv, kernel: Kernel) -> None:
        """`kernel` is one of the step's."""
        super().__init__()
        padding = (kernel[0] // 2, kernel[1] // 2) if step.is_padded else (0, 0)
        self.conv = nn.Conv2d(num_inputs, step.channels, kernel, step.stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(step.channels, eps=0.001)

    def forward(self, x: Tensor) -> Tensor:
        """Maps [b, channels, h, w] of maps [b, c, h, w], fewer where the step has a stride or no padding."""
        return functional.relu(self.bn(self.conv(x)), inplace=True)


Branch = Sequence[Conv]
"""Empty: what comes in goes out."""

Pool = Callable[[Tensor], Tensor]


class Mixed(nn.Module):
    """Branches side by side, their maps one after another."""

    def __init__(self, num_inputs: int, pool: Pool, branches: Mapping[str, Branch]) -> None:
        """`pool` is what the branch of that name begins with."""
        super().__init__()
        self._pool, self.num_outputs = pool, 0
        self._steps: dict[str, list[list[str]]] = {}
        for name, branch in branches.items():
            width, steps = num_inputs, _named(name, branch)
            for step, kernels in zip(branch, steps, strict=True):
                for key, kernel in kernels.items():
                    self.add_module(key, ConvNormRelu(width, step, kernel))
                width = step.channels * len(kernels)
            self._steps[name] = [[*kernels] for kernels in steps]
            self.num_outputs += width

    def forward(self, x: Tensor) -> Tensor:
        """Maps [b, num_outputs, h, w] of maps [b, num_inputs, h, w]."""
        return torch.cat([self._through(name, self._pool(x) if name == _POOL else x) for name in self._steps], 1)

    def _through(self, branch: str, x: Tensor) -> Tensor:
        for keys in self._steps[branch]:
            x = torch.cat([self.get_submodule(key)(x) for key in keys], 1)
        return x


def _named(branch: str, steps: Branch) -> list[dict[str, Kernel]]:
    """Kernels of each step by the names in the file: branch and place, which one that is alone does not have."""
    named = []
    for place, step in enumerate(steps, 1):
        name = branch if len(steps) == 1 else f"{branch}_{place}"
        named.append({name: step.kernel} if step.fork is None else {f"{name}a": step.kernel, f"{name}b": step.fork})
    return named


_AVERAGE: Pool = partial(functional.avg_pool2d, kernel_size=3, stride=1, padding=1, count_include_pad=False)
_MAXIMUM: Pool = partial(functional.max_pool2d, kernel_size=3, stride=1, padding=1)
_HALVING: Pool = partial(functional.max_pool2d, kernel_size=3, stride=2)

_SMALL, _LARGE, _ROW, _COLUMN = (3, 3), (5, 5), (1, 7), (7, 1)
_HALVED = partial(Conv, kernel=_SMALL, stride=2, is_padded=False)
_FORKED = Conv(384, (1, 3), fork=(3, 1))


def _fine(pooled: int) -> dict[str, Branch]:
    """At 35 px."""
    return {
        "branch1x1": [Conv(64)],
        "branch5x5": [Conv(48), Conv(64, _LARGE)],
        "branch3x3dbl": [Conv(64), Conv(96, _SMALL), Conv(96, _SMALL)],
        _POOL: [Conv(pooled)],
    }


def _middle(width: int) -> dict[str, Branch]:
    """At 17 px: seven by seven, by rows and columns."""
    row, column = Conv(width, _ROW), Conv(width, _COLUMN)
    return {
        "branch1x1": [Conv(192)],
        "branch7x7": [Conv(width), row, Conv(192, _COLUMN)],
        "branch7x7dbl": [Conv(width), column, row, column, Conv(192, _ROW)],
        _POOL: [Conv(192)],
    }


_COARSE: dict[str, Branch] = {
    "branch1x1": [Conv(320)],
    "branch3x3": [Conv(384), _FORKED],
    "branch3x3dbl": [Conv(448), Conv(384, _SMALL), _FORKED],
    _POOL: [Conv(192)],
}
"""At 8 px."""

_TO_17_PX: dict[str, Branch] = {
    "branch3x3": [_HALVED(384)],
    "branch3x3dbl": [Conv(64), Conv(96, _SMALL), _HALVED(96)],
    _POOL: [],
}
_TO_8_PX: dict[str, Branch] = {
    "branch3x3": [Conv(192), _HALVED(320)],
    "branch7x7x3": [Conv(192), Conv(192, _ROW), Conv(192, _COLUMN), _HALVED(192)],
    _POOL: [],
}

_STEM: dict[str, Conv | None] = {
    "Conv2d_1a_3x3": _HALVED(32),
    "Conv2d_2a_3x3": Conv(32, _SMALL, is_padded=False),
    "Conv2d_2b_3x3": Conv(64, _SMALL),
    "MaxPool_1": None,
    "Conv2d_3b_1x1": Conv(80),
    "Conv2d_4a_3x3": Conv(192, _SMALL, is_padded=False),
    "MaxPool_2": None,
}
"""From 299 to 35 px."""

_BLOCKS: dict[str, tuple[Pool, dict[str, Branch]]] = {
    "Mixed_5b": (_AVERAGE, _fine(32)),
    "Mixed_5c": (_AVERAGE, _fine(64)),
    "Mixed_5d": (_AVERAGE, _fine(64)),
    "Mixed_6a": (_HALVING, _TO_17_PX),
    "Mixed_6b": (_AVERAGE, _middle(128)),
    "Mixed_6c": (_AVERAGE, _middle(160)),
    "Mixed_6d": (_AVERAGE, _middle(160)),
    "Mixed_6e": (_AVERAGE, _middle(192)),
    "Mixed_7a": (_HALVING, _TO_8_PX),
    "Mixed_7b": (_AVERAGE, _COARSE),
    "Mixed_7c": (_MAXIMUM, _COARSE),
}


def inception() -> nn.Sequential:
    """The network without its classifier: [b, 2048] of pixels [b, 3, 299, 299] in [-1, 1); weights are given later."""
    network, width = nn.Sequential(), 3
    for name, step in _STEM.items():
        network.add_module(name, nn.MaxPool2d(3, 2) if step is None else ConvNormRelu(width, step, step.kernel))
        width = width if step is None else step.channels
    for name, (pool, branches) in _BLOCKS.items():
        block = Mixed(width, pool, branches)
        network.add_module(name, block)
        width = block.num_outputs
    return network.extend([nn.AdaptiveAvgPool2d(1), nn.Flatten()])
