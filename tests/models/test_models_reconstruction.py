"""Pictures against the same network of torch's modules, one clip at a time."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from mien import draws
from mien.models.layers import Dropout
from mien.models.reconstruction import Reconstruction, ReconstructionConfig, SubjectReconstructionConfig

SMALL: dict[str, Any] = {
    "embed_dim": 16,
    "ff_dim": 24,
    "num_patches": 4,
    "image_size_px": 20,
    "channels": (8, 8, 8, 6, 6, 4),
}
CONFIG = ReconstructionConfig(**SMALL)


def clips(num: int, length: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    torch.manual_seed(0)
    frames = num * length
    return (
        torch.randn(frames, 16),
        torch.randn(frames, 16),
        torch.randn(4, 16),
        torch.ones(num, length, dtype=torch.bool),
    )


def keys(num: int) -> Tensor:
    return draws.keys(0, "dropout", torch.arange(num))


def reference(model: Reconstruction, subject: Tensor, expression: Tensor, positions: Tensor) -> Tensor:
    """One clip through torch's modules that hold the same parameters."""
    cross = nn.TransformerDecoder(nn.TransformerDecoderLayer(16, 4, 24, dropout=0, batch_first=True), 2)
    encoder = nn.TransformerEncoderLayer(16, 4, 24, dropout=0, batch_first=True)
    attend = nn.TransformerEncoder(encoder, 2, enable_nested_tensor=False)
    cross.load_state_dict(model.cross_attention.state_dict())
    attend.load_state_dict(model.self_attention.state_dict())
    queries = (model.patch_embeddings + positions).expand(len(subject), 4, 16)
    x = attend(cross(queries, torch.stack([subject, expression], 1))).transpose(1, 2).reshape(-1, 16, 2, 2)
    blocks = [*model.cnn_decoder.grow, model.cnn_decoder.refine]
    for place, block in enumerate(blocks):
        if place == 5:
            x = F.interpolate(x, 20, mode="bilinear", align_corners=False)
        norm = nn.BatchNorm2d(block.conv.out_channels)
        norm.load_state_dict(block.norm.state_dict())
        x = norm(block.conv(x)).relu()
    return model.cnn_decoder.to_rgb(x).sigmoid()


def test_the_sizes_of_the_default_are_known() -> None:
    model = ReconstructionConfig().build()
    parts = {name: sum(p.numel() for p in part.parameters()) for name, part in model.named_children()}
    assert parts == {"cross_attention": 3_552_000, "self_attention": 2_367_744, "cnn_decoder": 3_635_715}
    assert sum(p.numel() for p in model.parameters()) == 10_081_155


def test_a_picture_is_that_of_the_modules_of_torch() -> None:
    model = ReconstructionConfig(**SMALL, dropout=0.0).build()
    subject, expression, positions, mask = clips(1, 3)
    image = model(subject, expression, positions, mask)
    assert image.shape == (3, 3, 20, 20)
    torch.testing.assert_close(image, reference(model, subject, expression, positions), rtol=1e-5, atol=1e-5)


def test_a_clip_does_not_see_its_neighbours_nor_its_padding() -> None:
    model = CONFIG.build().double()
    subject, expression, positions, mask = (x.double() if x.is_floating_point() else x for x in clips(2, 3))
    mask[1, 1:] = False
    together = model(subject, expression, positions, mask, keys(6))
    first = model(subject[:3], expression[:3], positions, mask[:1], keys(6)[:3])
    second = model(subject[3:4], expression[3:4], positions, mask[1:, :1], keys(6)[3:4])
    torch.testing.assert_close(together[:4], torch.cat([first, second]), rtol=1e-12, atol=1e-12)


def test_eight_by_eight_patches_grow_to_a_small_picture() -> None:
    config = ReconstructionConfig(
        embed_dim=16, num_patches=64, image_size_px=112, channels=(8, 8, 8, 4, 4, 4), attention_dropout=0.0
    )
    image = config.build()(
        torch.randn(2, 16), torch.randn(2, 16), torch.randn(64, 16), torch.ones(1, 2).bool(), keys(2)
    )
    assert image.shape == (2, 3, 112, 112)
    assert 0 <= image.min() < image.max() <= 1


def test_a_bias_before_a_normalisation_does_not_learn_and_all_else_does() -> None:
    model = CONFIG.build()
    model(*clips(1, 3), keys(3)).square().sum().backward()
    still = {name for name, parameter in model.named_parameters() if parameter.grad is None}
    assert still == {f"cnn_decoder.{name}.conv.bias" for name in [*(f"grow.{n}" for n in range(5)), "refine"]}


def test_frames_normalised_by_themselves_are_the_same_in_training_and_alone() -> None:
    model = ReconstructionConfig(**SMALL, norm="group", dropout=0.0).build()
    subject, expression, positions, mask = clips(2, 3)
    together = model(subject, expression, positions, mask)
    alone = model(subject[:1], expression[:1], positions, mask[:1, :1])
    torch.testing.assert_close(together[:1], alone, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(model.eval()(subject, expression, positions, mask), together)
    norms = [module for module in model.modules() if isinstance(module, nn.GroupNorm)]
    assert [norm.num_groups for norm in norms] == [8, 8, 8, 2, 2, 4]


def test_every_dropout_has_its_own_site() -> None:
    sites = [part.site for part in CONFIG.build().modules() if isinstance(part, Dropout)]
    assert len(set(sites)) == len(sites) == 2 * 6 + 2 * 4


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("shape", [(2, 1, 16), (3, 16)])
def test_a_token_that_is_not_one_per_frame_is_refused(shape: tuple[int, ...]) -> None:
    expression = torch.randn(shape)
    with pytest.raises(ValueError, match=r"give .*\[b, t\]"):
        CONFIG.build().eval()(torch.randn(2, 16), expression, torch.randn(4, 16), torch.ones(1, 2, dtype=torch.bool))


def test_patches_that_fill_no_square_are_refused() -> None:
    with pytest.raises(ValueError, match="num_patches 5 is not a square"):
        ReconstructionConfig(num_patches=5)


def test_the_second_design_is_called_alike_and_knows_subjects_and_positions() -> None:
    model = SubjectReconstructionConfig(**SMALL, max_subjects=40).build()
    subjects = torch.tensor([3, 39])
    subject, positions = model.subject(subjects), model.positions(torch.randn(4, 16))
    torch.testing.assert_close(subject.norm(dim=-1), torch.ones(2), rtol=0, atol=0.02)
    torch.testing.assert_close(subject, model.subject_base[subjects], rtol=0, atol=0.01)
    torch.testing.assert_close(positions, model.pos_base, rtol=0, atol=0.01)
    model(subject, torch.randn(2, 16), positions, torch.ones(1, 2, dtype=torch.bool), keys(2)).sum().backward()
    assert model.delta_subject_embed.grad is not None
    assert model.delta_subject_embed.grad.any(1).nonzero().flatten().tolist() == [3, 39]
    assert model.delta_pos_embed.grad is not None
    assert model.delta_pos_embed.grad.any()
    assert "subject_base" in model.state_dict()
    with pytest.raises(ValueError, match="subject 40 has no row"):
        model.subject(torch.tensor([40]))
