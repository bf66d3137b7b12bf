"""Which extractors there are, and how a config becomes one. A kind is one file with its config, and one name here.

Two phases, so that a job fails before it starts and workers need no network: `resolve` on the driver, `build` in each
worker.
"""

from typing import Annotated

from pydantic import Field

from mien.features.backbone import Resolved, resolve
from mien.features.clip_vit import ClipVitConfig
from mien.features.dinov2 import Dinov2Config
from mien.features.extractor import Extractor
from mien.features.vit import VitConfig

__all__ = ["ExtractorConfig", "Resolved", "build", "resolve"]

ExtractorConfig = Annotated[Dinov2Config | VitConfig | ClipVitConfig, Field(discriminator="kind")]
"""Every kind of extractor."""


def build(resolved: Resolved, weights: bytes | None = None) -> Extractor:
    """Load a resolved backbone, without any request to the network.

    Args:
        resolved: What `resolve` returned on the driver.
        weights: `resolved.read_weights()` of the driver, where this machine does not see the driver's disk.

    Raises:
        AssetError: The weights are not on this machine, not those that were resolved, or do not fit.
    """
    from mien.features.network import Network

    return Network(resolved, weights)
