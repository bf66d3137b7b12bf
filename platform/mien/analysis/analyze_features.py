"""`mien analyze features`: activation maps of two denoisers on the same images with the same noise, and a verdict."""

from collections.abc import Iterator
from itertools import chain

from mien.analysis import feature_files, feature_images, feature_report, output
from mien.analysis.compute import Compute, here
from mien.analysis.feature_files import FeatureConfig
from mien.analysis.feature_images import DataConfig
from mien.analysis.feature_pair import Device, Pair, Sample, open_pair
from mien.analysis.output import AnalysisReport
from mien.config import differing_keys
from mien.errors import ConfigError
from mien.log import logger
from mien.models import checkpoint
from mien.models.checkpoint import Checkpoint
from mien.objectives.load import Weights

_OWNED = (
    *("sample_", feature_files.ACTIVATIONS, feature_report.SHEETS),
    *(feature_report.JSON, feature_report.EFFECTS, feature_report.INDEX),
)


class FeaturesConfig(FeatureConfig):
    """One run of `mien analyze features`."""

    baseline: str = ""
    """Left side: output of `mien train` with objective.kind=ddpm, or RUN/checkpoints/step_…."""
    curriculum: str = ""
    """Right side."""
    weights: Weights = "ema"
    """`ema`: averages over the steps, where the runs have them; `model`: as the last step left them."""
    data: DataConfig | None = None
    """Images that are shown; by default those that the baseline held out."""
    device: Device = "auto"
    """`auto`: the GPU where there is one."""
    output: str = "feature_visualizations"
    """Where figures and numbers go, a folder or gs://."""


def run(config: FeaturesConfig, *, fresh: bool = False, compute: Compute = here) -> AnalysisReport:
    """Draw all figures, the contact sheets and the verdict; images whose figures are there already are passed over.

    Args:
        config: What is shown to what.
        fresh: Delete an earlier analysis first.
        compute: Who runs the networks and draws.

    Raises:
        ConfigError: A checkpoint is not named, there is no image or device, or a timestep or layer is not one of
            the networks'.
        CheckpointError: One cannot be read or is no denoiser, or they are of different architectures.
        PreflightError: There are no images, or their place may not be read.
        DatasetError: The dataset is none, or damaged.
        RefusedError: The output was made with another config, or of earlier checkpoints.
        StorageError: A file cannot be read or written.
    """
    runs = _found(config.baseline, "baseline"), _found(config.curriculum, "curriculum")
    data = config.data or feature_images.held_out_by(runs[0].facts, runs[0].uri)
    places = {"baseline": runs[0].uri, "curriculum": runs[1].uri}
    config = config.model_copy(update={**places, "data": data})
    pair = open_pair(config.baseline, config.curriculum, config.weights, config.device)
    if compute is here:
        pair.device_here()  # a wrong one is told before the output is claimed
    images = _tried(pair, feature_images.samples(data, pair.baseline.config.network.image_size_px), config)
    store = output.begin(config, config.output, _OWNED, fresh=fresh)
    numbers = feature_files.draw_samples(pair, images, config, store, compute)
    facts = feature_files.facts_of(pair, config)
    facts["notes"] = [*facts["notes"], *_notes(runs, len(numbers), config)]
    for note in facts["notes"]:
        logger.warning("note     %s", note)
    found = feature_report.finish(store, numbers, config, facts)
    num_pictures = len(numbers) * len(feature_files.pictures_of(0, config, [*facts["modules"]]))
    document = {**facts, "num_images": len(numbers), "num_pictures": num_pictures}
    document["verdicts"] = {one.measure: one.verdict for one in found}
    text = [f"pictures: {num_pictures} of {len(numbers)} images", *(one.sentence() for one in found)]
    return output.finish(store, document, text, feature_report.INDEX)


def _found(place: str, key: str) -> Checkpoint:
    if not place:
        raise ConfigError(f"{key}: is required; name the output of `mien train`, or RUN/checkpoints/step_…")
    return checkpoint.find(place)


def _tried(pair: Pair, images: Iterator[Sample], config: FeaturesConfig) -> Iterator[Sample]:
    """All images, after the first one went through both networks: what cannot be shown is told before a file is made.

    Raises:
        ConfigError: There is no image, or an image, a timestep or a layer is not one of the networks'.
        CheckpointError: A model puts out values that are no numbers.
    """
    first = next(images, None)
    if first is None:
        raise ConfigError("data: there is no held-out image to show; give another split, place or dataset")
    pair.require_timesteps(one.t for one in config.conditions)
    with pair.reading(config.layers) as read:
        read(pair.input_of(first, config.conditions[0], config.seed))
    return chain([first], images)


def _notes(runs: tuple[Checkpoint, Checkpoint], num: int, config: FeaturesConfig) -> Iterator[str]:
    """What a reader of the figures should know of the images."""
    data = [{key: (run.facts.get("config") or {}).get(key) for key in ("dataset", "data")} for run in runs]
    held_out = [{"dataset": one["dataset"], "split": (one["data"] or {}).get("split")} for one in data]
    if keys := differing_keys(*held_out):
        yield f"the two runs held out other images ({', '.join(keys)} differ): one may have seen what is shown"
    if num < config.num_samples:
        yield f"there are {num} images, not {config.num_samples}"
