"""ViT (Dosovitskiy et al. 2021): supervised vision transformers; `facebook/dino-vitb16` has the same network."""

from typing import TYPE_CHECKING, Any, Literal

from mien.features.backbone import BackboneConfig, ImageFamily

if TYPE_CHECKING:
    import torch

_SIZES = {"patch_size": 16, "image_size": 224, "num_hidden_layers": 12}


class VitConfig(BackboneConfig):
    """ViT without its classifier and pooler."""

    kind: Literal["vit"] = "vit"
    """Kind of extractor."""
    model: str = "google/vit-base-patch16-224"
    """Name on the hub (owner/name), or a local folder with config.json and model.safetensors."""

    family = ImageFamily(
        network="ViTModel",
        model_types=("vit",),
        mean=(0.5, 0.5, 0.5),
        std=(0.5, 0.5, 0.5),
        resize="bilinear",
        defaults={"hidden_size": 768, "patch_size": 16},
        known={
            "google/vit-base-patch16-224": {**_SIZES, "hidden_size": 768, "num_attention_heads": 12},
            "WinKawaks/vit-small-patch16-224": {**_SIZES, "hidden_size": 384, "num_attention_heads": 6}
            | {"intermediate_size": 1536},
        },
        options={"add_pooling_layer": False},
    )

    def tokens(self, network: Any, pixels: "torch.Tensor") -> "torch.Tensor":
        """Last layer after its norm; position embeddings are interpolated to the size."""
        tokens: torch.Tensor = network(pixels, interpolate_pos_encoding=True).last_hidden_state
        return tokens
