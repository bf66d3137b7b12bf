"""Small batches of clips of many lengths in float64, and small objectives of every kind to try them on."""

from dataclasses import replace

import torch
from torch import Tensor

from mien import draws
from mien.config import Config
from mien.objectives.batch import Batch
from mien.objectives.expression import JointConfig
from mien.objectives.face_id import FaceIdConfig
from mien.objectives.objective import Objective
from mien.objectives.prediction import PredictionConfig
from mien.objectives.registry import build

SIZE_PX = 12
_SIZES = {"embed_dim": 8, "num_heads": 2, "ff_dim": 12, "dropout": 0.2}
_PATCHES = _SIZES | {"num_patches": 4}
_PICTURE = _PATCHES | {"image_size_px": SIZE_PX, "channels": (6, 6, 6, 4, 4, 4)}
_SUBJECTS = {"max_subjects": 3}

CONFIGS: dict[str, Config] = {
    "joint": JointConfig(expression=_PATCHES | _SUBJECTS | {"num_layers": 2}, reconstruction=_PICTURE),
    "joint of the second design": JointConfig(
        expression=_PATCHES | {"kind": "subject_invariant", "num_layers": 1},
        reconstruction=_PICTURE | _SUBJECTS | {"kind": "subject_reconstruction"},
    ),
    "prediction": PredictionConfig(
        expression=_PATCHES | _SUBJECTS | {"num_layers": 1},
        predictor=_SIZES | {"num_layers": 2, "max_length": 16},
    ),
    "face id": FaceIdConfig(model=_SIZES, max_pairs=3),
}


def objective(config: Config) -> Objective:
    """In train mode and float64; always the same parameters."""
    torch.manual_seed(0)
    return build(config).double()  # type: ignore[arg-type]


def clips(lengths: tuple[int, ...] = (8, 3, 1, 7), padded_to: int = 8) -> Batch:
    """Zeros where there is no frame; a frame is the same whatever it is padded to."""
    num, longest = len(lengths), 8
    generator = torch.Generator().manual_seed(0)
    mask = torch.arange(padded_to) < torch.tensor(lengths)[:, None]

    def drawn(*shape: int) -> Tensor:
        values = torch.rand(num, longest, *shape, generator=generator, dtype=torch.float64)
        padded = torch.zeros(num, padded_to, *shape, dtype=torch.float64)
        padded[:, :longest] = values
        return torch.where(mask.view(*mask.shape, *(1 for _ in shape)), padded, 0)

    return Batch(
        tokens=drawn(4, 8) - 0.5,
        images=drawn(3, SIZE_PX, SIZE_PX),
        positions=torch.randn(4, 8, generator=generator, dtype=torch.float64),
        mask=mask,
        subjects=torch.tensor([0, 1, 1, 2])[:num],
        keys=draws.keys(0, "model", torch.arange(num)),
    )


def chosen(batch: Batch, clip_numbers: list[int], length: int | None = None) -> Batch:
    """Some clips of a batch, in another order, cut to a length."""
    images = batch.images
    return replace(
        batch,
        tokens=batch.tokens[clip_numbers, :length],
        images=None if images is None else images[clip_numbers, :length],
        mask=batch.mask[clip_numbers, :length],
        subjects=batch.subjects[clip_numbers],
        keys=batch.keys[clip_numbers],
    )


def backward(model: Objective, *batches: Batch) -> tuple[dict[str, Tensor], dict[str, Tensor], dict[str, Tensor]]:
    """Sums, counts and gradients of the sums, added up over batches."""
    model.zero_grad()
    sums: dict[str, Tensor] = {}
    counts: dict[str, Tensor] = {}
    for batch in batches:
        for name, term in model(batch).terms.items():
            sums[name] = sums.get(name, 0) + term.sum.detach()
            counts[name] = counts.get(name, 0) + term.count
            term.sum.backward(retain_graph=True)
    gradients = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    return sums, counts, gradients
