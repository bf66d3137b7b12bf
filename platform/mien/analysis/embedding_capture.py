"""Embeddings out of any torch model, by hooks from outside: its code is not touched, and without them it runs as ever.

    hooks: {visual: PATH, text: PATH}

A path is dotted, as `named_modules` gives it. Take the last module whose output is still an embedding: of the rows
after every adapter and before anything compares them with texts, of the texts after their last adapter too. That of
the texts is read once, from the first pass in which it runs. `check` runs one item and tells the shapes.
"""

import importlib
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Any, Literal, NamedTuple

import torch
from pydantic import Field
from torch import Tensor, nn

from mien.analysis.feature_capture import Located, Read, locate, observing
from mien.config import Config
from mien.datasets.embedding_file import EmbeddingFile
from mien.errors import ConfigError, DatasetError, TooManyFailures
from mien.log import logger
from mien.storage.uri import Store

Modality = Literal["visual", "text"]
VISUAL, TEXT = "visual", "text"

FREE = ("num_items", "save_every", "max_failed", "safetensors")
"""Keys that decide nothing about a row: a file grows with other values of them."""
_TELL_EVERY_S = 30


class Item(NamedTuple):
    """What is given to the network at once: one image, say."""

    name: str
    """Of its rows, each with a number behind it if there are several."""
    inputs: tuple[Any, ...]
    """Arguments of the forward pass."""
    labels: tuple[str, ...] = ()
    """Classes of its rows: one for each, one for all, or none."""


class CaptureConfig(Config):
    """Which network sees which items, and what is read of it."""

    network: str = ""
    """`package.module:name` of something importable that, called with `arguments`, gives a torch module with its
    weights loaded. It runs as code: name only what you trust."""
    arguments: dict[str, Any] = Field(default_factory=dict)
    """Of that call."""
    items: str = ""
    """The same of what gives items: `Item`, or tuples (name, inputs, labels)."""
    item_arguments: dict[str, Any] = Field(default_factory=dict)
    """Of that call, such as which part of the data."""
    hooks: dict[Modality, str] = Field(default_factory=dict)
    """Modality to dotted path."""
    text_names: tuple[str, ...] = ()
    """Names of the rows of the text; numbers if none."""
    name: str = Field("embeddings", pattern=r"^[\w-]+$")
    """Of the file, without its ending."""
    num_items: int | None = Field(None, ge=1)
    """The first ones alone; none: all. 100 to start small."""
    save_every: int = Field(100, ge=1)
    """Items whose rows an end in between may cost."""
    max_failed: float = Field(0.1, ge=0, le=1)
    """Share of the items that may fail; more end with an error, and what was found stays."""
    safetensors: bool = False
    """Beside the Parquet file: the same rows as NAME.safetensors."""


class Captured(NamedTuple):
    """What a capture came to."""

    name: str
    """Of the file in the store."""
    num_items: int
    num_failed: int
    num_empty: int
    """Items for which the visual module did not run, or gave no row."""
    num_rows: int


def capture(config: CaptureConfig, store: Store) -> Captured:
    """Import network and items, run all items, and write the file; the same call takes up what an earlier one left.

    Raises:
        ConfigError: A name cannot be imported, a hook leads nowhere (the nearest paths are offered), or its output is
            no tensor.
        DatasetError: No item gave a visual embedding.
        TooManyFailures: More items failed than may.
        RefusedError: The output was begun with another config.
        StorageError: The file cannot be written.
    """
    return capture_from(*opened(config), config, store)


def opened(config: CaptureConfig) -> tuple[nn.Module, Iterator[Item]]:
    """Import network and items, and find the hooks.

    Raises:
        ConfigError: A name cannot be imported or gives something else, or a hook leads nowhere.
    """
    network = imported(config.network, "network")(**config.arguments)
    if not isinstance(network, nn.Module):
        raise ConfigError(f"network: {config.network} gives a {type(network).__name__}, not a torch module")
    hooked(network, config)
    items = imported(config.items, "items")(**config.item_arguments)
    return network, (Item(*each) for each in items)


def capture_from(network: nn.Module, items: Iterable[Item], config: CaptureConfig, store: Store) -> Captured:
    """The same of a network and items in memory; `network`, `items` and their arguments are recorded as they stand."""
    located = hooked(network, config)
    about = {
        **config.model_dump(mode="json", include={*CaptureConfig.model_fields}),
        "modules": {one.name: one.path for one in located},
    }
    for key in FREE:
        about.pop(key)
    file = EmbeddingFile(store, config.name, about, config.save_every)
    num, num_new = 0, 0
    started = told = time.monotonic()
    with observing(network, located, "hooks") as observe, _flushed(file):
        for num, item in enumerate(islice(items, config.num_items), start=1):
            if item.name in file.done:
                continue
            _add(file, item._replace(inputs=_moved(item.inputs, network)), observe, config)
            num_new += 1
            if time.monotonic() - told > _TELL_EVERY_S:
                told = time.monotonic()
                _tell(num, num_new, told - started, config.num_items)
    return _finished(file, num, config)


def hooked(network: nn.Module, config: CaptureConfig) -> list[Located]:
    """The modules that are read, each under the name of its modality.

    Raises:
        ConfigError: There is none, or a path leads nowhere; the nearest are offered.
    """
    if not config.hooks:
        raise ConfigError("hooks: none is given; name modules, hooks.visual=PATH and hooks.text=PATH")
    found = {name: locate(network, path, key=f"hooks.{name}") for name, path in config.hooks.items()}
    return [one._replace(name=name) for name, one in found.items()]


def check(network: nn.Module, item: Item, config: CaptureConfig) -> list[str]:
    """Run one item and tell what each hook sees, line by line; the last line says that all is well.

    Raises:
        ConfigError: A hook leads nowhere, its output is no tensor of rows, or it did not run.
    """
    located = hooked(network, config)
    lines = [f"network: {type(network).__name__}", f"hooks: {', '.join(f'{one.name} → {one.path}' for one in located)}"]
    with observing(network, located, "hooks") as observe:
        seen = observe(*_moved(item.inputs, network))
    for one in located:
        if one.name not in seen:
            raise ConfigError(f"hooks.{one.name}: {one.path} took no part in the pass of {item.name!r:.60}; {_CAUSES}")
        lines.append(f"{one.name}: {[*_rows_of(one.name, seen[one.name]).shape]}")
    return [*lines, "ALL CHECKS PASSED"]


def imported(target: str, key: str) -> Callable[..., Any]:
    """What `package.module:name` names.

    Raises:
        ConfigError: There is no such module or name, or it cannot be called.
    """
    module, _, path = target.partition(":")
    if not module or not path:
        raise ConfigError(f"{key}: is required, as package.module:name, not {target!r:.60}")
    try:
        found: Any = importlib.import_module(module)
        for name in path.split("."):
            found = getattr(found, name)
    except (ImportError, AttributeError) as error:
        raise ConfigError(
            f"{key}: {target} cannot be imported: {error}; give package.module:name, its folder in PYTHONPATH"
        ) from None
    if not callable(found):
        raise ConfigError(f"{key}: {target} is a {type(found).__name__} and cannot be called; name a function or class")
    called: Callable[..., Any] = found
    return called


_CAUSES = (
    "the usual causes: nothing was detected in the image, the detector has no weights, or the hook is on another branch"
)


def _add(file: EmbeddingFile, item: Item, observe: Read, config: CaptureConfig) -> None:
    """Rows of one item; what goes wrong is told among the failures."""
    try:
        seen = observe(*item.inputs)
        for modality, output in seen.items():
            rows = _rows_of(modality, output)
            if modality == TEXT:
                _add_text(file, rows, config)
            elif len(rows):
                file.add(item.name, modality, rows.numpy(), _names(item.name, len(rows)), _labels(item, len(rows)))
    except ConfigError:
        raise
    except Exception as error:  # noqa: BLE001  a stranger's network fails in any way, and one image is not all
        file.fail(item.name, error)
        logger.warning("%s: %s: %s", item.name, type(error).__name__, error)
    file.end_item(item.name)


def _add_text(file: EmbeddingFile, rows: Tensor, config: CaptureConfig) -> None:
    """Once: the texts are the same for every image."""
    if file.items_of(TEXT):
        return
    names = config.text_names or [f"text {number}" for number in range(len(rows))]
    if len(names) != len(rows):
        raise ConfigError(f"text_names: has {len(names)} names for {len(rows)} texts; give one for each")
    file.add(TEXT, TEXT, rows.numpy(), names, names)


def _rows_of(modality: str, output: Tensor) -> Tensor:
    """Output as [n, d].

    Raises:
        ConfigError: It is of another shape.
        DatasetError: A number is none.
    """
    if output.ndim == 1:
        output = output[None]
    if output.ndim != 2:
        squeeze = ", or squeeze the axis of 1 in a module of your own" if 1 in output.shape else ""
        raise ConfigError(
            f"hooks.{modality}: puts out {[*output.shape]}, not rows [n, d]; name a later module{squeeze}"
        )
    if not bool(output.isfinite().all()):
        raise DatasetError(f"its {modality} embedding holds NaN or infinity")
    return output


def _names(name: str, num: int) -> list[str]:
    return [name] if num == 1 else [f"{name}#{number}" for number in range(num)]


def _labels(item: Item, num: int) -> list[str]:
    labels = item.labels if len(item.labels) == num else (item.labels or ("",)) * num
    if len(labels) != num:
        raise ValueError(f"{len(item.labels)} labels for {num} rows; give one for each, one for all, or none")
    return [*labels]


def _moved(inputs: tuple[Any, ...], network: nn.Module) -> tuple[Any, ...]:
    """Tensors to where the network is."""
    device = next((one.device for one in network.parameters()), torch.device("cpu"))
    return tuple(each.to(device) if isinstance(each, Tensor) else each for each in inputs)


@contextmanager
def _flushed(file: EmbeddingFile) -> Iterator[None]:
    """What was computed is kept, also when a person stops it."""
    try:
        yield
    finally:
        file.flush()


def _tell(num: int, num_new: int, seconds: float, total: int | None) -> None:
    left = f", about {(total - num) * seconds / num_new:.0f} s left" if total else ""
    logger.info("items    %d of %s%s", num, total or "?", left)


def _finished(file: EmbeddingFile, num: int, config: CaptureConfig) -> Captured:
    num_failed, num_filled = len(file.failures), len(file.items_of(VISUAL))
    if VISUAL in config.hooks and not num_filled:
        first = f"; the first failure: {file.failures[0]['error']}" if file.failures else ""
        raise DatasetError(f"items: none of {num} gave a visual embedding, {num_failed} failed; {_CAUSES}{first}")
    num_rows, name = file.num_rows, file.finish(config.safetensors)
    if num_failed > config.max_failed * max(num, 1):
        raise TooManyFailures(
            f"items: {num_failed} of {num} failed, more than max_failed={config.max_failed:g}; {name} has the others; "
            f"the first: {file.failures[0]['item']}: {file.failures[0]['error']}"
        )
    return Captured(name, num, num_failed, num - num_failed - num_filled, num_rows)
