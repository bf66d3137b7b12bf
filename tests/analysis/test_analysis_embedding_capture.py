"""What is stored is what the modules put out for this image, never for another; the network is as it was."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from embedding_networks import DIM, NUM_TEXTS, Recogniser, images, items, recogniser
from mien.analysis.embedding_capture import CaptureConfig, Item, capture, capture_from, check
from mien.analysis.embedding_sets import SetsConfig, open_sets
from mien.datasets.embedding_file import provenance
from mien.datasets.embeddings import ColumnsConfig, EmbeddingRows, read_rows
from mien.errors import ConfigError, DatasetError, RefusedError, TooManyFailures
from mien.storage.local import LocalStore

TEXTS = [f"class {number}" for number in range(NUM_TEXTS)]


def config(nums: list[int], **more: Any) -> CaptureConfig:
    values = {
        "network": "embedding_networks:recogniser",
        "items": "embedding_networks:items",
        "item_arguments": {"nums": nums},
        "hooks": {"visual": "visual", "text": "text_adapter"},
        "text_names": TEXTS,
        **more,
    }
    return CaptureConfig.parse(values, "test")


def rows(folder: Path, modality: str = "visual", name: str = "embeddings") -> EmbeddingRows:
    columns = ColumnsConfig(modality_column="modality", keep=modality, groups_column="item")
    return read_rows(str(folder / f"{name}.parquet"), columns)


def expected(nums: list[int]) -> np.ndarray:
    """By the network itself, without a hook."""
    network = recogniser().eval()
    with torch.no_grad():
        return np.concatenate(
            [network.visual(image[:num]).numpy() for num, image in zip(nums, images(nums), strict=True)]
        )


def test_rows_and_texts_are_those_of_the_modules(tmp_path: Path) -> None:
    nums = [2, 1, 3]
    found = capture(config(nums), LocalStore(tmp_path))
    assert (found.num_items, found.num_failed, found.num_empty, found.num_rows) == (3, 0, 0, 10)
    visual = rows(tmp_path)
    assert np.allclose(visual.values, expected(nums))
    assert visual.names == ["image 0#0", "image 0#1", "image 1", "image 2#0", "image 2#1", "image 2#2"]
    assert visual.labels == ["class 0"] * 2 + ["class 1"] + ["class 2"] * 3
    text, network = rows(tmp_path, "text"), recogniser().eval()
    assert np.allclose(text.values, network.text_adapter(network.texts).detach().numpy())
    assert text.names == TEXTS, "once, not once for each image"


def test_an_image_that_yields_nothing_never_repeats_the_one_before(tmp_path: Path) -> None:
    nums = [2, 0, 0, 1]
    found = capture(config(nums), LocalStore(tmp_path))
    assert (found.num_items, found.num_empty) == (4, 2)
    visual = rows(tmp_path)
    assert visual.groups == ["image 0", "image 0", "image 3"]
    assert np.allclose(visual.values, expected(nums))
    assert len(np.unique(visual.values, axis=0)) == 3


def test_an_image_that_fails_is_told_and_the_others_go_on(tmp_path: Path) -> None:
    found = capture(config([1, -1, 2], max_failed=0.5), LocalStore(tmp_path))
    assert (found.num_items, found.num_failed, found.num_empty) == (3, 1, 0)
    assert rows(tmp_path).groups == ["image 0", "image 2", "image 2"]
    failure = provenance(LocalStore(tmp_path), "embeddings.parquet")["failures"][0]
    assert failure == {"item": "image 1", "error_type": "RuntimeError", "error": "the detector is broken"}
    with pytest.raises(TooManyFailures, match=r"1 of 3 failed, more than max_failed=0\.1; .* the detector is broken"):
        capture(config([1, -1, 2], name="other"), LocalStore(tmp_path))
    assert len(rows(tmp_path, name="other").values) == 3


class Stops(Exception):
    """A person's."""


def stopping(nums: list[int], at: int) -> Any:
    for number, item in enumerate(items(nums)):
        if number == at:
            raise Stops
        yield Item(*item)


def test_what_was_computed_before_an_end_is_kept(tmp_path: Path) -> None:
    nums, store = [1, 2, 1, 1, 2], LocalStore(tmp_path)
    with pytest.raises(Stops):
        capture_from(recogniser(), stopping(nums, 3), config(nums, save_every=2), store)
    network, num_passes = recogniser(), []
    network.register_forward_hook(lambda *_: num_passes.append(1))
    found = capture_from(network, stopping(nums, 9), config(nums, save_every=2), store)
    assert len(num_passes) == 2
    assert (found.num_items, found.num_rows) == (5, 7 + NUM_TEXTS)
    assert np.allclose(rows(tmp_path).values, expected(nums))


def test_rows_of_another_network_are_not_mixed_in(tmp_path: Path) -> None:
    nums, store = [1, 1, 1], LocalStore(tmp_path)
    with pytest.raises(Stops):
        capture_from(recogniser(), stopping(nums, 2), config(nums, save_every=1), store)
    with pytest.raises(RefusedError, match=r"other values of arguments, arguments\.scale"):
        capture(config(nums, arguments={"scale": 2.0}), store)
    assert capture(config(nums, num_items=3, save_every=7), store).num_rows == 3 + NUM_TEXTS


def test_the_first_items_alone_and_later_all(tmp_path: Path) -> None:
    nums, store = [1, 1, 2, 1], LocalStore(tmp_path)
    assert capture(config(nums, num_items=2), store).num_items == 2
    assert rows(tmp_path).names == ["image 0", "image 1"]
    network, num_passes = recogniser(), []
    network.register_forward_hook(lambda *_: num_passes.append(1))
    assert capture_from(network, (Item(*each) for each in items(nums)), config(nums), store).num_items == 4
    assert len(num_passes) == 2
    assert np.allclose(rows(tmp_path).values, expected(nums))


def test_the_network_is_as_it_was(tmp_path: Path) -> None:
    network, image = recogniser(), images([2])[0]
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    torch.manual_seed(3)
    scores = network(image)
    capture_from(network, [Item("one", (image,))], config([2]), LocalStore(tmp_path))
    assert network.training
    assert not any(module._forward_hooks for module in network.modules())
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    torch.manual_seed(3)
    assert torch.equal(network(image), scores)


def test_a_check_tells_the_shapes() -> None:
    lines = check(recogniser(), Item("one", (images([2])[0],)), config([2]))
    assert lines == [
        "network: Recogniser", "hooks: visual → visual, text → text_adapter", f"visual: [2, {DIM}]",
        f"text: [{NUM_TEXTS}, {DIM}]", "ALL CHECKS PASSED",
    ]  # fmt: skip
    with pytest.raises(
        ConfigError, match=r"hooks\.visual: visual took no part in the pass of 'none'; the usual causes"
    ):
        check(recogniser(), Item("none", (images([0])[0],)), config([0]))


class Odd(Recogniser):
    """Puts an axis too many, or what is no number."""

    def __init__(self, axes: int, value: float = 1.0) -> None:
        super().__init__()
        self.visual = nn.Sequential(nn.Linear(3, DIM), nn.Unflatten(1, (1, DIM)) if axes == 3 else nn.Identity())
        self.value = value

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return super().forward(image * self.value)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"hooks": {"visual": "visul"}}, r"hooks\.visual: visul: no such module; the nearest are visual"),
        ({"hooks": {"visual": "visual", "text": "adapter"}}, "hooks.text: adapter: no such module; .*text_adapter"),
        ({"network": "embedding_networks:nothing"}, "network: embedding_networks:nothing cannot be imported"),
        ({"network": "no_such_package:nothing"}, "cannot be imported: No module named"),
        ({"items": "embedding_networks:NOT_CALLABLE"}, "items: .* is a int and cannot be called"),
        ({"network": "embedding_networks:images", "arguments": {"nums": [1]}}, "gives a list, not a torch module"),
        ({"text_names": ["one"]}, "text_names: has 1 names for 4 texts; give one for each"),
        ({"hooks": {}}, "hooks"),
        ({"hooks": {"sound": "visual"}}, "hooks"),
    ],
)
def test_names_that_lead_nowhere_are_one_line(tmp_path: Path, more: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as raised:
        capture(config([1, 1], **more), LocalStore(tmp_path))
    assert "\n" not in str(raised.value)


def test_no_visual_embedding_at_all_names_the_causes(tmp_path: Path) -> None:
    with pytest.raises(
        DatasetError, match="none of 2 gave a visual embedding, 0 failed; the usual causes: nothing was"
    ):
        capture(config([0, 0]), LocalStore(tmp_path))


def test_an_axis_too_many_and_no_numbers(tmp_path: Path) -> None:
    given = [Item("one", (images([2])[0],))]
    with pytest.raises(ConfigError, match=r"hooks\.visual: puts out \[2, 1, 6\], not rows \[n, d\]; .* squeeze"):
        capture_from(Odd(3), given, config([2]), LocalStore(tmp_path))
    image = images([2])[0].clone()
    image[1, 1] = float("nan")
    with pytest.raises(DatasetError, match=r"1 failed; .* its visual embedding holds NaN"):
        capture_from(Odd(2), [Item("one", (image,))], config([2], name="other"), LocalStore(tmp_path))


def test_the_file_is_what_the_analysis_reads(tmp_path: Path) -> None:
    capture(config([2, 1, 3, 2, 0]), LocalStore(tmp_path))
    sets = open_sets(SetsConfig(embeddings=str(tmp_path / "embeddings.parquet")))
    assert sets.text.names == TEXTS
    assert sets.scene.answer.tolist() == [0, 0, 1, 2, 2, 2, 3, 3]
    assert sets.scene.group.tolist() == [0, 0, 1, 2, 2, 2, 3, 3]
