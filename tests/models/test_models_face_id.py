"""Identity vectors against the same network written with torch's modules."""

import torch
from torch import Tensor, nn

from mien import draws
from mien.models.face_id import FaceIdTransformer, FaceIdTransformerConfig

CONFIG = FaceIdTransformerConfig(embed_dim=16, num_heads=4)


def faces() -> tuple[Tensor, Tensor]:
    torch.manual_seed(0)
    return torch.randn(3, 9, 16), torch.randn(9, 16)


def reference(model: FaceIdTransformer, tokens: Tensor, positions: Tensor) -> Tensor:
    x, memory = model.identity_query.expand(3, 1, 16), tokens + positions
    for layer in model.layers:
        attention = nn.MultiheadAttention(16, 4, batch_first=True)
        attention.load_state_dict(layer.attention.state_dict())
        x = layer.norm(x + attention(x, memory, memory)[0])
        x = x + layer.linear2(nn.functional.gelu(layer.linear1(x)))
    return model.layer_norm(model.output_projection(x))[:, 0]


def test_vectors_are_those_of_the_modules_of_torch() -> None:
    model = CONFIG.build().eval()
    torch.testing.assert_close(model(*faces()), reference(model, *faces()), rtol=1e-5, atol=1e-5)


def test_sizes_follow_from_the_config() -> None:
    model = FaceIdTransformerConfig().build()
    block = 4 * 384 * 384 + 4 * 384 + 2 * 384 + 2 * 4 * 384 * 384 + 5 * 384
    assert sum(p.numel() for p in model.parameters()) == 2 * block + 384 * 384 + 384 + 3 * 384


def test_a_face_does_not_see_its_neighbours_with_dropout() -> None:
    model, (tokens, positions) = CONFIG.build().double(), faces()
    keys = draws.keys(0, "dropout", torch.arange(3))
    together = model(tokens.double(), positions.double(), keys)
    alone = [model(tokens[n : n + 1].double(), positions.double(), keys[n : n + 1]) for n in range(3)]
    torch.testing.assert_close(together, torch.cat(alone), rtol=1e-12, atol=1e-12)
    assert not torch.allclose(together, model.eval()(tokens.double(), positions.double()))
