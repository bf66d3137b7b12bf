"""Runs small programs against a store in memory in every possible order, with crashes, lost replies and late requests.

A program is a plain function of a store: the code that runs in production. It has no state but the replies that it got,
so it is run again from its start with the replies so far, and stops at the first request that has none. The search goes
over states (objects, requests under way, replies of every program) breadth first, so that the first violation that it
finds has the shortest history. No threads, no clock, no chance.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

from mien.errors import AlreadyExists, MienError, StorageError
from mien.storage.uri import Entry

T = TypeVar("T")
Objects = frozenset[tuple[str, bytes]]
Reply = tuple[str, Any]
"""("value", what the request returns), or the name of the error that it raises and its text."""

RESET: Reply = ("StorageError", "connection reset")
TAKEN: Reply = ("AlreadyExists", "exists already")
ABSENT: Reply = ("StorageError", "does not exist")
_ERRORS = {"StorageError": StorageError, "AlreadyExists": AlreadyExists}


class Request(NamedTuple):
    """One operation of a store."""

    method: str
    name: str
    data: bytes = b""

    @property
    def is_change(self) -> bool:
        return self.method not in {"read", "list"}

    @property
    def is_once(self) -> bool:
        """Whether the name must be free."""
        return self.method in {"put_new", "publish"}


def answer(objects: Objects, request: Request) -> tuple[Objects, Reply]:
    """What a store without faults does."""
    held = dict(objects)
    if request.method == "list":
        found = sorted(name for name in held if name.startswith(request.name))
        return objects, ("value", tuple(Entry(name, len(held[name]), 0) for name in found))
    if request.method == "read":
        return objects, ("value", held[request.name]) if request.name in held else ABSENT
    if request.is_once and request.name in held:
        return objects, TAKEN
    if request.method == "delete":
        held.pop(request.name, None)
    else:
        held[request.name] = request.data
    return frozenset(held.items()), ("value", None)


class AskingStore:
    """A store whose every operation is one call of `ask`."""

    uri = "memory"

    def __init__(self, ask: Callable[[Request], Reply]) -> None:
        self._ask = ask

    def _get(self, *request: Any) -> Any:
        kind, value = self._ask(Request(*request))
        if kind == "value":
            return value
        raise _ERRORS[kind](f"{request[1]}: {value}")

    def put_new(self, name: str, data: bytes) -> None:
        self._get("put_new", name, data)

    def replace(self, name: str, data: bytes) -> None:
        self._get("replace", name, data)

    def publish(self, path: Path, name: str) -> None:
        self._get("publish", name, path.read_bytes())

    def read(self, name: str) -> bytes:
        return bytes(self._get("read", name))

    def list(self, prefix: str = "") -> Iterator[Entry]:
        return iter(self._get("list", prefix))

    def delete(self, name: str) -> None:
        self._get("delete", name)


class MemoryStore(AskingStore):
    """The store without faults, for what comes after the race."""

    def __init__(self, objects: Objects) -> None:
        self.objects = objects
        super().__init__(self._answer)

    def _answer(self, request: Request) -> Reply:
        self.objects, reply = answer(self.objects, request)
        return reply


class Program(NamedTuple):
    """What one process does."""

    run: Callable[[Any], Any]
    after_crash_of: str = ""
    """Starts only once this program has crashed."""
    is_spared: bool = False
    """Meets no crash and no fault: it only reads, so that nothing would come of them but its end."""


class Ended(NamedTuple):
    """How a program ended: what it returned, or the error that it raised."""

    value: Any = None
    error: str = ""


CRASHED = Ended(error="crashed")
ASLEEP = Ended(error="not started")


class _Stopped(BaseException):
    """A program has reached a request that has no reply yet; no program catches it."""


class Place(NamedTuple):
    """Where a program stands: before a request, or at its end."""

    replies: tuple[Reply, ...]
    request: Request | None
    ended: Ended | None


def advance(program: Program, replies: tuple[Reply, ...]) -> Place:
    """Run a program from its start with the replies that it got."""
    given, reached = iter(replies), list[Request]()

    def ask(request: Request) -> Reply:
        for reply in given:
            return reply
        reached.append(request)
        raise _Stopped

    try:
        return Place((), None, Ended(program.run(AskingStore(ask))))
    except _Stopped:
        return Place(replies, reached[0], None)
    except MienError as error:
        return Place((), None, Ended(error=f"{type(error).__name__}: {error}"))


class State(NamedTuple):
    """All that decides what can happen next, by numbers, so that states are quick to compare."""

    objects: int
    under_way: int
    """Set of requests whose sender has given up or died: they may take effect at any time, or never."""
    places: tuple[int, ...]
    """Where every program stands."""
    crashes_left: int
    faults_left: int


class Step(NamedTuple):
    """One transition."""

    actor: int
    """Number of the program, or -1 for a late request."""
    request: Request
    what: str
    after: State


class Deed(NamedTuple):
    """What a rule of steps looks at: one request that took effect or got a reply."""

    before: Objects
    after: Objects
    actor: str
    """Name of the program; empty for a late request."""
    request: Request
    replies: tuple[Reply, ...]
    """What the actor knew when it made the request."""


class View(NamedTuple):
    """What a rule of states looks at."""

    objects: Objects
    under_way: frozenset[Request]
    """Looked at only when every program has ended."""
    ended: Mapping[str, Ended]
    """How the programs that have ended did so."""
    is_quiet: bool
    """Whether no fault and no crash has happened."""
    is_last: bool
    """Whether every program has ended."""


class Rules(NamedTuple):
    """Invariants; each says whether all is well."""

    of_states: Sequence[Callable[[View], bool]]
    of_steps: Sequence[Callable[[Deed], bool]]


class Found(NamedTuple):
    """The result of a search."""

    num_states: int
    violated: str
    """Name of the first rule that did not hold; empty if all held in every state."""
    history: tuple[str, ...]
    """The shortest way to the violation."""


class Numbered(Generic[T]):
    """Values by number, equal ones once."""

    def __init__(self) -> None:
        self._values, self._numbers = list[T](), dict[T, int]()

    def number(self, value: T) -> int:
        found = self._numbers.setdefault(value, len(self._values))
        if found == len(self._values):
            self._values.append(value)
        return found

    def __getitem__(self, number: int) -> T:
        return self._values[number]


class Search:
    """Every order of the steps of some programs.

    A request whose reply nobody can change (`is_fixed`) is made at once, before anything else: whenever it is made, it
    makes no difference to the others, so the other orders lead to the same states.
    """

    def __init__(
        self,
        programs: Mapping[str, Program],
        rules: Rules,
        is_fixed: Callable[[Objects, Request], bool] = lambda *_: False,
        *,
        crashes: int = 1,
        faults: int = 1,
    ) -> None:
        self._names, self._programs = list(programs), list(programs.values())
        self._rules, self._is_fixed = rules, is_fixed
        self._budget = (crashes, faults)
        self._objects, self._under_way = Numbered[Objects](), Numbered[frozenset[Request]]()
        self._places = Numbered[Place]()
        self._next = dict[tuple[int, int, Reply | None], int]()
        self._answers = dict[tuple[int, Request], tuple[int, Reply, bool]]()
        self._right = set[Any]()
        self._came_from = dict[State, tuple[State, Step] | None]()

    def run(self, objects: Objects = frozenset()) -> Found:
        """Explore until a violation, or until no new state is left."""
        places = tuple(
            self._places.number(Place((), None, ASLEEP)) if program.after_crash_of else self._advance(number, -1, None)
            for number, program in enumerate(self._programs)
        )
        level = [State(self._objects.number(objects), self._under_way.number(frozenset()), places, *self._budget)]
        self._came_from[level[0]] = None
        while level:
            following = list[State]()
            for state in level:
                for step in self._steps(state):
                    violated = self._wrong_step(state, step) if step.request.is_change else ""
                    if step.after not in self._came_from:
                        self._came_from[step.after] = (state, step)
                        following.append(step.after)
                        violated = violated or self._wrong_state(step.after)
                    if violated:
                        return Found(len(self._came_from), violated, (*self._history(state), self._line(step)))
            level = following
        return Found(len(self._came_from), "", ())

    def _advance(self, program: int, place: int, reply: Reply | None) -> int:
        key = (program, place, reply)
        if key not in self._next:
            replies = (*self._places[place].replies, reply) if reply else ()
            self._next[key] = self._places.number(advance(self._programs[program], replies))
        return self._next[key]

    def _answer(self, objects: int, request: Request) -> tuple[int, Reply, bool]:
        """Objects after the request, its reply, and whether that is fixed."""
        key = (objects, request)
        if key not in self._answers:
            before = self._objects[objects]
            after, reply = answer(before, request)
            self._answers[key] = self._objects.number(after), reply, self._is_fixed(before, request)
        return self._answers[key]

    def _steps(self, state: State) -> Iterator[Step]:
        requests = [(actor, self._places[place].request) for actor, place in enumerate(state.places)]
        waiting = [(actor, request) for actor, request in requests if request is not None]
        for actor, request in waiting:
            if self._answer(state.objects, request)[2]:
                yield from self._of_program(state, actor, request)
                return
        for actor, request in waiting:
            yield from self._of_program(state, actor, request)
        for request in self._under_way[state.under_way]:
            rest = self._under_way.number(self._under_way[state.under_way] - {request})
            objects = self._answer(state.objects, request)[0]
            yield Step(-1, request, "late", State(objects, rest, *state[2:]))

    def _of_program(self, state: State, actor: int, request: Request) -> Iterator[Step]:
        before, under_way, places, crashes, faults = state
        objects, reply, _ = self._answer(before, request)
        replied = self._replied(places, actor, reply)
        yield Step(actor, request, reply[0], State(objects, under_way, replied, crashes, faults))
        if self._programs[actor].is_spared:
            return
        if request.is_change and (faults or crashes):
            under_way = self._under_way.number(self._under_way[under_way] | {request})
        if faults and request.method == "put_new" and reply != TAKEN:  # a store settles a repeated `publish` by itself
            taken = State(objects, state.under_way, self._replied(places, actor, TAKEN), crashes, faults - 1)
            yield Step(actor, request, "reply lost, repeated", taken)
        if faults:
            unclear = State(before, under_way, self._replied(places, actor, RESET), crashes, faults - 1)
            yield Step(actor, request, "no reply", unclear)
        if crashes:
            crashed = State(before, under_way, self._crashed(places, actor), crashes - 1, faults)
            yield Step(actor, request, "crash", crashed)

    def _replied(self, places: tuple[int, ...], actor: int, reply: Reply) -> tuple[int, ...]:
        return (*places[:actor], self._advance(actor, places[actor], reply), *places[actor + 1 :])

    def _crashed(self, places: tuple[int, ...], actor: int) -> tuple[int, ...]:
        after = list(places)
        after[actor] = self._places.number(Place((), None, CRASHED))
        for other, program in enumerate(self._programs):
            if program.after_crash_of == self._names[actor]:
                after[other] = self._advance(other, -1, None)
        return tuple(after)

    def _wrong_step(self, before: State, step: Step) -> str:
        replies = self._places[before.places[step.actor]].replies if step.actor >= 0 else ()
        objects = self._objects[before.objects], self._objects[step.after.objects]
        deed = Deed(*objects, self._actor(step), step.request, replies)
        return next((rule.__name__ for rule in self._rules.of_steps if not rule(deed)), "")

    def _wrong_state(self, state: State) -> str:
        ended = tuple(self._places[place].ended for place in state.places)
        is_last = all(ended)
        is_quiet = (state.crashes_left, state.faults_left) == self._budget
        key = (state.objects, state.under_way if is_last else -1, ended, is_quiet)
        if key in self._right:
            return ""
        self._right.add(key)
        view = View(
            self._objects[state.objects],
            self._under_way[state.under_way],
            {name: how for name, how in zip(self._names, ended, strict=True) if how},
            is_quiet,
            is_last,
        )
        return next((rule.__name__ for rule in self._rules.of_states if not rule(view)), "")

    def _actor(self, step: Step) -> str:
        return self._names[step.actor] if step.actor >= 0 else ""

    def _line(self, step: Step) -> str:
        return f"{self._actor(step) or 'store'}: {step.request.method} {step.request.name} -> {step.what}"

    def _history(self, state: State) -> tuple[str, ...]:
        lines, origin = list[str](), self._came_from[state]
        while origin is not None:
            state, step = origin
            lines.append(self._line(step))
            origin = self._came_from[state]
        return tuple(reversed(lines))
