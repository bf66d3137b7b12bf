import io
import random

import pytest

from mien.storage.ranges import MAX_FETCH_BYTES, MAX_KEPT_BYTES, MIN_FETCH_BYTES, Glance, RangeFile

MB = 1 << 20


class Recorded:
    """An object whose requests are written down."""

    def __init__(self, size_bytes: int, kind: type[RangeFile] = RangeFile) -> None:
        self.data = random.Random(0).randbytes(size_bytes)
        self.requests = list[tuple[int, int]]()
        self.file = kind(self._fetch, size_bytes, "gs://b/x.mp4")

    def _fetch(self, start: int, stop: int) -> bytes:
        self.requests.append((start, stop))
        return self.data[start:stop]

    @property
    def num_bytes(self) -> int:
        return sum(stop - start for start, stop in self.requests)


def test_any_sequence_of_seeks_and_reads_gives_what_a_local_file_gives() -> None:
    chance, recorded = random.Random(1), Recorded(3 * MB)
    local = io.BytesIO(recorded.data)
    for _ in range(2000):
        if chance.random() < 0.5:
            place, whence = chance.choice(
                [(chance.randrange(3 * MB + 10), 0), (-chance.randrange(3 * MB), 2), (chance.randrange(999), 1)]
            )
            assert recorded.file.seek(place, whence) == local.seek(place, whence)
        size = chance.choice([0, 1, 8, 4096, 70_000, 200_000])
        assert recorded.file.read(size) == local.read(size)
        assert recorded.file.tell() == local.tell()


def test_nothing_is_fetched_before_something_is_read() -> None:
    recorded = Recorded(MB)
    recorded.file.seek(500)
    assert recorded.requests == []


def test_what_was_fetched_is_not_fetched_again() -> None:
    recorded = Recorded(4 * MB)
    for _ in range(3):
        recorded.file.seek(0)
        recorded.file.read(MB)
    assert recorded.num_bytes <= 2 * MB
    assert len(set(recorded.requests)) == len(recorded.requests)


def test_a_jump_costs_little_and_a_long_run_few_requests() -> None:
    jumping, running = Recorded(64 * MB), Recorded(64 * MB)
    for place in range(0, 60 * MB, 6 * MB):
        jumping.file.seek(place)
        jumping.file.read(1000)
    assert jumping.num_bytes == 10 * MIN_FETCH_BYTES
    while running.file.read(32_768):
        pass
    assert running.num_bytes == 64 * MB
    assert len(running.requests) < 64 * MB / MAX_FETCH_BYTES + 10


def test_reading_ahead_never_brings_more_than_was_read_before() -> None:
    recorded = Recorded(64 * MB)
    recorded.file.seek(10 * MB)
    for num_read in range(32_768, 8 * MB, 32_768):
        recorded.file.read(32_768)
        assert recorded.num_bytes <= 2 * num_read + MIN_FETCH_BYTES


def test_what_is_expected_comes_in_one_request_wherever_in_it_one_begins_and_ends_there() -> None:
    recorded = Recorded(64 * MB)
    recorded.file.expect(10 * MB, 11 * MB + 100)
    recorded.file.seek(10 * MB + 10)
    while recorded.file.tell() < 11 * MB:
        recorded.file.read(32_768)
    assert recorded.requests == [(10 * MB, 11 * MB + 100)]
    recorded.file.seek(10 * MB)
    recorded.file.read(10)
    recorded.file.seek(11 * MB + 100)
    recorded.file.read(10)
    assert recorded.num_bytes == MB + 100 + MIN_FETCH_BYTES, "what follows is as after a jump"


def test_read_some_makes_one_request_at_most() -> None:
    recorded = Recorded(MB)
    recorded.file.expect(100, 1000)
    recorded.file.seek(100)
    assert [len(recorded.file.read_some(800)) for _ in range(3)] == [800, 100, 800]
    assert recorded.requests == [(100, 1000), (1000, 1000 + MIN_FETCH_BYTES)]
    recorded.file.expect(MB - 10, MB + 50)
    recorded.file.seek(MB - 10)
    assert recorded.file.read_some(100) == recorded.data[-10:]
    assert recorded.file.read_some(100) == b"", "what is expected behind the end is not there"


def test_what_is_kept_of_what_is_expected_does_not_come_again() -> None:
    recorded = Recorded(64 * MB)
    for place in (0, 3 * MB):
        recorded.file.seek(place)
        recorded.file.read(8)
    recorded.file.expect(100, 3 * MB + MIN_FETCH_BYTES)
    recorded.file.seek(MB)
    while recorded.file.tell() < 3 * MB:
        recorded.file.read(32_768)
    assert recorded.requests[2:] == [(MIN_FETCH_BYTES, 3 * MB)]


def test_of_very_much_that_is_expected_what_is_asked_for_comes_first() -> None:
    recorded = Recorded(64 * MB)
    recorded.file.expect(0, 60 * MB)
    recorded.file.seek(30 * MB)
    recorded.file.read(8)
    assert recorded.requests == [(30 * MB, 30 * MB + MAX_FETCH_BYTES)]


def test_a_glance_brings_the_neighbours_of_what_is_asked_for_also_near_the_end() -> None:
    recorded = Recorded(MB, Glance)
    recorded.file.seek(MB - 20_000)
    assert recorded.file.read(8) == recorded.data[-20_000:-19_992]
    assert recorded.num_bytes == MIN_FETCH_BYTES


def test_memory_is_bounded() -> None:
    recorded = Recorded(48 * MB)
    while recorded.file.read(MB):
        assert sum(map(len, recorded.file._kept.values())) <= MAX_KEPT_BYTES


def test_a_service_that_gives_less_than_asked_is_an_error() -> None:
    file = RangeFile(lambda _start, _stop: b"x", 1000, "gs://b/x.mp4")
    with pytest.raises(OSError, match=r"gs://b/x\.mp4: 1 bytes came instead of 1000"):
        file.read(10)


def test_it_reads_into_buffers_and_refuses_to_go_before_the_start() -> None:
    recorded, buffer = Recorded(100), bytearray(60)
    assert recorded.file.readable()
    assert recorded.file.seekable()
    assert (recorded.file.readinto(buffer), recorded.file.readinto(buffer)) == (60, 40)
    assert bytes(buffer[:40]) == recorded.data[60:]
    with pytest.raises(ValueError, match="before the start"):
        recorded.file.seek(-1)
