"""Analyses whose work a Ray can share: figures know nothing of Ray, its rooms nothing of figures; here they meet."""

import importlib
from contextlib import ExitStack
from functools import partial

from mien.analysis.analyze_embeddings import EmbeddingsConfig
from mien.analysis.analyze_expressions import ExpressionsConfig
from mien.analysis.analyze_features import FeaturesConfig
from mien.analysis.compute import here
from mien.analysis.output import AnalysisReport
from mien.config import COMMAND_LINE, Config
from mien.pipelines.spread import SpreadConfig, over_ray


class EmbeddingsRunConfig(SpreadConfig, EmbeddingsConfig):
    """One run of `mien analyze embeddings`, and where crops are embedded."""


class ExpressionsRunConfig(SpreadConfig, ExpressionsConfig):
    """One run of `mien analyze expressions`, and where clips are looked at and drawn."""


class FeaturesRunConfig(SpreadConfig, FeaturesConfig):
    """One run of `mien analyze features`, and where maps are made and drawn."""


def run(kind: str, config: SpreadConfig, *, fresh: bool = False) -> AnalysisReport:
    """Run an analysis of a kind with its own part of the config: its output does not know who computed.

    Raises:
        PreflightError: Ray does not start, or a worker fits on no machine.
        MienError: What the analysis raises.
    """
    analysis = importlib.import_module(f"mien.analysis.analyze_{kind}")
    with ExitStack() as held:
        compute = partial(over_ray, config, held) if config.is_over_ray else here
        report: AnalysisReport = analysis.run(_own(config), fresh=fresh, compute=compute)
    return report


def _own(config: SpreadConfig) -> Config:
    """Without the fields of `SpreadConfig`."""
    (own,) = (one for one in type(config).__bases__ if one is not SpreadConfig and issubclass(one, Config))
    return own.parse({key: value for key, value in config.dump().items() if key in own.model_fields}, COMMAND_LINE)
