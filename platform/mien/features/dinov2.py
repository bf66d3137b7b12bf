"""DINOv2 (Oquab et al. 2023): self-supervised vision transformers, patches of 14 px."""

from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from mien.features.backbone import IMAGENET_MEAN, IMAGENET_STD, BackboneConfig, ImageFamily

if TYPE_CHECKING:
    import torch

_SIZES = {"patch_size": 14, "image_size": 518}


class Dinov2Config(BackboneConfig):
    """DINOv2 without registers."""

    kind: Literal["dinov2"] = "dinov2"
    """Kind of extractor."""
    model: str = "facebook/dinov2-small"
    """Name on the hub (owner/name), or a local folder with config.json and model.safetensors."""
    size_px: int = Field(518, ge=14, le=2048)
    """Side of the square the network sees, a multiple of 14; 518 gives 37 x 37 patches, 224 costs an eighth."""

    family = ImageFamily(
        network="Dinov2Model",
        model_types=("dinov2",),
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
        resize="bicubic",
        defaults={"hidden_size": 768, "patch_size": 14},
        known={
            "facebook/dinov2-small": {**_SIZES, "hidden_size": 384, "num_hidden_layers": 12, "num_attention_heads": 6},
            "facebook/dinov2-base": {**_SIZES, "hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12},
            "facebook/dinov2-large": {
                **_SIZES,
                "hidden_size": 1024,
                "num_hidden_layers": 24,
                "num_attention_heads": 16,
            },
        },
    )

    def tokens(self, network: Any, pixels: "torch.Tensor") -> "torch.Tensor":
        """Last layer after its norm; position embeddings are interpolated to the size."""
        tokens: torch.Tensor = network(pixels).last_hidden_state
        return tokens
