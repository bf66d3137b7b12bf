"""One output, one config: it is written there once, and another one on the same output is refused."""

import contextlib
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from mien.config import Config, differing_keys
from mien.errors import AlreadyExists, ConfigError, RefusedError, StorageError
from mien.storage.uri import Store

CONFIG = "config.yaml"
"""The resolved config, itself valid input of the command."""

C = TypeVar("C", bound=Config)


def require_own(store: Store, config: C, identity: Callable[[C], Mapping[str, Any]], what: str) -> None:
    """Refuse an output that another config made; nothing is written, so that a config that proves wrong claims nothing.

    Args and Raises:
        As with `claim`.
    """
    if any(entry.name == CONFIG for entry in store.list(CONFIG)):
        _require_same(store, config, identity, what)


def claim(store: Store, config: C, identity: Callable[[C], Mapping[str, Any]], what: str) -> None:
    """Write the config once; an output of another one is refused.

    Args:
        store: The output.
        config: What is asked for.
        identity: Of a config, the plain values that decide what is made.
        what: What such an output is called.

    Raises:
        RefusedError: It holds something else, or keys of the identity differ.
        StorageError: It cannot be written.
    """
    with contextlib.suppress(AlreadyExists):
        store.put_new(CONFIG, config.to_yaml().encode())
    _require_same(store, config, identity, what)


def _require_same(store: Store, config: C, identity: Callable[[C], Mapping[str, Any]], what: str) -> None:
    try:
        standing = type(config).load(store.fetch(CONFIG))
    except (StorageError, ConfigError) as error:
        reason = " ".join(str(error).split())
        raise RefusedError(f"{store.uri}: holds no {what} ({reason}); choose another output") from None
    keys = differing_keys(identity(standing), identity(config))
    if keys:
        raise RefusedError(
            f"{store.uri}: was made with another config; these keys differ: {', '.join(keys)}. "
            "Choose another output, or start over with --fresh"
        )
