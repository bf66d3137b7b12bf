"""A stranger's network: rows after an adapter for what it finds in an image, texts after one of their own."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

NUM_TEXTS, DIM = 4, 6


class Recogniser(nn.Module):
    """Finds as many rows in an image as its first number says; a branch does not run where that is none."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.texts = nn.Parameter(torch.randn(NUM_TEXTS, DIM))
        self.visual = nn.Sequential(nn.Linear(3, DIM), nn.ReLU(), nn.Linear(DIM, DIM))
        self.text_adapter = nn.Linear(DIM, DIM)
        self.drop = nn.Dropout(0.5)

    def forward(self, image: Tensor) -> Tensor:
        text = self.text_adapter(self.texts)
        num = int(image[0, 0])
        if num < 0:
            raise RuntimeError("the detector is broken")
        return self.drop(self.visual(image[:num]) @ text.T) if num else text.new_zeros(0, NUM_TEXTS)


def recogniser(scale: float = 1.0) -> Recogniser:
    """As a config names it."""
    network = Recogniser()
    network.texts.data *= scale
    return network.train()


def images(nums: list[int]) -> list[Tensor]:
    """One for each number of rows, all different."""
    drawn = torch.randn(len(nums), 3, 3, generator=torch.Generator().manual_seed(1))
    drawn[:, 0, 0] = torch.tensor(nums, dtype=torch.float32)
    return [*drawn]


def items(nums: list[int]) -> Iterator[tuple[str, tuple[Tensor], tuple[str, ...]]]:
    """As a config names them."""
    for number, image in enumerate(images(nums)):
        yield f"image {number}", (image,), (f"class {number % NUM_TEXTS}",)


NOT_CALLABLE = 3
