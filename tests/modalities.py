"""Two modalities with a known gap between them, and a bridge that is trained without a trainer."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from mien import draws
from mien.evaluation.bridging import HeldOutPairs
from mien.evaluation.translators import TrainingPairs, Translator
from mien.objectives.batch import Samples
from mien.objectives.bridge import EmbeddingBridge, EmbeddingBridgeConfig

DIM, LATENT_DIM = 32, 6
NUM_TRAINING, NUM_HELD_OUT = 1200, 400


@dataclass(frozen=True)
class Gap:
    """How the source is made of the target, both of one random point on a sphere of 6 dimensions in 32."""

    angle: float = 0.0
    """Of a rotation of all 32 dimensions; of that in its fastest plane, radians."""
    latent_angle: float = 0.0
    """The same of a rotation within the 6: one that the target's distribution cannot tell."""
    offset: float = 0.0
    """Distance by which the source is moved; the points have length 1."""
    noise: float = 0.0
    """Of each modality for itself, expected length."""


def modalities(gap: Gap, seed: int = 0) -> tuple[TrainingPairs, HeldOutPairs]:
    """Training pairs, and held-out ones, where each target is one of the gallery."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    num = NUM_TRAINING + NUM_HELD_OUT
    latent = functional.normalize(normal(num, LATENT_DIM))
    basis = torch.linalg.qr(normal(DIM, LATENT_DIM)).Q
    own_place, offset = functional.normalize(normal(2, DIM))
    turn = rotation(normal(DIM, DIM), gap.angle)
    latent_turn = rotation(normal(LATENT_DIM, LATENT_DIM), gap.latent_angle)
    target = latent @ basis.T + 0.5 * own_place
    source = latent @ latent_turn.T @ basis.T @ turn.T + 0.5 * own_place + gap.offset * offset
    source, target = (x + gap.noise * normal(num, DIM) / DIM**0.5 for x in (source, target))
    held_out = HeldOutPairs(source[NUM_TRAINING:], target[NUM_TRAINING:], torch.arange(NUM_HELD_OUT))
    return TrainingPairs(source[:NUM_TRAINING], target[:NUM_TRAINING]), held_out


def rotation(drawn: Tensor, angle: float) -> Tensor:
    """Around a random axis, [d, d]."""
    skew = drawn - drawn.T
    return torch.linalg.matrix_exp(angle * skew / torch.linalg.matrix_norm(skew, 2))


def trained(x: Tensor, num_steps: int = 200, **config: object) -> EmbeddingBridge:
    """A small bridge into the distribution of x [n, 32]."""
    torch.manual_seed(0)
    network = {"embed_dim": DIM, "hidden_dim": 64, "num_blocks": 2}
    bridge = EmbeddingBridgeConfig.parse({"network": network, **config}, "test").build()
    bridge.set_mean(functional.normalize(x).mean(0))
    optimizer = torch.optim.Adam(bridge.parameters(), lr=3e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, num_steps)
    for step in range(num_steps):
        rows = torch.randint(len(x), (128,))
        batch = Samples(x[rows], draws.keys(0, "test", rows, step), torch.ones(len(rows), dtype=torch.bool))
        term = bridge(batch).terms["denoising"]
        optimizer.zero_grad()
        (term.sum / term.count).backward()
        torch.nn.utils.clip_grad_norm_(bridge.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    return bridge.eval()


def translator(bridge: EmbeddingBridge, source_mean: Tensor) -> Translator:
    """As a report wants it."""
    return Translator("bridge", lambda x: bridge.translate(x, source_mean, "raw"), bridge.config.modality)
