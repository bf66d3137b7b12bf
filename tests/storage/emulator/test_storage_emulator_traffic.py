from collections.abc import Iterator

import pytest
from gcs_conformance import Place

from mien.storage.emulator import Emulator, Traffic
from mien.storage.emulator.traffic import Meter


@pytest.fixture(scope="module")
def emulator() -> Iterator[Emulator]:
    """One for this file alone: a reply that a client of another one has hung up on may still be on its way."""
    with Emulator() as emulator:
        yield emulator


def test_kinds_are_counted_apart_until_reset() -> None:
    meter = Meter()
    meter.add("a", Traffic(1, 10, 0))
    meter.add("a", Traffic(0, 0, 5))
    meter.add("b", Traffic(1, 0, 0))
    assert meter.read() == {"a": Traffic(1, 10, 5), "b": Traffic(1, 0, 0)}
    meter.reset()
    assert meter.read() == {}


def test_bytes_of_ranged_reads_are_counted(emulator: Emulator, place: Place) -> None:
    place.blob("x").upload_from_string(b"a" * 100_000)
    emulator.reset_traffic()
    place.blob("x").download_as_bytes(start=10, end=1009)
    place.blob("x").download_as_bytes(start=-5, checksum=None)
    place.blob("x").exists()
    traffic = emulator.traffic()
    assert traffic["objects.read"] == Traffic(2, 0, 1005)
    assert traffic["objects.get"].num_requests == 1
    assert "objects.list" not in traffic


def test_uploads_are_counted_by_what_came_in(emulator: Emulator, place: Place) -> None:
    emulator.reset_traffic()
    place.blob("x").upload_from_string(b"a" * 100_000)
    assert 100_000 < emulator.traffic()["objects.insert"].received_bytes < 101_000


def test_a_body_that_is_cut_counts_as_far_as_it_went(emulator: Emulator, place: Place) -> None:
    place.blob("x").upload_from_string(b"a" * 1000)
    emulator.reset_traffic()
    emulator.faults([{"match": "alt=media", "fault": "truncate"}])
    assert place.blob("x").download_as_bytes() == b"a" * 1000
    assert emulator.traffic()["objects.read"].served_bytes == 1500
