"""Ways from one modality into another behind one interface: the controls and alternatives of a diffusion bridge.

A diffusion bridge knows the target alone. The three that are fitted here see pairs, and so may undo what no
distribution tells, such as a rotation.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from mien import draws
from mien.config import Config
from mien.diffusion import bridge

Embeddings = Float[Tensor, "n d"]
Mean = Float[Tensor, "d"]


@dataclass(frozen=True)
class Translator:
    """A name, and what makes embeddings of the target of those of the source."""

    name: str
    """In a report."""
    translate: Callable[[Tensor], Tensor]
    """Embeddings [n, d] to as many [n, d] in the frame of the extractor; their length does not matter."""
    trained_on: str = ""
    """Whose embeddings it has learnt from: `text`, `visual`, `both`, `pairs`; empty where nothing is learnt."""

    def __call__(self, x: Embeddings) -> Embeddings:
        """Unit vectors."""
        return functional.normalize(self.translate(x))


@dataclass(frozen=True)
class TrainingPairs:
    """What may be learnt from: embeddings of both modalities, row by row.

    Raises:
        ValueError: There are none, shapes differ, or an embedding has no direction.
    """

    source: Embeddings
    target: Embeddings

    def __post_init__(self) -> None:
        if self.source.shape != self.target.shape or not len(self.source):
            shapes = f"source {list(self.source.shape)} and target {list(self.target.shape)}"
            raise ValueError(f"training pairs need as many rows on both sides, at least one: {shapes}")
        for side in ("source", "target"):
            object.__setattr__(self, side, bridge.normalise(getattr(self, side), None, 1.0))

    @property
    def means(self) -> tuple[Mean, Mean]:
        """Of the unit vectors of the source, and of the target."""
        return self.source.mean(0), self.target.mean(0)


class FitConfig(Config):
    """How networks are fitted to pairs."""

    hidden_dim: int = Field(512, ge=1)
    """Width within the learned projection."""
    bottleneck_dim: int = Field(64, ge=1)
    """Width within the adapter."""
    num_steps: int = Field(1000, ge=1)
    """Steps of the optimiser."""
    batch: int = Field(256, ge=1)
    """Pairs of a step."""
    learning_rate: float = Field(1e-3, gt=0)
    """Of AdamW; it falls to 0 as a cosine."""
    weight_decay: float = Field(0.01, ge=0)
    """Of AdamW."""
    seed: int = 0
    """Of first weights and batches."""


def mean_shift(pairs: TrainingPairs) -> Translator:
    """Control: the mean of the source goes, that of the target comes."""
    source, target = pairs.means
    return Translator("mean shift", lambda x: bridge.mean_shift(x, source, target))


def noise(strength: float, seed: int) -> Translator:
    """Control: a random direction for each row, `strength` times as long as the embedding."""

    def translate(x: Tensor) -> Tensor:
        keys = draws.keys(seed, "inject", torch.arange(len(x)))
        return bridge.inject_noise(x, draws.normal(keys, x.shape[1:]).to(x), strength)

    return Translator("noise", translate)


def linear_map(pairs: TrainingPairs) -> Translator:
    """Affine map by least squares; the smallest one where there are fewer pairs than dimensions."""
    x, y = pairs.source.double(), pairs.target.double()
    solution = torch.linalg.lstsq(_with_one(x), y, driver="gelsd").solution

    def translate(x: Tensor) -> Tensor:
        out: Tensor = _with_one(functional.normalize(x.double())) @ solution
        return out.to(x)

    return Translator("linear map", translate, "pairs")


def learned_projection(pairs: TrainingPairs, config: FitConfig) -> Translator:
    """Two layers, by the cosine to the target."""
    d, hidden = pairs.source.shape[1], config.hidden_dim

    def build() -> nn.Module:
        return nn.Sequential(nn.Linear(d, hidden), nn.GELU(), nn.Linear(hidden, d))

    return _fitted("learned projection", build, pairs, config)


def adapter(pairs: TrainingPairs, config: FitConfig) -> Translator:
    """A narrow correction of the embedding, by the cosine to the target (Houlsby et al. 2019, section 2.1)."""
    return _fitted("adapter", lambda: Adapter(pairs.source.shape[1], config.bottleneck_dim), pairs, config)


class Adapter(nn.Module):
    """The input, plus two layers with a bottleneck between them."""

    def __init__(self, dim: int, bottleneck_dim: int) -> None:
        """It begins as the identity."""
        super().__init__()
        self.down, self.up = nn.Linear(dim, bottleneck_dim), nn.Linear(bottleneck_dim, dim)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(self, x: Embeddings) -> Embeddings:
        """Same shape."""
        out: Tensor = x + self.up(functional.gelu(self.down(x)))
        return out


def _fitted(name: str, build: Callable[[], nn.Module], pairs: TrainingPairs, config: FitConfig) -> Translator:
    """A network after its training; nobody else's random numbers change."""
    scale = pairs.source.shape[1] ** 0.5  # coordinates of about 1, as first weights expect
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        network = build().to(pairs.source)
        _train(network, scale * pairs.source, pairs.target, config)

    @torch.no_grad()
    def translate(x: Tensor) -> Tensor:
        out: Tensor = network(scale * functional.normalize(x))
        return out

    return Translator(name, translate, "pairs")


def _train(network: nn.Module, x: Tensor, y: Tensor, config: FitConfig) -> None:
    optimizer = torch.optim.AdamW(network.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, config.num_steps)
    for _ in range(config.num_steps):
        rows = torch.randint(len(x), (config.batch,)).to(x.device)
        loss = 1 - functional.cosine_similarity(network(x[rows]), y[rows]).mean()
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
    network.eval().requires_grad_(False)


def _with_one(x: Tensor) -> Tensor:
    return torch.cat([x, x.new_ones(len(x), 1)], dim=1)
