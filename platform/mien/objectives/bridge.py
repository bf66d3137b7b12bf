"""The embedding bridge: a denoiser of one modality, into whose distribution it then leads embeddings of another."""

from dataclasses import replace
from typing import Annotated, Any, Literal

import torch
from jaxtyping import Float, Int64
from pydantic import BeforeValidator, Field, model_validator
from torch import Tensor

from mien.diffusion import bridge
from mien.diffusion.bridge import BridgeConfig, Frame
from mien.diffusion.schedule import CosineScheduleConfig, ScheduleConfig
from mien.diffusion.weighting import SnrConfig, WeightingConfig
from mien.errors import ConfigError
from mien.models.residual_mlp import ResidualMlpConfig
from mien.models.unet1d import Unet1dConfig
from mien.objectives.batch import Samples
from mien.objectives.diffusion import Diffusion, ProcessConfig
from mien.objectives.objective import Gather, Outcome, from_one_rank

Modality = Literal["text", "visual", "both"]
"""What a bridge has learnt; it leads there, and nowhere else."""


def _with_kind(given: Any) -> Any:
    """The residual MLP where nothing is said; there is no default of the whole, for the width is always asked for."""
    return {"kind": "residual_mlp", **given} if isinstance(given, dict) else given


NetworkConfig = Annotated[
    Annotated[ResidualMlpConfig | Unet1dConfig, Field(discriminator="kind")], BeforeValidator(_with_kind)
]
"""Networks over an embedding."""


class EmbeddingBridgeConfig(ProcessConfig):
    """A denoiser of embeddings of one length (Lee et al., CVPR 2025)."""

    kind: Literal["bridge"] = "bridge"
    """Kind of objective."""
    network: NetworkConfig
    """Network that is trained; `embed_dim` is the width of the embeddings."""
    schedule: ScheduleConfig = CosineScheduleConfig()
    """Noise of each timestep."""
    prediction: Literal["x_0"] = "x_0"
    """What the network says. Noisy embeddings are brought back to one length, so neither noise nor velocity follow."""
    weighting: WeightingConfig = SnrConfig()
    """How much each timestep counts."""
    bridge: BridgeConfig = BridgeConfig()
    """The way of an embedding from source to target."""
    modality: Modality = "text"
    """What the embeddings are that it is trained on. It changes no number; reports say it."""

    @model_validator(mode="after")
    def _bridge_fits(self) -> "EmbeddingBridgeConfig":
        start, total = self.bridge.start_step, self.schedule.num_steps
        if start > total:
            raise ValueError(f"bridge.start_step={start} is more than schedule.num_steps={total}; lower it")
        return self

    def build(self) -> "EmbeddingBridge":
        """A network with random parameters, and no mean yet."""
        return EmbeddingBridge(self)


class EmbeddingBridge(Diffusion):
    """Embeddings around the mean of their modality, at one length."""

    mean: Float[Tensor, " d"]
    """Of the unit vectors that it is trained on; NaN before `set_mean`. It is part of the checkpoint."""

    def __init__(self, config: EmbeddingBridgeConfig) -> None:
        """A fresh network."""
        super().__init__(config, config.network.build())
        self.config = config
        self.register_buffer("mean", torch.full((config.network.embed_dim,), torch.nan))

    def set_mean(self, mean: Float[Tensor, " m"]) -> None:
        """Take the mean of the unit vectors of the training side, before the first step.

        Raises:
            ConfigError: It has another width than the network.
        """
        if mean.shape != self.mean.shape:
            raise ConfigError(
                f"objective.network.embed_dim={len(self.mean)}: the embeddings have {len(mean)} dimensions; "
                f"set it to {len(mean)}, or give embeddings of the same extractor"
            )
        self.mean.copy_(mean)

    def look_at(self, samples: Any) -> None:
        """Take the mean of the training side (`datasets.embeddings`)."""
        self.set_mean(torch.from_numpy(samples.mean()))

    def forward(self, batch: Samples, gather: Gather = from_one_rank) -> Outcome:
        """Errors of the predictions, of embeddings as an extractor gives them.

        Raises:
            ValueError: There is no mean, or an embedding cannot be scaled or has another width.
        """
        return super().forward(replace(batch, values=self._seen(batch.values, self._known_mean())), gather)

    def noisy(self, x_0: Float[Tensor, "n d"], noise: Float[Tensor, "n d"], t: Int64[Tensor, " n"]) -> Tensor:
        """Brought back to the radius, as at inference."""
        return bridge.add_noise(x_0, noise, t, self.schedule, self.config.bridge.radius)

    @torch.no_grad()
    def translate(
        self,
        x: Float[Tensor, "n d"],
        source_mean: Float[Tensor, " m"],
        frame: Frame | None = None,
        way: BridgeConfig | None = None,
    ) -> Float[Tensor, "n d"]:
        """Unit vectors of embeddings that were led into what it is trained on; it must be in eval mode.

        Args:
            x: Embeddings of the source, as an extractor gives them.
            source_mean: Mean of the unit vectors of their modality.
            frame: Of the result; the config's if none.
            way: Start step, number of steps and radius; the config's if none.

        Raises:
            ValueError: There is no mean, an embedding cannot be scaled, or the widths differ.
        """
        own, way = self._known_mean(), way or self.config.bridge
        centred = way.translate(self.denoiser, bridge.normalise(x, source_mean, way.radius))
        return bridge.denormalise(centred, own, frame or way.frame)

    def _seen(self, x: Tensor, mean: Tensor) -> Tensor:
        """What the network sees where there is no noise."""
        return bridge.normalise(x, mean, self.config.bridge.radius)

    def _known_mean(self) -> Tensor:
        if bool(self.mean.isnan().any()):
            raise ValueError("the bridge has no mean; call set_mean, or take its checkpoint")
        return self.mean
