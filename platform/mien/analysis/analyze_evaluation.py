"""`mien analyze evaluation`: what evaluations of joint models say of each claim, models side by side."""

from pydantic import Field

from mien.analysis import evaluation_claims, output
from mien.analysis.evaluation_claims import EvaluationClaimsConfig
from mien.analysis.labelled import Places
from mien.analysis.output import AnalysisReport
from mien.config import Config
from mien.errors import ConfigError
from mien.storage.uri import open_store

_OWNED = ("claims", "people")


class EvaluationFiguresConfig(Config):
    """One run of `mien analyze evaluation`."""

    evaluations: Places = Field({})
    """Outputs of `mien evaluate`, or the runs that they stand in: one, several as [RUN, RUN], or with labels of your
    own as {first: RUN, second: RUN}."""
    output: str = "evaluation_figures"
    """Where figures and numbers go, a folder or gs://."""
    figure: EvaluationClaimsConfig = EvaluationClaimsConfig()
    """Size and names of the figures."""


def run(config: EvaluationFiguresConfig, *, fresh: bool = False) -> AnalysisReport:
    """Draw the evaluations as they stand now; nothing is written before all are read.

    Args:
        config: What is drawn of which evaluations.
        fresh: Delete an earlier analysis first.

    Raises:
        ConfigError: No evaluation is named.
        DatasetError: One is not there, damaged, or of a model without expression tokens.
        RefusedError: The output was made with another config.
        StorageError: A file cannot be read or written.
    """
    if not config.evaluations:
        raise ConfigError(
            "evaluations: is required; give evaluations=RUN, evaluations=[RUN, RUN] or "
            "evaluations={first: RUN, second: RUN}"
        )
    stores = {label: open_store(place) for label, place in config.evaluations.items()}
    documents = {label: evaluation_claims.read(one) for label, one in stores.items()}
    pictures = evaluation_claims.pictures(documents, config.figure)
    config = config.model_copy(update={"evaluations": {label: one.uri for label, one in stores.items()}})
    store = output.begin(config, config.output, _OWNED, fresh=fresh)
    names = output.write(store, pictures)
    text = [
        "\n".join([f"{label}, step {one.get('step', 'unknown')}", *evaluation_claims.sentences(one)])
        for label, one in documents.items()
    ]
    document = {"models": evaluation_claims.numbers(documents), "figures": names}
    return output.finish(store, document, ["\n\n".join(text)], names[0])
