"""Faults on demand: rules that say which requests meet which failure, and a record of those that did.

A rule is `{"match": REGEX, "fault": FAULT, "times": 1, "skip": 0}`. The regex is searched in `METHOD path?query`, the
first `skip` matches are spared, the next `times` meet the fault. The first rule that matches counts. Faults:

    status:503    that status, nothing is done; `status:403:quotaExceeded` gives a reason with it
    reset         the connection is reset, nothing is done
    lost_ack      the request is done, then the connection is reset
    stall:2.5     so many seconds of silence, then the request is done
    truncate      the body of the reply ends half-way
    flip          one bit of the reply's body is wrong, another one each time
"""

import re
import threading
from dataclasses import dataclass
from typing import Any

from mien.storage.emulator.messages import bad_request

BEFORE = ("status", "reset", "lost_ack", "stall")
"""Faults that are chosen before the request is looked at."""

BODY = ("truncate", "flip")
"""Faults of the reply's body: a reply without one is no match."""

_STATUS, _STALL = r"status:(?P<status>[45]\d\d)(:(?P<reason>\w+))?", r"stall:(?P<seconds>\d+(\.\d+)?)"
_FAULT = re.compile(f"{_STATUS}|{_STALL}|reset|lost_ack|truncate|flip")
_KEYS = {"match", "fault", "times", "skip"}


@dataclass(frozen=True)
class Fault:
    """What happens to one request."""

    kind: str = ""
    status: int = 0
    seconds: float = 0.0
    reason: str = "injected"
    """Machine-readable word of a status."""

    @classmethod
    def parse(cls, text: str) -> "Fault":
        """Read `kind` or `kind:value`.

        Raises:
            Refusal: 400 if it is no fault.
        """
        match = _FAULT.fullmatch(text)
        if match is None:
            raise bad_request(f"fault: {text!r} is not status:4xx, status:5xx, stall:SECONDS or one of {_PLAIN}")
        numbers = int(match["status"] or 0), float(match["seconds"] or 0)
        return cls(text.partition(":")[0], *numbers, match["reason"] or cls.reason)


_PLAIN = "reset, lost_ack, truncate, flip"
NO_FAULT = Fault()


@dataclass
class _Rule:
    """A rule with what is left of its counts."""

    match: re.Pattern[str]
    text: str
    fault: Fault
    times: int
    skip: int

    def meets(self, line: str) -> bool:
        """Whether the rule strikes this request; counts down."""
        if self.times == 0 or not self.match.search(line):
            return False
        if self.skip:
            self.skip -= 1
            return False
        self.times -= 1
        return True


class Faults:
    """The rules in force, and what they did."""

    def __init__(self) -> None:
        """No rules: nothing fails."""
        self._lock = threading.Lock()
        self._rules: list[_Rule] = []
        self._fired: list[dict[str, str]] = []

    def set(self, rules: Any) -> None:
        """Put rules in place of those in force, and forget what fired.

        Raises:
            Refusal: 400, naming the rule that cannot be used; then nothing changes.
        """
        if not isinstance(rules, list):
            raise bad_request("fault rules are a list")
        parsed = [_rule(rule) for rule in rules]
        with self._lock:
            self._rules, self._fired = parsed, []

    def fired(self) -> list[dict[str, str]]:
        """Every fault that happened, in order: `fault` as the rule words it, and `request`."""
        with self._lock:
            return list(self._fired)

    def take(self, line: str, kinds: tuple[str, ...]) -> Fault:
        """The fault of these kinds that a request meets now, if any."""
        with self._lock:
            for rule in self._rules:
                if rule.fault.kind in kinds and rule.meets(line):
                    self._fired.append({"fault": rule.text, "request": line})
                    return rule.fault
        return NO_FAULT


def _rule(rule: Any) -> _Rule:
    if not isinstance(rule, dict) or not {"match", "fault"} <= rule.keys() <= _KEYS:
        raise bad_request(f"fault rule {rule!r}: needs match and fault, and may have times and skip")
    try:
        pattern = re.compile(rule["match"])
        times, skip = int(rule.get("times", 1)), int(rule.get("skip", 0))
    except (re.error, TypeError, ValueError) as error:
        raise bad_request(f"fault rule {rule!r}: {error}") from error
    if times < 0 or skip < 0:
        raise bad_request(f"fault rule {rule!r}: times and skip are not below zero")
    return _Rule(pattern, rule["fault"], Fault.parse(str(rule["fault"])), times, skip)
