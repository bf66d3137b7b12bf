"""`mien analyze warp`: a displacement field as maps and arrows."""

from mien.analysis import output, style, warp_field
from mien.analysis.output import AnalysisReport
from mien.analysis.warp_field import WarpFieldConfig
from mien.analysis.warp_sources import WarpSourceConfig
from mien.config import Config
from mien.errors import ConfigError

_OWNED = ("warp_field", "synthetic_warp_field")
_NO_SOURCE = (
    "source: is required; give source.kind=file source.file=FIELD.npz, source.kind=frames source.dataset=DATASET, "
    "source.kind=pictures source.first=A.png source.second=B.png, or source.kind=synthetic"
)


class WarpConfig(Config):
    """One run of `mien analyze warp`."""

    source: WarpSourceConfig | None = None
    """Where the field comes from."""
    output: str = "warp_output"
    """Where figure and numbers go, a folder or gs://."""
    figure: WarpFieldConfig = WarpFieldConfig()
    """Size, colours and arrows."""


def run(config: WarpConfig, *, fresh: bool = False) -> AnalysisReport:
    """Draw one field; nothing is written before it is read and found to be one.

    Args:
        config: What is drawn of what.
        fresh: Delete an earlier analysis first.

    Raises:
        ConfigError: No source is given, or it lacks what is named.
        DatasetError: It is damaged, or is no displacement field.
        AssetError: The model file of the landmarker cannot be had.
        RefusedError: The output was made with another config.
        StorageError: A file cannot be read or written.
    """
    if config.source is None:
        raise ConfigError(_NO_SOURCE)
    warp = config.source.read()
    is_default = config.figure.title == WarpFieldConfig.model_fields["title"].default
    figure = config.figure.model_copy(update={"title": warp.title}) if is_default else config.figure
    drawn, numbers = warp_field.draw(warp.values, figure), warp_field.numbers(warp.values)
    store = output.begin(config, config.output, _OWNED, fresh=fresh)
    document = {"source": config.source.dump(), **warp.facts, **numbers, "figures": [f"{warp.name}.png"]}
    style.save(store, warp.name, drawn, {**warp.facts, **numbers})
    kind = "volumetric, " if numbers["is_volumetric"] else ""
    said = [
        warp.title,
        f"given shape: {numbers['given_shape']}",
        f"displacement: {kind}mean {numbers['mean_magnitude']:.4f}, max {numbers['max_magnitude']:.4f}",
        *(
            f"{name}: min {part['min']:.4f}, mean {part['mean']:.4f}, max {part['max']:.4f}"
            for name, part in numbers["components"].items()
        ),
    ]
    return output.finish(store, document, said, f"{warp.name}.png")
