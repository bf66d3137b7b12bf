"""What passes between the HTTP server and the calls that it serves: a request, an answer, a refusal."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, NamedTuple
from urllib.parse import parse_qs, quote, unquote, urlsplit

JSON_TYPE = "application/json; charset=UTF-8"


class Refusal(Exception):
    """A request that ends with an HTTP status other than success, as Cloud Storage words it."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        """Take the status, the machine-readable reason of the JSON API and a sentence."""
        super().__init__(message)
        self.status, self.reason, self.message = status, reason, message


def bad_request(message: str) -> Refusal:
    """400: the request cannot be understood or contradicts itself."""
    return Refusal(400, "invalid", message)


def not_found(message: str) -> Refusal:
    """404: no such bucket, object, generation or upload."""
    return Refusal(404, "notFound", message)


def condition_not_met(message: str) -> Refusal:
    """412: a precondition does not hold."""
    return Refusal(412, "conditionNotMet", message)


@dataclass(frozen=True)
class Request:
    """One request, its body already read.

    `path` is still percent-encoded, so that a slash inside an object's name is none of the path; header names are in
    lower case; `base` is scheme and host as the client sees them.
    """

    method: str
    path: str
    query: dict[str, list[str]] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    base: str = ""

    @classmethod
    def parse(cls, method: str, target: str, headers: dict[str, str], body: bytes, base: str) -> "Request":
        """Take a request line's target apart; a scheme and host before the path are dropped."""
        parts = urlsplit(target if target.startswith(("http://", "https://")) else f"//host{target}")
        return cls(method, parts.path, parse_qs(parts.query, keep_blank_values=True), headers, body, base)

    def get(self, name: str, default: str = "") -> str:
        """The last value of a query item."""
        return self.query.get(name, [default])[-1]

    def integer(self, name: str) -> int | None:
        """A query item as a number, or None if it is absent.

        Raises:
            Refusal: 400 if it is no number.
        """
        return None if name not in self.query else number(self.get(name), name)

    def json(self) -> dict[str, Any]:
        """The body as a JSON object; an empty body is an empty object.

        Raises:
            Refusal: 400 if it is anything else.
        """
        return json_object(self.body)


class Answer(NamedTuple):
    """Status, headers and body of a reply; the body of an object is a view, so that nothing is copied."""

    status: int = 200
    headers: Mapping[str, str] = MappingProxyType({})
    body: bytes | memoryview = b""


def json_answer(document: Any, status: int = 200, **headers: str) -> Answer:
    """A reply with a JSON document."""
    return Answer(status, {"Content-Type": JSON_TYPE, **headers}, json.dumps(document).encode())


def refusal_answer(refusal: Refusal) -> Answer:
    """The error document of the JSON API; 304 has no body."""
    if refusal.status == 304:
        return Answer(304)
    detail = {"message": refusal.message, "reason": refusal.reason, "domain": "global"}
    error = {"code": refusal.status, "message": refusal.message, "errors": [detail]}
    return json_answer({"error": error}, refusal.status)


def json_object(data: bytes) -> dict[str, Any]:
    """Parse a JSON object.

    Raises:
        Refusal: 400 if it is anything else.
    """
    try:
        document = json.loads(data.strip() or b"{}")
    except ValueError as error:
        raise bad_request(f"the body is not valid JSON: {error}") from error
    if not isinstance(document, dict):
        raise bad_request("the body is JSON, but not an object")
    return document


def number(text: str, name: str) -> int:
    """A whole number from a query item, header or JSON string.

    Raises:
        Refusal: 400 if it is none.
    """
    try:
        return int(text)
    except ValueError as error:
        raise bad_request(f"{name}: {text!r} is not a whole number") from error


def encode(name: str) -> str:
    """An object's name as one segment of a path."""
    return quote(name, safe="")


def decode(segment: str) -> str:
    """A segment of a path as an object's name.

    Raises:
        Refusal: 400 if it is not UTF-8.
    """
    try:
        return unquote(segment, errors="strict")
    except UnicodeDecodeError as error:
        raise bad_request(f"{segment!r} is not UTF-8") from error
