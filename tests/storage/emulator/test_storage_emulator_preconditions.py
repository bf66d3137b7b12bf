from typing import Any

import pytest

from mien.storage.emulator.messages import Refusal, Request
from mien.storage.emulator.preconditions import ABSENT, Preconditions

NAMES = ("GenerationMatch", "GenerationNotMatch", "MetagenerationMatch", "MetagenerationNotMatch")
STANDING = (7, 2)
"""Generation and metageneration of an object."""


def status(versions: tuple[int, int], *, reading: bool = False, **query: int) -> int:
    request = Request("GET", "/", {name: [str(value)] for name, value in query.items()})
    try:
        Preconditions.of(request).check(versions, reading=reading)
    except Refusal as refusal:
        return refusal.status
    return 200


@pytest.mark.parametrize(
    ("query", "of_an_object", "of_a_read", "of_nothing"),
    [
        ({}, 200, 200, 200),
        ({"ifGenerationMatch": 7}, 200, 200, 412),
        ({"ifGenerationMatch": 6}, 412, 412, 412),
        ({"ifGenerationMatch": 0}, 412, 412, 200),
        ({"ifGenerationNotMatch": 7}, 412, 304, 200),
        ({"ifGenerationNotMatch": 6}, 200, 200, 200),
        ({"ifGenerationNotMatch": 0}, 200, 200, 412),
        ({"ifMetagenerationMatch": 2}, 200, 200, 412),
        ({"ifMetagenerationMatch": 1}, 412, 412, 412),
        ({"ifMetagenerationNotMatch": 2}, 412, 304, 200),
        ({"ifMetagenerationNotMatch": 1}, 200, 200, 200),
        ({"ifGenerationMatch": 7, "ifMetagenerationMatch": 1}, 412, 412, 412),
    ],
)
def test_a_precondition_holds_or_is_refused(
    query: dict[str, int], of_an_object: int, of_a_read: int, of_nothing: int
) -> None:
    assert status(STANDING, **query) == of_an_object
    assert status(STANDING, reading=True, **query) == of_a_read
    assert status(ABSENT, **query) == of_nothing


def test_those_of_a_source_are_others() -> None:
    query = {f"ifSource{name}": [str(number)] for number, name in enumerate(NAMES, 1)}
    request = Request("POST", "/", query)
    assert Preconditions.of(request) == Preconditions()
    assert Preconditions.of(request, "ifSource") == Preconditions(1, 2, 3, 4)


@pytest.mark.parametrize("value", ["5", 5])
def test_json_has_numbers_as_text_or_not(value: Any) -> None:
    assert Preconditions.of_json({"ifGenerationMatch": value}) == Preconditions(5)


def test_what_is_no_number_is_a_bad_request() -> None:
    with pytest.raises(Refusal, match="ifGenerationMatch: 'x' is not a whole number") as refused:
        Preconditions.of(Request("GET", "/", {"ifGenerationMatch": ["x"]}))
    assert refused.value.status == 400
