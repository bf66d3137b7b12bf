"""One config for one output."""

from pathlib import Path
from typing import Any

import pytest

from mien.config import Config
from mien.errors import RefusedError
from mien.storage.claim import CONFIG, claim, require_own
from mien.storage.local import LocalStore


class _Run(Config):
    size: int = 1
    output: str = ""


def identity(config: _Run) -> dict[str, Any]:
    return {"size": config.size}


def test_the_first_config_is_written_and_an_equal_one_goes_on(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    claim(store, _Run(size=3, output="a"), identity, "run")
    claim(store, _Run(size=3, output="b"), identity, "run")
    assert _Run.load(tmp_path / CONFIG) == _Run(size=3, output="a")


def test_another_config_or_something_else_is_refused_and_stays(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    claim(store, _Run(), identity, "run")
    with pytest.raises(RefusedError, match=r"these keys differ: size\. Choose another output, or start over with"):
        claim(store, _Run(size=2), identity, "run")
    store.replace(CONFIG, b"other: 1\n")
    with pytest.raises(RefusedError, match=r"holds no run \(.*other: no such key\); choose another output"):
        claim(store, _Run(), identity, "run")
    assert store.read(CONFIG) == b"other: 1\n"


def test_whose_an_output_is_can_be_asked_without_claiming_it(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    store.replace(f"{CONFIG}.bak", b"size: 5")
    require_own(store, _Run(), identity, "run")
    assert not (tmp_path / CONFIG).exists()
    claim(store, _Run(), identity, "run")
    require_own(store, _Run(output="b"), identity, "run")
    with pytest.raises(RefusedError, match="these keys differ: size"):
        require_own(store, _Run(size=2), identity, "run")
