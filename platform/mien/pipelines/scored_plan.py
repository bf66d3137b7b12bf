"""Scored clips of many videos: each is one call of an actor, in the order of the sources; only the best come back."""

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain, islice
from typing import Any, NamedTuple

import ray

from mien.clips.clip import Clip, Source, unfit
from mien.errors import MienError
from mien.faces.detect import BlazeFace
from mien.features.registry import Resolved, build
from mien.log import logger
from mien.pipelines import stages
from mien.pipelines.cap import leave_no_core, memory_cap
from mien.pipelines.cluster import cause_of, session
from mien.pipelines.pools import num_that_fit, require_room
from mien.pipelines.preflight import Ready
from mien.pipelines.score import Scorer
from mien.pipelines.watchdog import process_ends_after

SCORE = "score"
"""Name of the stage, in `workers`."""

_WINDOW = 256
"""Sources at most between the first that is not done and the last that was begun: a long one does not hold up others,
and what waits for it is a few rows each."""

_LINE_EVERY_S = 30.0


def is_scored(config: Any) -> bool:
    """Whether making the plan of a `SerializeConfig` needs the models of the job."""
    return bool(config.clips.kind == "scored")


def scored_clips(config: Any, ready: Ready, sources: Iterable[Source]) -> Iterator[Clip]:
    """The best clips of every source, source by source; of one that has none a clip that fails and says why.

    Args:
        config: A `SerializeConfig` whose clips are scored.
        ready: Models, as the preflight brought them.
        sources: In the order of the plan; at most `_WINDOW` are held.

    Raises:
        PreflightError: There is no room for a worker.
        Unavailable: A bucket did not answer; the same command begins again.
        MienError: A worker failed in another way.
    """
    if ready.extractor is None:  # the config demands one
        raise ValueError("scored clips need an extractor")
    pool = config.workers.score
    left = iter(sources)
    try:
        with session(config.cluster):
            require_room(config.cluster, SCORE, pool)
            first = list(islice(left, num_that_fit(pool)))
            extractor = stages.pin_dtype(ready.extractor, None, pool.demands)
            given = (config, ray.put(ready.models), extractor, ray.put(extractor.read_weights()))
            yield from in_order(lambda: _actor(pool, given), len(first), chain(first, left))
    except ray.exceptions.RayError as error:
        raise cause_of(error) from error


def _actor(pool: Any, given: tuple[Any, ...]) -> Any:
    return ray.remote(ScoreActor).options(**pool.demands).remote(*given)


class ScoreActor:
    """Scores one source after the other; models are loaded with the first and kept."""

    def __init__(self, config: Any, files: Mapping[str, bytes], extractor: Resolved, weights: bytes) -> None:
        """Load nothing yet: what goes wrong with a model is told as the error of a call."""
        leave_no_core()
        self._config, self._files, self._extractor, self._weights = config, files, extractor, weights
        self._scorer: Scorer | None = None

    def score(self, source: Source) -> list[Clip]:
        """The clips of one source; whatever goes wrong with it is told by a clip that fails."""
        if self._scorer is None:
            detector = BlazeFace(self._files["face_detector"], self._config.faces.detector)
            self._scorer = Scorer(self._config, detector, build(self._extractor, self._weights))
        workers = self._config.workers
        try:
            with process_ends_after(stages.HARD * workers.clip_timeout_s), memory_cap(workers.score.clip_memory_bytes):
                return self._scorer(source)
        except MemoryError:
            return [unfit(source, "needs more memory than workers.score.clip_memory_gb to be scored; raise it")]
        except MienError:
            raise
        except Exception as defect:  # noqa: BLE001  a defect met on one video must not end the plan of a thousand others
            reason = f"{type(defect).__name__}: {defect}".partition("\n")[0]
            return [unfit(source, f"{reason}; a defect of mien, please report it")]


class _Turn(NamedTuple):
    """A source that an actor is at work on."""

    number: int
    source: Source
    actor: Any
    attempt: int = 1


def in_order(make: Callable[[], Any], num_actors: int, sources: Iterable[Source]) -> Iterator[Clip]:
    """Clips in the order of the sources; an actor that is free takes the next, what comes early waits.

    Args:
        make: Starts an actor with a method `score` as that of `ScoreActor`; one that dies is made anew.
        num_actors: At work at once.
        sources: Taken one at a time.

    Raises:
        RayError: An actor cannot be started, or what it raised.
    """
    crew = _Crew(make, num_actors)
    numbered, done = enumerate(sources), dict[int, list[Clip]]()
    num_given, said = 0, _Said()
    try:
        while True:
            while crew.has_free and crew.num_running + len(done) < _WINDOW and (item := next(numbered, None)):
                crew.begin(*item)
            if not crew.num_running:
                return
            done |= crew.finished()
            while num_given in done:
                clips = done.pop(num_given)
                num_given += 1
                said.add(len(clips))
                yield from clips
            said.say()
    finally:
        crew.dismiss()  # the next stage needs their CPUs


class _Crew:
    """Actors with one source each. Ray can restart an actor, but would fail what is sent while it does."""

    def __init__(self, make: Callable[[], Any], num_actors: int) -> None:
        self._make, self._free = make, deque(make() for _ in range(num_actors))
        self._running = dict[Any, _Turn]()

    @property
    def has_free(self) -> bool:
        return bool(self._free)

    @property
    def num_running(self) -> int:
        return len(self._running)

    def begin(self, number: int, source: Source) -> None:
        self._send(_Turn(number, source, self._free.popleft()))

    def finished(self) -> dict[int, list[Clip]]:
        """Clips of the sources that are done, by number, after a while at most."""
        done = dict[int, list[Clip]]()
        for reference in ray.wait(list(self._running), timeout=_LINE_EVERY_S)[0]:
            turn = self._running.pop(reference)
            try:
                done[turn.number] = list(ray.get(reference))
                self._free.append(turn.actor)
            except ray.exceptions.RayActorError as error:
                if error.actor_init_failed:  # says nothing of the source: no actor would start
                    raise
                done |= self._after_death(turn)
        return done

    def _after_death(self, turn: _Turn) -> dict[int, list[Clip]]:
        """Try the source again with a new actor; one that cost so many is given up."""
        actor = self._make()
        if turn.attempt < stages.MAX_DEATHS:
            self._send(turn._replace(actor=actor, attempt=turn.attempt + 1))
            return {}
        self._free.append(actor)
        what = f"ended its worker {turn.attempt} times (a crash, too little memory, or twice workers.clip_timeout_s)"
        remedy = "leave it out, or raise workers.score.memory_gb or the time"
        return {turn.number: [unfit(turn.source, f"{what} while it was scored; {remedy}")]}

    def _send(self, turn: _Turn) -> None:
        self._running[turn.actor.score.remote(turn.source)] = turn

    def dismiss(self) -> None:
        """End all actors, and wait until Ray knows: their CPUs are free then, and it may be shut down."""
        actors = [*self._free, *(turn.actor for turn in self._running.values())]
        for actor in actors:
            ray.kill(actor)
        if actors:
            ends = [actor.__ray_ready__.remote() for actor in actors]  # fails when the end is known
            ray.wait(ends, num_returns=len(ends), timeout=_LINE_EVERY_S)


class _Said:
    """One line now and then: scoring takes as long as making the clips, or longer."""

    def __init__(self) -> None:
        self._num_sources = self._num_clips = 0
        self._said_at = time.monotonic()

    def add(self, num_clips: int) -> None:
        self._num_sources += 1
        self._num_clips += num_clips

    def say(self) -> None:
        if time.monotonic() - self._said_at >= _LINE_EVERY_S:
            self._said_at = time.monotonic()
            logger.info("scoring  %d clips from %d videos so far", self._num_clips, self._num_sources)
