"""What a pickle says, without doing what it says: no name is imported, nothing is called.

Python's unpickler is a stack machine with two operations that run code: a name is looked up, and what it stands for is
called. Here a name stays a text, and a call the note that one was asked for; `pickle_arrays` knows the few that stand
for arrays. All other operations only move plain values, so that a file costs no more than its size, times a constant.
Values may hold one value many times over: whoever walks through nested ones can walk without end, so nobody does.
"""

import pickletools
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from mien.log import printable

_PUSHED = (
    *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
    *("STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"),
    *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"),
)
"""Operations whose argument is the value."""


@dataclass(frozen=True)
class Name:
    """What the file calls something of a module; it is never looked up."""

    text: str


@dataclass
class Call:
    """What the file would have called."""

    name: Name
    arguments: tuple[Any, ...]
    state: Any = None
    """What it would have been given afterwards."""


def parse(data: bytes) -> Any:
    """The value of a pickle: plain values, `Name` and `Call`.

    Raises:
        ValueError: It holds an operation that plain values do not need, or is damaged; also LookupError, TypeError and
            AttributeError.
    """
    machine = _Machine()
    for operation, argument, _ in pickletools.genops(data):
        if operation.name == "STOP":
            return machine.stack.pop()
        if operation.name not in _OPERATIONS:
            raise ValueError(f"it needs {operation.name}, which plain values and arrays do not")
        _OPERATIONS[operation.name](machine, argument)
    raise ValueError("it ends too soon")


class _Machine:
    """The stack, the places at which it was marked, and what was kept to be used again."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.kept: dict[int, Any] = {}

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def since_mark(self) -> list[Any]:
        place = self.marks.pop()
        values, self.stack[place:] = self.stack[place:], []
        return values

    def mark(self, _: Any) -> None:
        self.marks.append(len(self.stack))

    def keep(self, number: int | None) -> None:
        self.kept[len(self.kept) if number is None else number] = self.stack[-1]

    def extend(self, values: list[Any]) -> None:
        self.stack[-1].extend(values)

    def update(self, values: list[Any]) -> None:
        target = self.stack[-1]
        for key, value in zip(values[::2], values[1::2], strict=True):
            if not isinstance(key, str | int):  # the hash of nested tuples takes time that grows without bound
                raise ValueError(f"a key is a {type(key).__name__}, neither a text nor a number")
            target[key] = value

    def mapping(self) -> None:
        values = self.since_mark()
        self.push({})
        self.update(values)

    def name(self, _: Any) -> None:
        name, module = self.stack.pop(), self.stack.pop()
        self.push(Name(printable(f"{module:.100}.{name:.100}")))

    def call(self, _: Any) -> None:
        arguments, name = self.stack.pop(), self.stack.pop()
        if not isinstance(name, Name) or not isinstance(arguments, tuple):
            raise ValueError("it calls what is no name")
        self.push(Call(name, arguments))

    def build(self, _: Any) -> None:
        state, target = self.stack.pop(), self.stack[-1]
        if not isinstance(target, Call):
            raise ValueError(f"it gives state to a {type(target).__name__}")
        target.state = state


def _pushes(make: Callable[[], Any]) -> Callable[[_Machine, Any], None]:
    return lambda machine, _: machine.push(make())


def _last(machine: _Machine, _: Any, num: int) -> None:
    values, machine.stack[-num:] = tuple(machine.stack[-num:]), []
    machine.push(values)


_OPERATIONS: dict[str, Callable[[_Machine, Any], None]] = {
    **dict.fromkeys(_PUSHED, _Machine.push),
    **dict.fromkeys(("PROTO", "FRAME"), lambda *_: None),
    **dict.fromkeys(("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"), _Machine.keep),
    **dict.fromkeys(("GET", "BINGET", "LONG_BINGET"), lambda machine, number: machine.push(machine.kept[number])),
    **{f"TUPLE{num}": partial(_last, num=num) for num in (1, 2, 3)},
    "NONE": _pushes(lambda: None),
    "NEWTRUE": _pushes(lambda: True),
    "NEWFALSE": _pushes(lambda: False),
    "EMPTY_LIST": _pushes(list),
    "EMPTY_DICT": _pushes(dict),
    "EMPTY_TUPLE": _pushes(tuple),
    "MARK": _Machine.mark,
    "TUPLE": lambda machine, _: machine.push(tuple(machine.since_mark())),
    "DICT": lambda machine, _: machine.mapping(),
    "LIST": lambda machine, _: machine.push(machine.since_mark()),
    "APPEND": lambda machine, _: machine.extend([machine.stack.pop()]),
    "APPENDS": lambda machine, _: machine.extend(machine.since_mark()),
    "SETITEM": lambda machine, _: machine.update([machine.stack.pop(-2), machine.stack.pop()]),
    "SETITEMS": lambda machine, _: machine.update(machine.since_mark()),
    "GLOBAL": lambda machine, text: machine.push(Name(printable(text.replace(" ", "."))[:200])),
    "STACK_GLOBAL": _Machine.name,
    **dict.fromkeys(("REDUCE", "NEWOBJ"), _Machine.call),
    "BUILD": _Machine.build,
}
