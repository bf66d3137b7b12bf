"""Files as the first tools wrote them, from torch's own modules under names of their own."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from mien.errors import CheckpointError
from mien.models.expression_transformer import ExpressionTransformer
from mien.models.predictor import Predictor
from mien.models.reconstruction import Reconstruction
from mien.models.seed_checkpoint import expressions, read
from pickle_bomb import WRAPPINGS

SIZES = {"embed_dim": 16, "num_heads": 2, "dropout": 0.1}
CONFIG: dict[str, Any] = {
    "expression_model": SIZES | {"num_layers": 2, "max_subjects": 5, "ff_dim": 24},
    "expression_reconstruction": SIZES
    | {"num_cross_attention_layers": 1, "num_self_attention_layers": 2, "ff_dim": 24, "image_size_px": 32},
    "transformer_decoder": SIZES | {"num_layers": 2, "max_sequence_length": 7},
    "training": {"learning_rate": 5e-5},
}
LAYER: dict[str, Any] = {"d_model": 16, "nhead": 2, "batch_first": True}


class OldExpression(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(16)
        self.people = nn.Embedding(5, 16)
        self.delta = nn.Parameter(torch.randn(1, 9, 16))
        self.query = nn.Parameter(torch.randn(1, 1, 16))
        self.reader = nn.TransformerDecoder(nn.TransformerDecoderLayer(**LAYER, dim_feedforward=24), 2)
        self.head = nn.Linear(16, 16)

    def forward(self, tokens: Tensor, positions: Tensor, subjects: Tensor) -> Tensor:
        memory = torch.cat([self.people(subjects)[:, None], tokens + positions + self.delta], 1)
        return F.normalize(
            self.norm(self.head(self.reader(self.query.expand(len(tokens), 1, 16), memory)))[:, 0], dim=-1
        )


class OldReconstruction(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.queries = nn.Parameter(torch.randn(1, 9, 16))
        self.across = nn.TransformerDecoder(nn.TransformerDecoderLayer(**LAYER, dim_feedforward=24), 1)
        layer = nn.TransformerEncoderLayer(**LAYER, dim_feedforward=24)
        self.within = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        up: dict[str, int] = {"stride": 2, "padding": 1, "output_padding": 1}
        self.pixels = nn.Sequential(
            *(nn.Conv2d(16, 256, 3, padding=1), nn.BatchNorm2d(256), nn.ReLU()),
            *(nn.Conv2d(256, 512, 3, padding=1), nn.BatchNorm2d(512), nn.ReLU()),
            *(nn.ConvTranspose2d(512, 256, 3, **up), nn.BatchNorm2d(256), nn.ReLU()),
            *(nn.ConvTranspose2d(256, 128, 3, **up), nn.BatchNorm2d(128), nn.ReLU()),
            *(nn.ConvTranspose2d(128, 64, 3, **up), nn.BatchNorm2d(64), nn.ReLU()),
            nn.Upsample(32, mode="bilinear", align_corners=False),
            *(nn.Conv2d(64, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU()),
            *(nn.Conv2d(32, 3, 3, padding=1), nn.Sigmoid()),
        )

    def forward(self, subject: Tensor, expression: Tensor, positions: Tensor) -> Tensor:
        queries = (self.queries + positions).expand(len(subject), 9, 16)
        x = self.within(self.across(queries, torch.stack([subject, expression], 1)))
        image: Tensor = self.pixels(x.transpose(1, 2).reshape(-1, 16, 3, 3))
        return image


class OldPredictor(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.places = nn.Parameter(torch.randn(1, 7, 16))
        layer = nn.TransformerEncoderLayer(**LAYER, dim_feedforward=64)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.norm = nn.LayerNorm(16)
        self.head = nn.Linear(16, 16)

    def forward(self, tokens: Tensor) -> Tensor:
        length = tokens.shape[1]
        causal = torch.full((length, length), -torch.inf).triu(1)
        out: Tensor = self.head(self.norm(self.encoder(tokens + self.places[:, :length], causal)))
        return out


def stirred(module: Any) -> Any:
    """Norms and running averages that are not 0 and 1, in eval mode."""
    torch.manual_seed(0)
    with torch.no_grad():
        for tensor in module.state_dict().values():
            if tensor.is_floating_point():
                tensor.add_(0.1 * torch.rand_like(tensor))
    return module.eval()


def save(folder: Path, state: Mapping[str, Tensor], network: str, **others: Any) -> Path:
    path = folder / "checkpoint.pt"
    content = {"epoch": 2, "total_steps": 600, "optimizer_state_dict": {"state": {}}, "config": CONFIG} | others
    torch.save(content | {f"{network}_state_dict": dict(state)}, path)
    return path


FACES = torch.randn(2, 9, 16), torch.randn(9, 16), torch.tensor([4, 0])
THERE = torch.ones(1, 2, dtype=torch.bool)


@torch.no_grad()
def same_expression(network: nn.Module, old: OldExpression) -> None:
    assert isinstance(network, ExpressionTransformer)
    torch.testing.assert_close(network.eval()(*FACES), old(*FACES), rtol=1e-5, atol=1e-6)


@torch.no_grad()
def same_reconstruction(network: nn.Module, old: OldReconstruction) -> None:
    assert isinstance(network, Reconstruction)
    tokens, positions, _ = FACES
    arguments = tokens[:, 0], tokens[:, 1], positions
    torch.testing.assert_close(network.eval()(*arguments, THERE), old(*arguments), rtol=1e-4, atol=1e-5)


@torch.no_grad()
def same_predictor(network: nn.Module, old: OldPredictor) -> None:
    assert isinstance(network, Predictor)
    tokens = torch.randn(1, 6, 16)
    found = network.eval()(tokens, torch.ones(1, 6, dtype=torch.bool))
    torch.testing.assert_close(found, old(tokens), rtol=1e-5, atol=1e-5)


def test_an_expression_transformer_is_read(tmp_path: Path) -> None:
    old = stirred(OldExpression())
    checkpoint = read(save(tmp_path, old.state_dict(), "expression_transformer"))
    same_expression(checkpoint.networks["expression_transformer"], old)
    assert (checkpoint.epoch, checkpoint.num_steps, len(checkpoint.networks)) == (2, 600, 1)


def test_a_predictor_is_read_with_the_width_that_its_config_does_not_tell(tmp_path: Path) -> None:
    old = stirred(OldPredictor())
    wrapped = {f"module.{name}": tensor for name, tensor in old.state_dict().items()}
    same_predictor(read(save(tmp_path, wrapped, "transformer_decoder")).networks["transformer_decoder"], old)


def test_a_joint_checkpoint_gives_both_networks(tmp_path: Path) -> None:
    token, image = stirred(OldExpression()), stirred(OldReconstruction())
    joint = nn.ModuleDict({"expression_transformer": token, "expression_reconstruction": image})
    wrapped = {f"module.{name}": tensor for name, tensor in joint.state_dict().items()}
    networks = read(save(tmp_path, wrapped, "joint_model")).networks
    assert list(networks) == ["expression_transformer", "expression_reconstruction"]
    same_expression(networks["expression_transformer"], token)
    same_reconstruction(networks["expression_reconstruction"], image)


def test_without_a_config_the_defaults_hold(tmp_path: Path) -> None:
    path = save(tmp_path, OldExpression().state_dict(), "expression_transformer", config=None)
    with pytest.raises(CheckpointError, match=r"is of another architecture: lacks transformer_decoder\.layers\.2\."):
        read(path)


@pytest.mark.parametrize("wrapping", ["pickle", "pt"])
def test_a_file_that_runs_code_is_refused(tmp_path: Path, wrapping: str) -> None:
    mark, path = tmp_path / "unpickled", tmp_path / "checkpoint.pt"
    path.write_bytes(WRAPPINGS[wrapping](mark))
    with pytest.raises(CheckpointError, match=r"^\S+checkpoint\.pt: is damaged, or holds more than tensors[^\n]*$"):
        read(path)
    assert not mark.exists()


@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
def test_a_file_that_is_cut_off_is_refused(tmp_path: Path, share: float) -> None:
    path = save(tmp_path, OldPredictor().state_dict(), "transformer_decoder")
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(CheckpointError, match="is damaged"):
        read(path)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"none\.pt: cannot be read: No such file"):
        read(tmp_path / "none.pt")


def test_what_differs_is_told(tmp_path: Path) -> None:
    state = dict(OldPredictor().state_dict())
    del state["encoder.layers.1.norm2.bias"]
    state["places"] = torch.zeros(1, 7, 8)
    state["encoder.layers.0.linear2.weight"] = torch.zeros(16, 63)
    state["memory"] = torch.zeros(3)
    with pytest.raises(CheckpointError) as found:
        read(save(tmp_path, state, "transformer_decoder"))
    message = str(found.value)
    assert "transformer_decoder is of another architecture" in message
    assert "lacks transformer_encoder.layers.1.norm2.bias [16], position_embeddings [1, 7, 16]" in message
    assert "has besides places [1, 7, 8], memory [3]" in message
    assert "differs in transformer_encoder.layers.0.linear2.weight [16, 63] for [16, 64]" in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"model": 1}, "holds model; one of joint_model_state_dict or NETWORK_state_dict is needed"),
        ([1], "holds a list"),
        ({"transformer_decoder_state_dict": {"a": 1}}, "is no mapping of names to tensors"),
        ({"joint_model_state_dict": {"gan.weight": torch.ones(1)}}, "has gan; known are expression_transformer"),
        (
            {"joint_model_state_dict": {}, "transformer_decoder_state_dict": {}},
            "holds joint_model_state_dict, transformer_decoder_state_dict; one of",
        ),
        (
            {
                "transformer_decoder_state_dict": {"a": torch.ones(1)},
                "config": {"transformer_decoder": {"num_heads": 7}},
            },
            "embed_dim 384 is not a multiple of num_heads 7",
        ),
    ],
)
def test_another_content_is_refused_in_one_line(tmp_path: Path, content: Any, message: str) -> None:
    path = tmp_path / "checkpoint.pt"
    torch.save(content, path)
    with pytest.raises(CheckpointError, match=message) as found:
        read(path)
    assert str(found.value).startswith(str(path))
    assert "\n" not in str(found.value)


def test_expressions_that_a_trainer_left_are_found(tmp_path: Path) -> None:
    first, second = torch.ones(2, 5, 3), torch.zeros(5, 3)
    file = tmp_path / "a.pt"
    torch.save({"last_batch": {"expression_embed": second}, "validation_outputs": {"expression_embed": first}}, file)
    key, found = expressions(file)
    assert key == "validation_outputs.expression_embed"
    assert torch.equal(found, first)
    torch.save({"last_batch": {"expression_embed": second}, "validation_outputs": {"loss": 1.0}}, file)
    key, found = expressions(file)
    assert key == "last_batch.expression_embed"
    assert torch.equal(found, second)


def test_a_file_without_expressions_says_what_it_holds(tmp_path: Path) -> None:
    file = tmp_path / "a.pt"
    torch.save(
        {"model": {"expression.w": torch.ones(1), "b": torch.ones(1)}, "validation_outputs": {"loss": 1.0}}, file
    )
    with pytest.raises(CheckpointError) as refused:
        expressions(file)
    said = str(refused.value)
    assert "would be validation_outputs.expression_embed or last_batch.expression_embed" in said
    for part in ("keys: model, validation_outputs", "its state: expression.w;", "keys of validation_outputs: loss"):
        assert part in said, said
