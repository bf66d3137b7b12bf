"""Every kind of pacing by its name."""

import pytest
import torch

from mien.config import Config, ConfigError
from mien.diffusion.pacing import Progress
from mien.diffusion.timesteps import TimestepsConfig, UniformConfig


class Holder(Config):
    timesteps: TimestepsConfig = UniformConfig()


STAGES = [{"length": 3}]


@pytest.mark.parametrize(
    "values",
    [
        {"kind": "uniform"},
        {"kind": "hard", "stages": STAGES},
        {"kind": "soft", "stages": STAGES},
        {"kind": "fixed_fraction"},
        {"kind": "task_difficulty"},
        {"kind": "loss_aware"},
    ],
    ids=lambda values: values["kind"],
)
def test_every_kind_is_built_by_name_and_draws(values: dict[str, object]) -> None:
    config = Holder.parse({"timesteps": values}, "test")
    assert Holder.parse(config.dump(), "dump") == config
    pacing = config.timesteps.build(40)
    t = pacing.stage_at(Progress()).draw(torch.linspace(0, 0.999, 50))
    assert t.dtype == torch.int64
    assert ((t >= 0) & (t < 40)).all()
    pacing.load_state_dict(pacing.state_dict())


def test_uniform_is_uniform_for_ever() -> None:
    stage = UniformConfig().build(40).stage_at(Progress(epoch=1000, step=10**9, fraction=1.0))
    assert torch.equal(stage.probabilities, torch.full((40,), 1 / 40, dtype=torch.float64))


def test_an_unknown_kind() -> None:
    with pytest.raises(ConfigError, match=r"timesteps.kind: 'easy' is not one of 'uniform', 'hard', 'soft'"):
        Holder.parse({"timesteps": {"kind": "easy"}}, "test")
