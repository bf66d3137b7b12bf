"""Plain values come back as from Python's unpickler; what would run is a note, and nothing ran."""

import os
import pickle
from pathlib import Path
from typing import Any

import pytest

from mien.datasets.pickle_data import Call, Name, parse
from pickle_bomb import Bomb

PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)
LIST = ["shared"]
VALUES = {
    "texts": ["", "é", "x" * 300, "x" * 70_000, "a\nb"],
    "numbers": [0, -1, 255, 256, 70_000, -(2**31), 2**40, 2**2100, 0.5, -1e300],
    "kinds": [None, True, False, (), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4), [], {}],
    "same": [LIST, LIST],
    7: {"a": {"b": [[[]]]}},
}


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_plain_values(protocol: int) -> None:
    found = parse(pickle.dumps(VALUES, protocol))
    assert found == VALUES
    assert found["same"][0] is found["same"][1]


@pytest.mark.parametrize("protocol", [3, 4, 5])
def test_bytes(protocol: int) -> None:
    for value in (b"", b"x" * 70_000):
        assert parse(pickle.dumps(value, protocol)) == value
    assert parse(pickle.dumps(bytearray(b"ab"), 5)) == b"ab"


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_call_is_noted_and_not_made(tmp_path: Path, protocol: int) -> None:
    mark = tmp_path / "ran"
    found = parse(pickle.dumps({"a": Bomb(mark)}, protocol))
    assert found == {"a": Call(Name(f"{os.mkdir.__module__}.mkdir"), (str(mark),))}
    assert not mark.exists()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "pickle exhausted|ends too soon|exhausted"),
        (b"N", "exhausted"),
        (b"cos\nsystem\nX\x02\x00\x00\x00lsR.", "calls what is no name"),
        (b"X\x02\x00\x00\x00lsX\x02\x00\x00\x00lsb.", "gives state to a str"),
        (b"(ios\nsystem\n.", "needs INST"),
        (b"cos\nsystem\nQ.", "needs BINPERSID"),
        (b"\x82\x01.", "needs EXT1"),
        (b"})Ns.", "a key is a tuple"),
        (b"\x8c\x02ab\x8c\x02ab\x8c\x02ab.", ""),
        (b"\x8e\xff\xff\xff\xff\xff\xff\xff\x7f.", "expected"),
    ],
)
def test_what_plain_values_do_not_need(data: bytes, message: str) -> None:
    if not message:
        assert parse(data) == "ab"
        return
    with pytest.raises(ValueError, match=message):
        parse(data)


def doubled(times: int, build: bytes) -> bytes:
    """A value that holds the one before twice, so many times over."""
    return b"N" + b"".join(b"q" + bytes([number]) + b"h" + bytes([number]) + build for number in range(times)) + b"."


def test_values_that_are_one_many_times_over_cost_their_size() -> None:
    found = parse(doubled(200, b"\x86"))
    assert found[0] is found[1]
    with pytest.raises(ValueError, match="a key is a tuple"):  # whose hash would walk through 2 ** 200
        parse(b"}" + doubled(200, b"\x86")[:-1] + b"Ns.")


def test_every_truncation_and_turned_byte_ends_with_a_plain_error() -> None:
    whole = pickle.dumps({"a": [1, (2.5, b"xyz")], "b": None}, 4)
    for place in range(len(whole)):
        for data in (whole[:place], whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :]):
            outcome(data)


def outcome(data: bytes) -> Any:
    try:
        return parse(data)
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        return error
