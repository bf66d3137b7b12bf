"""Loss-aware timesteps against a plain loop over samples."""

from collections import defaultdict, deque

import pytest
import torch

from mien.diffusion.loss_aware import LossAware, LossAwareConfig
from mien.diffusion.pacing import Progress, Stage

NUM_STEPS = 6


def fed(pacing: LossAware, batches: list[tuple[torch.Tensor, torch.Tensor]]) -> Stage:
    for t, losses in batches:
        pacing.observe_samples(t, losses)
    return pacing.stage_at(Progress())


def batches(num: int, size: int = 17) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Timesteps that repeat within a batch, with a loss that grows with them."""
    drawn = [torch.randint(0, NUM_STEPS, (size,)) for _ in range(num)]
    return [(t, (1 + t) * torch.rand(size)) for t in drawn]


@pytest.mark.parametrize("history", [1, 3, 10])
def test_probabilities_are_those_of_a_loop_over_the_last_losses(history: int) -> None:
    seen = batches(30)
    stage = fed(LossAwareConfig(history=history, uniform_share=0.1).build(NUM_STEPS), seen)
    last: defaultdict[int, deque[float]] = defaultdict(lambda: deque(maxlen=history))
    for t, losses in seen:
        for one, loss in zip(t.tolist(), losses.tolist(), strict=True):
            last[one].append(loss)
    roots = [(sum(loss**2 for loss in last[t]) / history) ** 0.5 for t in range(NUM_STEPS)]
    expected = [0.9 * root / sum(roots) + 0.1 / NUM_STEPS for root in roots]
    assert stage.probabilities.tolist() == pytest.approx(expected, rel=1e-6)
    importance = stage.importance(torch.arange(NUM_STEPS)).tolist()
    assert importance == pytest.approx([1 / (NUM_STEPS * share) for share in expected], rel=1e-6)


def test_uniform_until_every_timestep_has_its_losses() -> None:
    pacing = LossAwareConfig(history=2).build(NUM_STEPS)
    every, losses = torch.arange(NUM_STEPS), torch.arange(NUM_STEPS) + 1.0
    warm_up = fed(pacing, [(every, losses), (every[:-1], losses[:-1])])
    assert torch.equal(warm_up.probabilities, torch.full((NUM_STEPS,), 1 / NUM_STEPS, dtype=torch.float64))
    assert fed(pacing, [(every[-1:], losses[-1:])]).probabilities.argmax() == NUM_STEPS - 1


def test_a_state_goes_on_as_if_nothing_had_happened() -> None:
    seen, config = batches(20), LossAwareConfig(history=3)
    before, after = config.build(NUM_STEPS), config.build(NUM_STEPS)
    fed(before, seen[:9])
    after.load_state_dict(before.state_dict())
    assert torch.equal(fed(after, seen[9:]).probabilities, fed(before, seen[9:]).probabilities)


def test_losses_of_zero_leave_every_timestep_possible() -> None:
    every = torch.arange(NUM_STEPS)
    stage = fed(LossAwareConfig(history=1).build(NUM_STEPS), [(every, torch.zeros(NUM_STEPS))])
    assert stage.probabilities.tolist() == pytest.approx([1 / NUM_STEPS] * NUM_STEPS)


def test_what_cannot_be_gone_on_with_is_refused() -> None:
    pacing = LossAwareConfig(history=3).build(NUM_STEPS)
    with pytest.raises(ValueError, match="a loss is NaN or infinite"):
        pacing.observe_samples(torch.tensor([1]), torch.tensor([float("nan")]))
    with pytest.raises(ValueError, match=r"\[T, history\] = \[9, 3\], but the config says \[6, 3\]"):
        pacing.load_state_dict(LossAwareConfig(history=3).build(9).state_dict())
