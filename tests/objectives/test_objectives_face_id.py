"""The identity objective: what couples clips is the same on every rank."""

import torch
from torch import Tensor

from clip_batches import CONFIGS, backward, chosen, clips, objective
from mien.losses import terms
from mien.objectives.batch import Batch
from mien.objectives.face_id import FaceIdConfig
from mien.objectives.objective import Gather, Objective

CONFIG = CONFIGS["face id"]


def gathers(model: Objective, batches: list[Batch]) -> list[Gather]:
    """For each rank a gather that stands in for the network: its own tensors, those of the others as they were."""
    seen: list[list[Tensor]] = []
    for batch in batches:
        seen.append([])
        model(batch, lambda own, kept=seen[-1]: kept.append(own.detach()) or own)

    def gather_of(rank: int) -> Gather:
        places = iter(range(len(seen[rank])))

        def gather(own: Tensor) -> Tensor:
            place = next(places)
            return torch.cat([own if other == rank else seen[other][place] for other in range(len(seen))])

        return gather

    return [gather_of(rank) for rank in range(len(batches))]


def test_ranks_have_the_term_of_all_clips_and_share_its_gradient() -> None:
    model, batch = objective(CONFIG), clips()
    sums, counts, gradients = backward(model, batch)
    parts = [chosen(batch, [0, 1]), chosen(batch, [2, 3])]
    model.zero_grad()
    consistency = 0.0
    for part, gather in zip(parts, gathers(model, parts), strict=True):
        outcome = model(part, gather)
        found = outcome.terms["contrastive"]
        torch.testing.assert_close(found.sum, sums["contrastive"], rtol=1e-12, atol=1e-12)
        assert found.count == counts["contrastive"]
        consistency += outcome.terms["consistency"].sum.item()
        (found.sum + outcome.terms["consistency"].sum).backward()
    torch.testing.assert_close(torch.tensor(consistency, dtype=torch.float64), sums["consistency"])
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter.grad, gradients[name], rtol=1e-10, atol=1e-12)


def test_counts_gather_as_a_forward_pass_does() -> None:
    model, batch = objective(CONFIG), clips()

    def twice(own: Tensor) -> Tensor:
        return torch.cat([own, own])

    counts, outcome = model.counts(batch, twice), model(batch, twice)
    assert {name: count.item() for name, count in counts.items()} == {
        name: term.count.item() for name, term in outcome.terms.items()
    }


def test_the_first_frame_that_is_there_stands_for_the_clip() -> None:
    model, batch = objective(CONFIG).eval(), clips((8, 3, 0))
    batch.mask[0, 0] = False
    outcome = model(batch)
    first = torch.stack([outcome.tokens[0, 1], outcome.tokens[1, 0], outcome.tokens[2, 0]])
    valid = torch.tensor([True, True, False])
    expected = terms.contrastive(first, batch.subjects, valid, 0.5, 3)
    torch.testing.assert_close(outcome.terms["contrastive"], expected)
    assert expected.count == 1


def test_the_trainer_is_told_that_clips_are_compared() -> None:
    assert objective(CONFIG).couples_clips
    assert not objective(CONFIGS["joint"]).couples_clips
    assert FaceIdConfig().temperature == 0.5
