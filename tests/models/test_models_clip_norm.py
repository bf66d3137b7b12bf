"""Normalisation of one clip against nn.BatchNorm2d, and of many against each alone."""

import pytest
import torch
from torch import Tensor, nn

from mien.models.clip_norm import ClipNorm2d, fold_pending


def frames(num: int, seed: int = 0) -> Tensor:
    return 3 + 2 * torch.randn(num, 4, 5, 6, generator=torch.Generator().manual_seed(seed))


def pair() -> tuple[ClipNorm2d, nn.BatchNorm2d]:
    torch.manual_seed(1)
    ours, theirs = ClipNorm2d(4), nn.BatchNorm2d(4)
    with torch.no_grad():
        ours.weight.uniform_(0.5, 2)
        ours.bias.normal_()
    theirs.load_state_dict(ours.state_dict())
    return ours, theirs


def same(ours: nn.Module, theirs: nn.Module) -> None:
    assert ours.state_dict().keys() == theirs.state_dict().keys()
    for name, value in theirs.state_dict().items():
        torch.testing.assert_close(ours.state_dict()[name], value, rtol=1e-6, atol=1e-6, msg=name)


def test_one_clip_is_one_batch_of_batch_norm_for_many_steps() -> None:
    ours, theirs = pair()
    for step in range(4):
        x, other = frames(3, step).requires_grad_(), frames(3, step).requires_grad_()
        out, expected = ours(x, torch.ones(1, 3, dtype=torch.bool)), theirs(other)
        torch.testing.assert_close(out, expected, rtol=1e-5, atol=1e-5)
        out.pow(3).sum().backward()
        expected.pow(3).sum().backward()
        torch.testing.assert_close(x.grad, other.grad, rtol=1e-4, atol=1e-3)
        ours.fold_pending()
    same(ours, theirs)
    torch.testing.assert_close(ours.weight.grad, theirs.weight.grad, rtol=1e-4, atol=1e-3)
    torch.testing.assert_close(ours.bias.grad, theirs.bias.grad, rtol=1e-4, atol=1e-3)
    torch.testing.assert_close(ours.eval()(frames(2), torch.ones(1, 2, dtype=torch.bool)), theirs.eval()(frames(2)))


def test_a_clip_is_normalised_as_if_alone_and_without_its_padding() -> None:
    ours, theirs = pair()
    mask = torch.tensor([[True, True, True], [True, False, False]])
    out = ours(frames(6), mask).view(2, 3, 4, 5, 6)
    torch.testing.assert_close(out[0], theirs(frames(6)[:3]), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(out[1, :1], theirs(frames(6)[3:4]), rtol=1e-5, atol=1e-5)


def test_running_averages_follow_the_mean_of_clips_whatever_rank_they_were_on() -> None:
    x, mask = frames(6), torch.tensor([[True, True, True], [True, False, False]])
    together, _ = pair()
    together(x, mask)
    together.fold_pending()
    ranks = [pair()[0], pair()[0]]
    ranks[0](x[:3], mask[:1])
    ranks[1](x[3:], mask[1:])
    total = ranks[0].pending + ranks[1].pending
    for rank in ranks:
        fold_pending(nn.Sequential(rank), lambda _, total=total: total)
        same(rank, together)
    alone = [nn.BatchNorm2d(4), nn.BatchNorm2d(4)]
    alone[0](x[:3])
    alone[1](x[3:4])
    torch.testing.assert_close(together.running_var, (alone[0].running_var + alone[1].running_var) / 2)
    torch.testing.assert_close(together.running_mean, (alone[0].running_mean + alone[1].running_mean) / 2)
    assert together.num_batches_tracked == 1


def test_a_clip_without_a_frame_counts_nothing_and_makes_no_nan() -> None:
    ours, _ = pair()
    x = frames(4).requires_grad_()
    out = ours(x, torch.tensor([[False, False], [True, True]]))
    assert out.isfinite().all()
    out[2:].sum().backward()
    assert x.grad is not None
    assert x.grad.isfinite().all()
    assert ours.pending[2].eq(1).all()


def test_without_any_clip_nothing_moves() -> None:
    ours, theirs = pair()
    ours(frames(2), torch.zeros(1, 2, dtype=torch.bool))
    ours.fold_pending()
    same(ours, theirs)


def test_pending_sums_are_no_part_of_a_checkpoint_and_are_used_once() -> None:
    ours, _ = pair()
    ours(frames(2), torch.ones(1, 2, dtype=torch.bool))
    assert "pending" not in ours.state_dict()
    ours.fold_pending()
    assert not ours.pending.any()


def test_a_small_spread_around_a_large_mean_is_not_lost() -> None:
    values = 10_000 + torch.arange(1000.0).view(1, 1, 20, 50) % 4
    norm = ClipNorm2d(1)
    out = norm(values, torch.ones(1, 1, dtype=torch.bool))
    assert out.std(correction=0).item() == pytest.approx(1, rel=1e-4)


def test_eval_uses_running_averages_and_changes_none() -> None:
    ours, theirs = pair()
    ours.eval()(frames(4), torch.ones(2, 2, dtype=torch.bool))
    ours.fold_pending()
    same(ours, theirs)


def test_half_precision_is_summed_in_single() -> None:
    ours, theirs = pair()
    x = 100 + frames(3).bfloat16()
    out = ours(x, torch.ones(1, 3, dtype=torch.bool))
    assert out.dtype == torch.bfloat16
    torch.testing.assert_close(out, theirs(x.float()).bfloat16(), rtol=1e-2, atol=1e-2)
