"""Preconditions: which generation and metageneration an object must, or must not, have for a request to act."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from mien.storage.emulator.messages import Refusal, Request, condition_not_met, number

ABSENT = (0, 0)
"""Generation and metageneration that stand for an object that does not exist."""


@dataclass(frozen=True)
class Preconditions:
    """The four preconditions of Cloud Storage; None demands nothing."""

    generation_match: int | None = None
    generation_not_match: int | None = None
    metageneration_match: int | None = None
    metageneration_not_match: int | None = None

    @classmethod
    def of(cls, request: Request, prefix: str = "if") -> "Preconditions":
        """Those of a request's query; `ifSource` as prefix reads the ones about the source of a copy."""
        return cls._read(request.integer, prefix)

    @classmethod
    def of_json(cls, document: Mapping[str, Any]) -> "Preconditions":
        """Those of a JSON document, as one source of a composition has them."""
        return cls._read(lambda name: number(str(document[name]), name) if name in document else None, "if")

    @classmethod
    def _read(cls, value: Callable[[str], int | None], prefix: str) -> "Preconditions":
        words = ("GenerationMatch", "GenerationNotMatch", "MetagenerationMatch", "MetagenerationNotMatch")
        return cls(*(value(prefix + word) for word in words))

    def check(self, versions: tuple[int, int], *, reading: bool = False) -> None:
        """Compare with an object's generation and metageneration.

        Raises:
            Refusal: 412; 304 when a read asked for anything but what is there.
        """
        generation, metageneration = versions
        _must_match("generation", self.generation_match, generation)
        _must_match("metageneration", self.metageneration_match, metageneration)
        _must_differ("generation", self.generation_not_match, generation, reading)
        _must_differ("metageneration", self.metageneration_not_match, metageneration, reading)


def _must_match(what: str, wanted: int | None, found: int) -> None:
    if wanted is not None and wanted != found:
        raise condition_not_met(f"{what} is {found}, the request demands {wanted}")


def _must_differ(what: str, unwanted: int | None, found: int, reading: bool) -> None:
    if unwanted is None or unwanted != found:
        return
    if reading:
        raise Refusal(304, "notModified", f"{what} is still {found}")
    raise condition_not_met(f"{what} is {found}, the request demands another")
