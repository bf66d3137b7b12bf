"""`mien analyze training`: what one or several runs logged, as curves over one another."""

from pydantic import Field

from mien.analysis import output, training_curves
from mien.analysis.labelled import Places
from mien.analysis.output import AnalysisReport
from mien.analysis.training_curves import TrainingCurvesConfig
from mien.config import Config
from mien.errors import ConfigError
from mien.evaluation.run_log import logged
from mien.log import logger
from mien.storage.uri import open_store

_OWNED = ("losses", "schedules", "collapse", "pace", "other")


class TrainingFiguresConfig(Config):
    """One run of `mien analyze training`."""

    runs: Places = Field({})
    """Outputs of `mien train`: one, several as [RUN, RUN], or with labels of your own as {first: RUN, second: RUN}."""
    output: str = "training_figures"
    """Where figures and numbers go, a folder or gs://."""
    figure: TrainingCurvesConfig = TrainingCurvesConfig()
    """Size of the panels, and how lines are drawn."""


def run(config: TrainingFiguresConfig, *, fresh: bool = False) -> AnalysisReport:
    """Draw the logs as they are now; nothing is written before all are read. Runs may be going on: ask again later.

    Args:
        config: What is drawn of which runs.
        fresh: Delete an earlier analysis first.

    Raises:
        ConfigError: No run is named, or the config of one is damaged.
        DatasetError: A run has no log, a damaged one, or all have no finite number.
        RefusedError: The output was made with another config.
        StorageError: A file cannot be read or written.
    """
    if not config.runs:
        raise ConfigError("runs: is required; give runs=RUN, runs=[RUN, RUN] or runs={first: RUN, second: RUN}")
    stores = {label: open_store(place) for label, place in config.runs.items()}
    runs = {label: logged(store) for label, store in stores.items()}
    warmup = {label: step for label, one in stores.items() if (step := training_curves.warmup_steps(one))}
    pictures, missing = training_curves.pictures(runs, config.figure, warmup)
    config = config.model_copy(update={"runs": {label: one.uri for label, one in stores.items()}})
    store = output.begin(config, config.output, _OWNED, fresh=fresh)
    names = output.write(store, pictures)
    for reason in missing:
        logger.warning("note     %s", reason)
    found = {label: training_curves.summary(one) for label, one in runs.items()}
    document = {"runs": found, "warmup_steps": warmup, "not_available": missing, "figures": names}
    text = [*(f"{label}: {training_curves.sentence(one)}" for label, one in found.items()), *missing]
    return output.finish(store, document, text, names[0])
