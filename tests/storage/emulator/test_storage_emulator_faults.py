"""What each fault does to the real clients, as their users meet it."""

import gc
import io
import os
from collections.abc import Iterator
from typing import Any

import pytest
from gcs_conformance import Place
from google.api_core.exceptions import Forbidden, NotFound, PreconditionFailed, ServiceUnavailable
from google.cloud.storage.exceptions import DataCorruption
from google.cloud.storage.retry import DEFAULT_RETRY

from mien.storage.emulator import Emulator
from mien.storage.emulator.faults import BEFORE, BODY, Faults
from mien.storage.emulator.messages import Refusal

QUICK = DEFAULT_RETRY.with_delay(initial=0.01, maximum=0.05).with_timeout(20)
DATA = os.urandom(3 << 20)
UPLOAD, READ = "^POST /upload/", "^GET .*alt=media"


pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")


@pytest.fixture(autouse=True)
def leftovers() -> Iterator[None]:
    """google-cloud-storage leaves the connections of failed downloads open: they end within the test that made them."""
    yield
    gc.collect()


@pytest.fixture
def written(place: Place) -> Place:
    """A bucket with the object `x`."""
    place.blob("x").upload_from_string(DATA)
    return place


def read(place: Place, **options: Any) -> bytes:
    return place.blob("x").download_as_bytes(retry=QUICK, **options)


def num_fired(emulator: Emulator) -> int:
    return len(emulator.fired())


@pytest.mark.parametrize("fault", ["status:503", "status:500", "status:429", "reset"])
def test_an_upload_that_fails_before_the_server_acted_is_tried_again(
    emulator: Emulator, place: Place, fault: str
) -> None:
    emulator.faults([{"match": UPLOAD, "fault": fault, "times": 2}])
    blob = place.blob("x")
    blob.upload_from_string(DATA, if_generation_match=0, retry=QUICK)
    assert num_fired(emulator) == 2
    assert read(place) == DATA


def test_a_lost_answer_to_a_create_looks_like_a_lost_race(emulator: Emulator, place: Place) -> None:
    emulator.faults([{"match": UPLOAD, "fault": "lost_ack"}])
    with pytest.raises(PreconditionFailed):
        place.blob("x").upload_from_string(DATA, if_generation_match=0, retry=QUICK)
    assert read(place) == DATA


def test_a_lost_answer_to_the_last_chunk_is_asked_for_again(emulator: Emulator, place: Place) -> None:
    size = len(DATA)
    emulator.faults([{"match": "^PUT .*upload_id", "fault": "lost_ack", "skip": size // (1 << 20) - 1}])
    blob = place.blob("x", chunk_size=1 << 20)
    blob.upload_from_file(io.BytesIO(DATA), size=None, if_generation_match=0, retry=QUICK)
    assert num_fired(emulator) == 1
    assert read(place) == DATA


@pytest.mark.parametrize("fault", ["status:503", "status:429", "reset", "truncate"])
def test_a_read_that_fails_is_tried_again(emulator: Emulator, written: Place, fault: str) -> None:
    emulator.faults([{"match": READ, "fault": fault, "times": 2}])
    assert read(written) == DATA
    assert num_fired(emulator) == 2


def test_a_lost_answer_to_a_delete_looks_like_no_object(emulator: Emulator, written: Place) -> None:
    emulator.faults([{"match": "^DELETE", "fault": "lost_ack"}])
    with pytest.raises(NotFound):
        written.blob("x").delete(retry=QUICK)


def test_a_stall_longer_than_the_clients_patience_is_tried_again(emulator: Emulator, written: Place) -> None:
    emulator.faults([{"match": READ, "fault": "stall:30"}])
    assert read(written, timeout=0.5) == DATA
    assert num_fired(emulator) == 1


def test_a_flipped_bit_in_a_whole_read_is_seen_by_two_of_three_clients(emulator: Emulator, written: Place) -> None:
    rule = {"match": READ, "fault": "flip", "times": 100}
    emulator.faults([rule])
    with pytest.raises(DataCorruption):
        read(written)
    with written.arrow().open_input_stream(written.path("x")) as file, pytest.raises(OSError, match=r"(?i)data_?loss"):
        file.read()
    assert num_bits(written.gcsfs().cat_file(written.path("x"))) == 1


def test_no_client_sees_a_flipped_bit_in_a_ranged_read(emulator: Emulator, written: Place) -> None:
    emulator.faults([{"match": READ, "fault": "flip", "times": 100}])
    assert num_bits(read(written, start=0, end=99)) == 1
    assert num_bits(written.gcsfs().cat_file(written.path("x"), start=0, end=100)) == 1
    with written.arrow().open_input_file(written.path("x")) as file:
        assert num_bits(file.read_at(100, 0)) == 1


def num_bits(data: bytes) -> int:
    """Bits in which the beginning of the object differs."""
    assert data
    return sum((mine ^ true).bit_count() for mine, true in zip(data, DATA, strict=False))


def test_times_and_skip_count_matches_alone(emulator: Emulator, written: Place) -> None:
    emulator.faults([{"match": READ, "fault": "status:503", "times": 1, "skip": 1}])
    assert written.blob("x").exists()
    assert read(written) == DATA
    with pytest.raises(ServiceUnavailable):
        written.blob("x").download_as_bytes(retry=None)
    assert read(written) == DATA
    (fired,) = emulator.fired()
    assert fired["fault"] == "status:503"
    assert fired["request"].startswith("GET /download/storage/v1/b/bucket-")


def test_the_first_rule_that_is_left_strikes() -> None:
    faults = Faults()
    faults.set([{"match": "GET", "fault": "status:500"}, {"match": "/b", "fault": "status:503", "times": 2}])
    taken = [faults.take("GET /b", BEFORE).status for _ in range(4)]
    assert taken == [500, 503, 503, 0]
    assert [fired["fault"] for fired in faults.fired()] == ["status:500", "status:503", "status:503"]


def test_a_status_may_come_with_the_reason_of_the_service(emulator: Emulator, written: Place) -> None:
    emulator.faults([{"match": READ, "fault": "status:403:quotaExceeded"}])
    with pytest.raises(Forbidden) as raised:
        read(written)
    assert '"reason": "quotaExceeded"' in raised.value.response.text


def test_a_fault_of_the_body_waits_for_a_body() -> None:
    faults = Faults()
    faults.set([{"match": "GET", "fault": "flip"}])
    assert faults.take("GET /b", BEFORE).kind == ""
    assert faults.take("GET /b", BODY).kind == "flip"


def test_new_rules_replace_the_old_and_forget_what_fired() -> None:
    faults = Faults()
    faults.set([{"match": "GET", "fault": "reset", "times": 9}])
    faults.take("GET /b", BEFORE)
    faults.set([])
    assert (faults.take("GET /b", BEFORE).kind, faults.fired()) == ("", [])


@pytest.mark.parametrize(
    "rules",
    [
        {"match": "x", "fault": "reset"},
        [{"match": "x"}],
        [{"match": "x", "fault": "explode"}],
        [{"match": "x", "fault": "status:200"}],
        [{"match": "x", "fault": "stall:long"}],
        [{"match": "(", "fault": "reset"}],
        [{"match": "x", "fault": "reset", "time": 3}],
        [{"match": "x", "fault": "reset", "times": -1}],
        [{"match": 3, "fault": "reset"}],
    ],
)
def test_a_rule_that_cannot_be_used_is_refused_and_nothing_changes(rules: Any) -> None:
    faults = Faults()
    faults.set([{"match": "GET", "fault": "reset"}])
    with pytest.raises(Refusal, match=r"fault"):
        faults.set(rules)
    assert faults.take("GET /b", BEFORE).kind == "reset"


def test_a_wrong_rule_is_told_through_http(emulator: Emulator) -> None:
    with pytest.raises(ValueError, match="'explode' is not status:4xx"):
        emulator.faults([{"match": "x", "fault": "explode"}])
