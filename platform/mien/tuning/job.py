"""One sweep: the training that is repeated, what is searched, by whom, and who is stopped early."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Self

from pydantic import Discriminator, Field, Tag, model_validator

from mien.analysis.trials import Direction
from mien.config import Config, flatten
from mien.errors import ConfigError, PreflightError
from mien.evaluation.bootstrap import BootstrapConfig
from mien.evaluation.report import TITLES, EvaluationConfig
from mien.pipelines.cluster import ClusterConfig
from mien.training.job import SAMPLES_OF, TrainConfig
from mien.tuning.dimensions import ChoiceConfig, GridConfig, SpaceConfig
from mien.tuning.search import FifoConfig, Goal, PopulationConfig, RandomSearchConfig, SchedulerConfig, SearcherConfig
from mien.tuning.space import Space, apply, problems
from mien.tuning.synthetic import SyntheticConfig

_NUM_TRIED = 20
"""Trials whose configs are made when the file is loaded: values may each be valid and not fit each other."""
_OF_THE_SWEEP = ("dataset", "output", "cluster")
"""Keys of a training that the sweep has of its own."""
_IN_FLIGHT = {
    TrainConfig: (
        "objective.weights",
        "optimizer.learning_rate",
        "optimizer.min_learning_rate",
        "optimizer.weight_decay",
    ),
    SyntheticConfig: ("weights",),
}
"""What a trial may change halfway: these are looked up at each step, and no parameter has their shape."""


def _kind_of(values: Any) -> str:
    """A training, unless it says that it is none."""
    kind = values.get("kind") if isinstance(values, Mapping) else getattr(values, "kind", None)
    return "synthetic" if kind == "synthetic" else "train"


Trained = Annotated[
    Annotated[TrainConfig, Tag("train")] | Annotated[SyntheticConfig, Tag("synthetic")], Discriminator(_kind_of)
]
"""What a trial runs: a training, or an objective whose optimum is known."""


class RepeatsConfig(Config):
    """The best configs again, so that the winner is not the luckiest trial."""

    num_configs: int = Field(0, ge=0)
    """Best configs that are run again; 0 for none."""
    num_seeds: int = Field(3, ge=2)
    """Runs of each, with seeds of their own."""
    level: float = Field(0.95, ge=0.5, lt=1)
    """Of Student's interval of their mean."""


class TrialEvaluationConfig(Config):
    """How a trial is measured at each of its reports, as `mien evaluate` does."""

    max_frames: int = Field(2_000, ge=100)
    """Frames of each side of the split that are looked at."""
    measures: EvaluationConfig = EvaluationConfig(bootstrap=BootstrapConfig(num=100))
    """The measures; of their intervals a trial makes no use."""


class TuneConfig(Config):
    """One run of `mien tune`."""

    dataset: str = ""
    """Dataset that every trial learns from."""
    output: str = ""
    """Where trials, tables and figures go; on several machines a place that all of them see, as gs:// is."""
    train: Trained = TrainConfig(dataset="")
    """The training, as in configs/train; its `workers` are those of one trial, its `num_steps` those of a whole one."""
    space: SpaceConfig = Field(default_factory=dict)
    """Key of the training, or name of a group -> what is drawn."""
    metrics: dict[str, Direction] = Field(default_factory=dict)
    """What is sought, and which way it is better. The first decides who is stopped and who wins; of several there is
    the Pareto front too. There is what a training logs of its held-out windows, and what `mien evaluate` measures, as
    `probe.tokens.mean`, which takes longer. The weighted loss is none: it changes its meaning with the weights."""
    evaluation: TrialEvaluationConfig = TrialEvaluationConfig()
    """How it is measured, where a metric asks for it."""
    searcher: SearcherConfig = RandomSearchConfig()
    """Who proposes configs."""
    scheduler: SchedulerConfig = FifoConfig()
    """Who stops and copies trials."""
    num_trials: int | None = Field(None, ge=1)
    """Configs that are tried; of `grid` all."""
    repeats: RepeatsConfig = RepeatsConfig()
    """What is run again at the end."""
    max_concurrent: int | None = Field(None, ge=1)
    """Trials at a time; by default as many as the cluster holds."""
    max_failures: int = Field(2, ge=0)
    """Times that a trial goes on from its checkpoint after a failure, before it counts as failed."""
    seed: int = Field(0, ge=0, lt=2**62)
    """Of what is drawn; that of the trainings is `train.seed`."""
    cluster: ClusterConfig = ClusterConfig()
    """Where Ray runs."""

    @classmethod
    def parse(cls, values: Mapping[str, Any], origin: str, overridden: Sequence[str] = ()) -> Self:
        """Validate plain values; keys of the space may be dotted, as in a file, or nested, as overrides make them.

        Raises:
            ConfigError: Something does not fit; one line for each.
        """
        space = values.get("space")
        if isinstance(space, Mapping):
            values = {**values, "space": _by_key(space)}
        return super().parse(values, origin, overridden)

    @model_validator(mode="after")
    def _can_run(self) -> Self:
        found = [*_own_keys(self), *problems(self.space, self.train), *_of_search(self), *_of_schedule(self)]
        found += _of_population(self)
        found = found or list(_unfitting(self))
        if found:
            raise ValueError("\n".join(dict.fromkeys(found)))
        return self

    @property
    def num(self) -> int:
        """Trials, without repeats."""
        return self.num_trials or self.build().grid_size

    @property
    def first(self) -> tuple[str, Direction]:
        """The metric that decides, and which way it is better."""
        return next(iter(self.metrics.items()))

    def build(self) -> Space:
        """The space."""
        return Space(self.space, self.seed)

    @property
    def needs(self) -> dict[str, float]:
        """Resource -> amount of one worker of a trial."""
        workers = self.train.workers
        needs = {"CPU": workers.num_cpus, "GPU": float(workers.use_gpu), **workers.resources}
        return {name: amount for name, amount in needs.items() if amount > 0}

    @property
    def is_population(self) -> bool:
        """Whether trials go on from each other's checkpoints."""
        return isinstance(self.scheduler, PopulationConfig)

    @property
    def evaluates(self) -> bool:
        """Whether a metric is one of `mien evaluate`."""
        return any(name.partition(".")[0] in TITLES for name in self.metrics)

    @property
    def report_every(self) -> int:
        """Steps between two reports of a trial."""
        return self.train.validation.every_steps if isinstance(self.train, TrainConfig) else 1

    def goal(self, num_steps: int) -> Goal:
        """What is sought, in trials of so many steps."""
        return Goal(self.metrics, num_steps, -(-num_steps // self.report_every), self.build())

    def trial(self, drawn: Mapping[str, Any], output: str, repeat: int = 0) -> TrainConfig | SyntheticConfig:
        """Config of one trial, valid input of `mien train`.

        Args:
            drawn: Dotted key -> value.
            output: Where this trial writes.
            repeat: 0 for the trial itself, 1 and more for its repeats.

        Raises:
            ConfigError: The values do not fit each other.
        """
        seed = {"seed": self.train.seed + repeat}
        if isinstance(self.train, SyntheticConfig):
            return apply(self.train, {**drawn, **seed})
        own = {"dataset": self.dataset, "output": output, "cluster": self.cluster.dump()}
        return apply(self.train, {**own, **drawn, **seed})

    def require_room(self, resources: Mapping[str, float]) -> None:
        """Refuse trials that would wait forever, for the cluster has not what one of them needs.

        Args:
            resources: Name -> amount of the whole cluster, as it can grow.

        Raises:
            PreflightError: It is too little.
        """
        for name, amount in self.needs.items():
            needed, there = self.train.workers.bounds[0] * amount, resources.get(name, 0.0)
            if needed > there:
                raise PreflightError(
                    f"train.workers: a trial needs {needed:g} {name}, but the cluster has {there:g}; use fewer workers "
                    "(train.workers.num) or smaller ones (train.workers.num_cpus)"
                )


def _by_key(space: Mapping[str, Any]) -> dict[str, Any]:
    """Key -> fields of its dimension: the last part of each dotted leaf is the field."""
    found = dict[str, Any]()
    for path, value in flatten(space):
        key, _, field = path.rpartition(".")
        if not key:  # no mapping at all, which the fields' own check says better
            found[field] = value
        else:
            found.setdefault(key, {})[field] = value
    return found


def _own_keys(config: TuneConfig) -> Iterator[str]:
    """Keys that the sweep has of its own, and what it needs besides."""
    if isinstance(config.train, TrainConfig):
        yield from _of_training(config, config.train)
    taken = [*_OF_THE_SWEEP, "seed"]
    for name, dimension in config.space.items():
        for key in dimension.targets(name):
            if key.partition(".")[0] in taken:
                yield f"space.{key}: is no matter of a trial; leave it out"
    if not config.metrics:
        yield "metrics: is empty; name what is sought, as {reconstruction: lowest}"
    if "loss" in config.metrics:
        yield "metrics.loss: changes its meaning with the weights; name a term or a measure that has none"


def _of_training(config: TuneConfig, train: TrainConfig) -> Iterator[str]:
    """What a training has of the sweep."""
    plain = TrainConfig(dataset="")
    for key in _OF_THE_SWEEP:
        if getattr(train, key) != getattr(plain, key):
            yield f"train.{key}: is that of the sweep; give it as {key}"
    if config.evaluates and train.objective.kind in SAMPLES_OF:
        name = next(name for name in config.metrics if name.partition(".")[0] in TITLES)
        yield f"metrics.{name}: is a measure of clips, which {train.objective.kind} does not learn from"


def _of_search(config: TuneConfig) -> Iterator[str]:
    """Whether searcher, space and number of trials fit."""
    kind, size = config.searcher.kind, config.build().grid_size
    grids = [name for name, dimension in config.space.items() if isinstance(dimension, GridConfig)]
    others = [name for name in config.space if name not in grids]
    if kind == "grid" and others:
        yield f"space.{others[0]}: the searcher grid takes kind grid alone; use that, or searcher.kind=random"
    if kind == "grid" and config.num_trials not in {None, size}:
        yield f"num_trials: {config.num_trials} is not the {size} of the grid; leave it out"
    if kind == "optuna" and grids:
        yield f"space.{grids[0]}: optuna walks through no grid; use kind choice"
    if kind != "grid" and config.num_trials is None:
        yield "num_trials: is required for searchers other than grid"
    if config.repeats.num_configs > (config.num_trials or size):
        yield f"repeats.num_configs: {config.repeats.num_configs} is more than there are trials"


def _of_schedule(config: TuneConfig) -> Iterator[str]:
    """Whether scheduler and the length of a training fit."""
    scheduler, num_steps = config.scheduler, config.train.num_steps
    if scheduler.kind == "fifo":
        return
    if num_steps is None:
        yield f"train.num_steps: is required for {scheduler.kind}, which compares trials by their steps"
        return
    for name in ("grace_steps", "every_steps"):
        first = getattr(scheduler, name, 0)
        if first >= num_steps:
            yield f"scheduler.{name}: {first} steps are all {num_steps} of a training or more: nothing would happen"
    reports = config.report_every
    if reports >= num_steps:
        yield f"train.validation.every_steps: {reports} leaves {scheduler.kind} nothing to see before the end"


def _of_population(config: TuneConfig) -> Iterator[str]:
    """Whether everything that is searched can change halfway."""
    kind, num = config.scheduler.kind, config.num_trials
    if not config.is_population:
        return
    in_flight = _IN_FLIGHT[type(config.train)]
    if config.searcher.kind != "random":
        yield f"searcher.kind: {kind} moves its trials itself; use random"
    if num is not None and num < 4:
        yield f"num_trials: {num} trials are no population; give {kind} 4 or more"
    for name, dimension in config.space.items():
        for key in dimension.targets(name):
            if not any(f"{key}.".startswith(f"{other}.") for other in in_flight):
                yield f"space.{key}: cannot change halfway, as {kind} would; {kind} takes {', '.join(in_flight)}"
        if kind == "pb2" and isinstance(dimension, ChoiceConfig | GridConfig):
            yield f"space.{name}: pb2 models numbers, and {dimension.kind} has none; use uniform or quniform"


def _unfitting(config: TuneConfig) -> Iterator[str]:
    """Drawn values that are valid each but do not fit together, and curves whose end no training reaches."""
    space, num_steps = config.build(), config.train.num_steps
    for name, dimension in config.space.items():
        warmup = getattr(dimension, "warmup_steps", 0)
        if num_steps is not None and warmup >= num_steps:
            yield f"space.{name}.warmup_steps: {warmup} of {num_steps} steps leave none for the last anchor"
    for number in range(min(config.num_trials or space.grid_size, _NUM_TRIED)):
        drawn = space.sample(number)
        try:
            config.trial(drawn, "")
        except ConfigError as error:
            first = str(error).splitlines()[0].removeprefix("trial: ")
            yield f"space: trial {number} would have {_told(drawn)}: {first}"
            return


def _told(drawn: Mapping[str, Any]) -> str:
    leaves = flatten(drawn)
    return ", ".join(f"{key}={value:.4g}" if isinstance(value, float) else f"{key}={value}" for key, value in leaves)
