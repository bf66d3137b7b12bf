import pytest
import torch

from mien.models.subjects import check_subjects, orthonormal_rows


@pytest.mark.parametrize("subject", [-1, 5])
def test_a_subject_without_a_row_is_named(subject: int) -> None:
    check_subjects(torch.arange(5), 5)
    with pytest.raises(ValueError, match=f"subject {subject} has no row: max_subjects is 5"):
        check_subjects(torch.tensor([0, subject]), 5)


def test_rows_are_orthonormal_in_each_block() -> None:
    rows = orthonormal_rows(10, 4)
    assert rows.shape == (10, 4)
    for at in (0, 4, 8):
        block = rows[at : at + 4]
        torch.testing.assert_close(block @ block.T, torch.eye(len(block)))
