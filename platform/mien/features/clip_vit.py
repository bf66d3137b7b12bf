"""The vision tower of CLIP (Radford et al. 2021)."""

from typing import TYPE_CHECKING, Any, Literal

from mien.features.backbone import BackboneConfig, ImageFamily

if TYPE_CHECKING:
    import torch

_SIZES = {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "image_size": 224}


class ClipVitConfig(BackboneConfig):
    """CLIP's vision transformer before its projection to the space shared with text."""

    kind: Literal["clip_vit"] = "clip_vit"
    """Kind of extractor."""
    model: str = "openai/clip-vit-base-patch16"
    """Name on the hub (owner/name), or a local folder with config.json and model.safetensors."""

    family = ImageFamily(
        network="CLIPVisionModel",
        model_types=("clip", "clip_vision_model"),
        section="vision_config",
        mean=(0.48145466, 0.4578275, 0.40821073),
        std=(0.26862954, 0.26130258, 0.27577711),
        resize="bicubic",
        defaults={"hidden_size": 768, "patch_size": 32},
        known={
            "openai/clip-vit-base-patch16": {**_SIZES, "patch_size": 16},
            "openai/clip-vit-base-patch32": {**_SIZES, "patch_size": 32},
        },
    )

    def tokens(self, network: Any, pixels: "torch.Tensor") -> "torch.Tensor":
        """Last layer after the final norm, which transformers applies to the class token alone (`pooler_output`)."""
        tokens: torch.Tensor = network(pixels, interpolate_pos_encoding=True).last_hidden_state
        normed: torch.Tensor = network.post_layernorm(tokens)
        return normed
