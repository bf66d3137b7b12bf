"""Nearest texts and ranks against sorting."""

import torch
from torch.nn import functional

from mien.evaluation.retrieval import nearest, ranks


def unit(num: int, seed: int) -> torch.Tensor:
    return functional.normalize(torch.randn(num, 8, generator=torch.Generator().manual_seed(seed)).double())


def test_the_nearest_its_cosine_and_its_margin() -> None:
    x, gallery = unit(1500, 0), unit(40, 1)
    found = nearest(x, gallery)
    ordered = (x @ gallery.T).sort(dim=1, descending=True)
    assert torch.equal(found.row, ordered.indices[:, 0])
    torch.testing.assert_close(found.cosine, ordered.values[:, 0])
    torch.testing.assert_close(found.margin, ordered.values[:, 0] - ordered.values[:, 1])


def test_of_one_text_there_is_no_second() -> None:
    assert nearest(unit(3, 0), unit(1, 1)).margin.tolist() == [0, 0, 0]


def test_ranks_are_places_in_the_order() -> None:
    x, gallery = unit(1500, 0), unit(40, 1)
    answer = torch.randint(40, (1500,), generator=torch.Generator().manual_seed(2))
    order = (x @ gallery.T).argsort(dim=1, descending=True)
    assert torch.equal(ranks(x, gallery, answer), (order == answer[:, None]).int().argmax(1))


def test_a_text_that_is_as_near_counts_against_the_right_one() -> None:
    gallery = unit(1, 1).repeat(3, 1)
    assert ranks(unit(2, 0), gallery, torch.tensor([0, 2])).tolist() == [2, 2]
