"""Several places by what a figure calls them: as the user says, or by the last parts that tell them apart."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

_MAX_PLACES = 14
"""More lines in one panel are told apart by nobody."""
_MAX_CHARS = 60
_EVALUATION = "evaluation"
"""Ends the place of every evaluation within its run, and tells none from another."""


def by_label(given: Any) -> Any:
    """Labels and places, of one place, of a list of places, or as they were given.

    Raises:
        ValueError: A place stands twice in a list.
    """
    places = [given] if isinstance(given, str) else given
    if not isinstance(places, list | tuple) or not all(isinstance(place, str) for place in places):
        return given
    if len({*places}) < len(places):
        raise ValueError("a place stands twice; give each once, or give labels, as {first: PLACE, second: PLACE}")
    return dict(zip(_labels(places), places, strict=True))


Places = Annotated[
    Mapping[Annotated[str, Field(min_length=1)], Annotated[str, Field(min_length=1)]],
    BeforeValidator(by_label),
    Field(max_length=_MAX_PLACES),
]
"""Label to place. `A` alone and `[A, B]` get labels of their own."""


def _labels(places: Sequence[str]) -> list[str]:
    """As few last parts of each as tell all of them apart; the end of what is long."""
    parts = [_parts(place) for place in places]
    for num in range(1, max(map(len, parts), default=0) + 1):
        labels = ["/".join(one[-num:])[-_MAX_CHARS:] for one in parts]
        if len({*labels}) == len(labels):
            return labels
    return [*places]


def _parts(place: str) -> list[str]:
    parts = [part for part in place.split("/") if part]
    return parts[:-1] if len(parts) > 1 and parts[-1] == _EVALUATION else parts
