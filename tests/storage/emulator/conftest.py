"""One emulator for all tests of this room; every test has a bucket of its own and no faults but its own."""

import contextlib
import itertools
from collections.abc import Iterator

import pytest
from gcs_conformance import Place

from mien.storage.emulator import Emulator

_numbers = itertools.count()


@pytest.fixture(scope="session")
def emulator() -> Iterator[Emulator]:
    with Emulator() as emulator:
        yield emulator


@pytest.fixture
def place(emulator: Emulator) -> Iterator[Place]:
    """A new, empty bucket of our emulator."""
    name = f"bucket-{next(_numbers)}"
    emulator.create_bucket(name)
    with contextlib.closing(Place(name, "", emulator.url)) as place:
        yield place
    emulator.faults([])
