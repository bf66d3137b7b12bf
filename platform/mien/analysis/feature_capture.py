"""What modules of a network put out, read by forward hooks from outside: any torch module, and none is changed."""

import difflib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any, NamedTuple

from torch import Tensor, nn

from mien.errors import ConfigError
from mien.models.layers import evaluation

_NUM_OFFERED = 3

Read = Callable[..., dict[str, Tensor]]
"""Runs the network once on its arguments; outputs by name, on the CPU, none of them of an earlier pass."""


class Located(NamedTuple):
    """A module that is read."""

    name: str
    """As it was asked for."""
    path: str
    """Where it lies in the network; of a `ModuleList`, which has no output, the last element is read."""
    module: nn.Module


def locate(network: nn.Module, name: str, known: Mapping[str, nn.Module] | None = None, key: str = "layers") -> Located:
    """The module with a dotted path, or with one of the names that the network gives (`known`, e.g. `Unet.taps`).

    Messages begin with the key of the config that names it.

    Raises:
        ConfigError: There is none, or it is an empty list; the nearest names are offered.
    """
    paths = {module: path for path, module in network.named_modules()}
    by_name = {path: module for module, path in paths.items() if path} | dict(known or {})
    if name not in by_name:
        near = difflib.get_close_matches(name, by_name, n=_NUM_OFFERED, cutoff=0.4) or [*by_name][:_NUM_OFFERED]
        raise ConfigError(f"{key}: {name}: no such module; the nearest are {', '.join(near)}")
    module = by_name[name]
    while isinstance(module, nn.ModuleList):
        if not len(module):
            raise ConfigError(f"{key}: {name}: is an empty list of modules; name another")
        module = module[-1]
    return Located(name, paths[module], module)


@contextmanager
def capturing(network: nn.Module, names: Sequence[str], known: Mapping[str, nn.Module] | None = None) -> Iterator[Read]:
    """Within: a function that runs the network in eval mode and gives what the named modules put out.

    The hooks are placed once and are gone afterwards, also after an error. Of a module that runs more than once in a
    pass the last output counts.

    Raises:
        ConfigError: A name is unknown; when run, a module took no part in the pass or puts out something else than a
            tensor.
    """

    def read(*inputs: Any) -> dict[str, Tensor]:
        seen = observe(*inputs)
        silent = [name for name in names if name not in seen]
        if silent:
            raise ConfigError(f"layers: {', '.join(silent)}: took no part in the forward pass; name the modules within")
        return {name: seen[name] for name in names}

    with observing(network, [locate(network, name, known) for name in names]) as observe:
        yield read


@contextmanager
def observing(network: nn.Module, located: Sequence[Located], key: str = "layers") -> Iterator[Read]:
    """The same of modules of which some may take no part in a pass: they have no output then, not that of another pass.

    Raises:
        ConfigError: When run, a module puts out something else than a tensor.
    """
    seen = dict[str, Tensor]()

    def observe(*inputs: Any) -> dict[str, Tensor]:
        seen.clear()  # of a pass that somebody else made in between
        try:
            with evaluation(network):
                network(*inputs)
            return dict(seen)
        finally:
            seen.clear()  # no output outlives its pass here

    with ExitStack() as hooks:
        for one in located:
            hooks.callback(one.module.register_forward_hook(partial(_keep, seen, one.name, key)).remove)
        yield observe


def _keep(seen: dict[str, Tensor], name: str, key: str, module: nn.Module, _: object, output: object) -> None:
    if not isinstance(output, Tensor):
        within = ", ".join(f"{name}.{path}" for path, _ in module.named_children()) or "another module"
        raise ConfigError(f"{key}: {name}: puts out a {type(output).__name__}, not one tensor; name {within}")
    seen[name] = output.detach().float().cpu().clone()
