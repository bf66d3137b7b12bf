"""Clusters are added from the noisiest down: by the share of the training, or when the loss stands still."""

import json

import pytest

from mien.diffusion.clusters import FixedFractionConfig, TaskDifficulty, TaskDifficultyConfig
from mien.diffusion.pacing import Progress, Stage


def lowest(stage: Stage) -> int:
    return int(stage.probabilities.nonzero()[0, 0])


def test_clusters_are_equal_parts_from_the_noisiest_down() -> None:
    pacing = TaskDifficultyConfig().build(1000)
    assert [lowest(stage) for stage in pacing.stages] == list(range(950, -1, -50))
    assert all(stage.probabilities[-1] > 0 for stage in pacing.stages)
    uneven = TaskDifficultyConfig(num_clusters=3).build(10)
    assert [lowest(stage) for stage in uneven.stages] == [6, 3, 0]


def test_a_fixed_share_of_the_training_for_each_stage() -> None:
    pacing = FixedFractionConfig(num_clusters=5, full_at=0.8).build(100)
    shares = [0.0, 0.19, 0.2, 0.39, 0.41, 0.61, 0.79, 0.8, 1.0]
    assert [lowest(pacing.stage_at(Progress(fraction=share))) for share in shares] == [80, 80, 60, 60, 40, 20, 20, 0, 0]
    at_once = FixedFractionConfig(full_at=0.0).build(100)
    assert lowest(at_once.stage_at(Progress())) == 0


def stages(pacing: TaskDifficulty, losses: list[float]) -> list[int]:
    """Lowest timestep after each loss."""
    found = []
    for loss in losses:
        pacing.observe(loss)
        found.append(lowest(pacing.stage_at(Progress())))
    return found


def test_the_next_cluster_when_the_loss_stands_still() -> None:
    pacing = TaskDifficultyConfig(num_clusters=3, patience=2).build(30)
    losses = [5.0, 4.0, 4.0, 3.9, 3.95, 4.5, 9.0, 9.0, 9.5, 9.0, 9.0, 9.0]
    #  best:  5    4    -    3.9  -     next  9    -    next  9    -    -     the last stage has none after it
    assert stages(pacing, losses) == [20, 20, 20, 20, 20, 10, 10, 10, 0, 0, 0, 0]


def test_a_state_of_plain_values_goes_on_as_if_nothing_had_happened() -> None:
    losses = [5.0, 5.0, 4.0, 4.5, 4.5, 8.0, 8.0, 7.0, 7.0, 7.0, 7.0]
    config = TaskDifficultyConfig(num_clusters=3, patience=2)
    expected = stages(config.build(30), losses)
    for cut in range(len(losses)):
        before, after = config.build(30), config.build(30)
        found = stages(before, losses[:cut])
        after.load_state_dict(json.loads(json.dumps(before.state_dict())))
        assert found + stages(after, losses[cut:]) == expected


def test_what_cannot_be_gone_on_with_is_refused() -> None:
    pacing = TaskDifficultyConfig(num_clusters=3).build(30)
    with pytest.raises(ValueError, match="the loss of stage from_20 is nan"):
        pacing.observe(float("nan"))
    with pytest.raises(ValueError, match="at stage 7, but num_clusters=3"):
        pacing.load_state_dict({"stage": 7, "best": None, "num_waited": 0})
    with pytest.raises(ValueError, match="num_clusters=20 is more than the 10 timesteps"):
        FixedFractionConfig().build(10)
