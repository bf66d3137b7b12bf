"""Scored clips of many videos: each is one call of an actor, in the order of the sources; only the best come back."""

import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import ray

from mien.clips.clip import Clip, Source, unfit
from mien.errors import MienError
from mien.faces.detect import BlazeFace
from mien.features.registry import Resolved, build
from mien.log import logger
from mien.pipelines import stages
from mien.pipelines.cap import leave_no_core, memory_cap
from mien.pipelines.cluster import cause_of, session
from mien.pipelines.crew import in_order
from mien.pipelines.pools import num_that_fit, require_room
from mien.pipelines.preflight import Ready
from mien.pipelines.score import Scorer
from mien.pipelines.watchdog import process_ends_after

SCORE = "score"
"""Name of the stage, in `workers`."""

_LINE_EVERY_S = 30.0


def is_scored(config: Any) -> bool:
    """Whether making the plan of a `SerializeConfig` needs the models of the job."""
    return bool(config.clips.kind == "scored")


def scored_clips(config: Any, ready: Ready, sources: Iterable[Source]) -> Iterator[Clip]:
    """The best clips of every source, source by source; of one that has none a clip that fails and says why.

    Args:
        config: A `SerializeConfig` whose clips are scored.
        ready: Models, as the preflight brought them.
        sources: In the order of the plan; taken one at a time.

    Raises:
        PreflightError: There is no room for a worker.
        Unavailable: A bucket did not answer; the same command begins again.
        MienError: A worker failed in another way.
    """
    if ready.extractor is None:  # the config demands one
        raise ValueError("scored clips need an extractor")
    pool, said = config.workers.score, _Said()
    try:
        with session(config.cluster):
            require_room(config.cluster, SCORE, pool)
            extractor = stages.pin_dtype(ready.extractor, None, pool.demands)
            given = (config, ray.put(ready.models), extractor, ray.put(extractor.read_weights()))
            for clips in in_order(lambda: _actor(pool, given), num_that_fit(pool), sources, _given_up):
                said.add(len(clips))
                yield from clips
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

    def do(self, source: Source) -> list[Clip]:
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


def _given_up(source: Source, num_deaths: int) -> list[Clip]:
    what = f"ended its worker {num_deaths} times (a crash, too little memory, or twice workers.clip_timeout_s)"
    remedy = "leave it out, or raise workers.score.memory_gb or the time"
    return [unfit(source, f"{what} while it was scored; {remedy}")]


class _Said:
    """One line now and then: scoring takes as long as making the clips, or longer."""

    def __init__(self) -> None:
        self._num_sources = self._num_clips = 0
        self._said_at = time.monotonic()

    def add(self, num_clips: int) -> None:
        self._num_sources += 1
        self._num_clips += num_clips
        if time.monotonic() - self._said_at >= _LINE_EVERY_S:
            self._said_at = time.monotonic()
            logger.info("scoring  %d clips from %d videos so far", self._num_clips, self._num_sources)
