"""Begin a run with models that an earlier one trained."""

import torch

from mien.errors import CheckpointError
from mien.log import logger
from mien.models import checkpoint, seed_checkpoint
from mien.objectives.objective import Objective
from mien.storage.uri import open_store

_SEED = (".pt", ".pth")


def is_seed(place: str) -> bool:
    """Whether a checkpoint is one of the earlier tools."""
    return place.endswith(_SEED)


def _of_seed(place: str) -> dict[str, torch.Tensor]:
    """Weights of the models in a file of the earlier tools, by the names that objectives give them."""
    folder, _, name = place.rpartition("/")
    networks = seed_checkpoint.read(open_store(folder or ".").fetch(name)).networks
    return {f"{model}.{key}": value for model, module in networks.items() for key, value in module.state_dict().items()}


def begin_with(objective: Objective, place: str) -> None:
    """Give the models of an objective the weights of the same models in a checkpoint; others keep theirs.

    Raises:
        CheckpointError: It cannot be read, none of its models is one of this objective, or one is of another
            architecture.
    """
    tensors = _of_seed(place) if is_seed(place) else checkpoint.find(place).weights()
    models = {name for name, _ in objective.named_children()} & {key.partition(".")[0] for key in tensors}
    if not models:
        known = ", ".join(name for name, _ in objective.named_children())
        raise CheckpointError(f"{place}: holds no model of this objective, whose models are {known}")
    for name in sorted(models):
        own = {key.partition(".")[2]: value for key, value in tensors.items() if key.startswith(f"{name}.")}
        checkpoint.load_into(getattr(objective, name), own, f"{place}, {name}")
    logger.info("begin    %s of %s", ", ".join(sorted(models)), place)
