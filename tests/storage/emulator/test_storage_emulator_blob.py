import base64
import hashlib

import pytest

from mien.storage.emulator.blob import Sums, check_bucket_name, check_object_name, merged, writable
from mien.storage.emulator.messages import Refusal

CRC32C_OF_DIGITS = 0xE3069283
"""Of `123456789`, the check value of CRC-32/ISCSI in the catalogue of parametrised CRC algorithms."""

DIGITS = Sums(
    base64.b64encode(CRC32C_OF_DIGITS.to_bytes(4, "big")).decode(),
    base64.b64encode(hashlib.md5(b"123456789").digest()).decode(),
)


@pytest.mark.parametrize("data", [b"123456789", memoryview(b"0123456789")[1:]])
def test_sums_are_those_of_the_catalogue(data: bytes) -> None:
    assert Sums.of(data) == DIGITS


def test_sums_of_a_header_may_come_in_any_order() -> None:
    assert Sums.of_header(f"md5={DIGITS.md5}, crc32c={DIGITS.crc32c}") == DIGITS
    assert Sums.of_header(f"crc32c={DIGITS.crc32c}") == Sums(DIGITS.crc32c)
    assert Sums.of_header("") == Sums()


@pytest.mark.parametrize("demand", [Sums("AAAAAA=="), Sums(None, DIGITS.crc32c)])
def test_another_sum_is_refused(demand: Sums) -> None:
    DIGITS.check(Sums(), DIGITS)
    with pytest.raises(Refusal, match="doesn't match calculated") as refused:
        DIGITS.check(Sums(), demand)
    assert refused.value.status == 400


def test_a_client_cannot_say_what_is_the_servers() -> None:
    stated = {"name": "x", "generation": "1", "contentType": "a/b", "cacheControl": None, "metadata": {"k": "v"}}
    assert writable(stated) == {"contentType": "a/b", "metadata": {"k": "v"}}


@pytest.mark.parametrize("metadata", [["k"], {"k": 1}, "k"])
def test_custom_metadata_are_strings(metadata: object) -> None:
    with pytest.raises(Refusal, match="metadata"):
        writable({"metadata": metadata})


def test_a_patch_merges_custom_metadata_and_null_removes() -> None:
    before = {"contentType": "a/b", "cacheControl": "no-store", "metadata": {"a": "1", "b": "2"}}
    after = merged(before, {"cacheControl": None, "metadata": {"b": None, "c": "3"}, "generation": "5"})
    assert after == {"contentType": "a/b", "metadata": {"a": "1", "c": "3"}}
    assert merged(before, {"metadata": None}) == {"contentType": "a/b", "cacheControl": "no-store"}
    assert before["metadata"] == {"a": "1", "b": "2"}


@pytest.mark.parametrize("name", ["", ".", "..", "a\nb", "a\rb", "é" * 513])
def test_names_that_no_object_can_have(name: str) -> None:
    with pytest.raises(Refusal, match="name"):
        check_object_name(name)


@pytest.mark.parametrize("name", ["../x", "/x", "é" * 512, "...", "a\0b"])
def test_names_that_an_object_can_have(name: str) -> None:
    check_object_name(name)


@pytest.mark.parametrize("name", ["ab", "Ab1", "-abc", "a/b", "..", None, "abc\n", "__faults"])
def test_names_that_no_bucket_can_have(name: object) -> None:
    with pytest.raises(Refusal, match="cannot name a bucket"):
        check_bucket_name(name)
