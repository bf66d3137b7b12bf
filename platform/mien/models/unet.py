"""U-Net of DDPM (Ho et al. 2020, appendix B), for images of 64 px unless told otherwise."""

from typing import Literal, Self

from jaxtyping import Float, Int
from pydantic import Field, PositiveInt, model_validator
from torch import Tensor, nn

from mien.config import Config
from mien.models.time_embedding import Times, sinusoid
from mien.models.unet_blocks import (
    NUM_GROUPS,
    Attention,
    Block,
    DownLevel,
    Downsample,
    KeyedDropout,
    Middle,
    ResidualBlock,
    UpLevel,
    Upsample,
    conv3,
    group_norm,
)

Images = Float[Tensor, "b c s s"]
Keys = Int[Tensor, "b"]


class UnetConfig(Config):
    """A U-Net over square images."""

    kind: Literal["unet"] = "unet"
    """Kind of network."""

    image_size_px: int = Field(64, ge=1, le=1024)
    """Side of the images."""

    in_channels: int = Field(3, ge=1)
    """Channels of the images, and of what is predicted."""

    base_channels: int = Field(128, ge=NUM_GROUPS, multiple_of=NUM_GROUPS)
    """Channels before the multipliers; the group norms need multiples of 32."""

    multipliers: tuple[PositiveInt, ...] = Field((1, 2, 2, 2), min_length=1)
    """Channels of each level, in `base_channels`; the side halves from one level to the next."""

    num_blocks: int = Field(2, ge=1)
    """Blocks of a level of the encoder; the decoder has one more."""

    attention_levels: tuple[int, ...] = (2,)
    """Levels whose blocks end in self-attention; the middle always has it."""

    dropout: float = Field(0.0, ge=0, lt=1)
    """Share of the values that each block drops in training; above 0, `forward` needs keys."""

    downsample_after_last: bool = False
    """Halve the side once more between the last level and the middle: 4 x 4 instead of 8 x 8 for 64 px."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        halvings = len(self.multipliers) - 1 + self.downsample_after_last
        if self.image_size_px % 2**halvings:
            raise ValueError(f"image_size_px={self.image_size_px} cannot be halved {halvings} times; use fewer levels")
        unknown = sorted(set(self.attention_levels) - set(range(len(self.multipliers))))
        if unknown:
            raise ValueError(f"attention_levels: {unknown} do not exist; levels are 0 to {len(self.multipliers) - 1}")
        return self

    def build(self) -> "Unet":
        """A network with fresh weights."""
        return Unet(self)


class Unet(nn.Module):
    """Predicts noise, image or velocity from a noisy image and its timestep.

    `in_conv`, `downsamples.level_0` …, `middle` and `upsamples.level_0` … are the names in older checkpoints of this
    network too. Below `downsamples.level_i` these number the blocks and then the down-sampling, which are `blocks` and
    `downsample` here; and their up-sampling closes a level of the decoder, where here it opens the next one.
    """

    def __init__(self, config: UnetConfig) -> None:
        """Fresh weights: Xavier-uniform, biases 0; weights 0 where a residual branch or the network ends."""
        super().__init__()
        self.config = config
        base, embed_dim = config.base_channels, 4 * config.base_channels
        self.in_conv = conv3(config.in_channels, base)
        self.time_embed = nn.Sequential(nn.Linear(base, embed_dim), nn.SiLU(), nn.Linear(embed_dim, embed_dim))
        self.downsamples, skips = _encoder(config)
        self.middle = Middle(skips[-1], embed_dim, config.dropout, config.downsample_after_last)
        self.upsamples = _decoder(config, skips)
        self.out_conv = nn.Sequential(group_norm(base), nn.SiLU(), conv3(base, config.in_channels))
        self._initialise()

    @property
    def taps(self) -> dict[str, nn.Module]:
        """Modules whose outputs are the features of the encoder, by name; forward hooks on them read these.

        `encoder_level_i` is the last block of a level with its attention, before down-sampling. The shapes at the
        defaults are 128 x 64 x 64, 256 x 32 x 32, 256 x 16 x 16 and 256 x 8 x 8.
        """
        blocks = {name: level.get_submodule("blocks").children() for name, level in self.downsamples.items()}
        levels = {f"encoder_{name}": list(of_level)[-1] for name, of_level in blocks.items()}
        return {"in_conv": self.in_conv, **levels, "bottleneck": self.middle}

    def forward(self, x: Images, t: Times, keys: Keys | None = None) -> Images:
        """One prediction per image.

        Args:
            x: Noisy images [b, in_channels, image_size_px, image_size_px].
            t: Timesteps [b], whole or not.
            keys: For dropout in training: one int64 per sample [b] from `mien.draws.keys`.

        Returns:
            Prediction, shape of `x`.

        Raises:
            ValueError: `x` has another shape than configured, or dropout has no keys.
        """
        expected = (self.config.in_channels, self.config.image_size_px, self.config.image_size_px)
        if tuple(x.shape[1:]) != expected:
            raise ValueError(f"x is {tuple(x.shape)}, but the config says [b, {expected[0]}, {expected[1]}, ...]")
        time = self.time_embed(sinusoid(t, self.config.base_channels).to(x.dtype))
        skips = [self.in_conv(x)]
        for level in self.downsamples.values():
            skips += level(skips[-1], time, keys)
        h = self.middle(skips[-1], time, keys)
        for level in self.upsamples.values():
            h = level(h, skips, time, keys)
        out: Tensor = self.out_conv(h)
        return out

    def _initialise(self) -> None:
        for name, parameter in self.named_parameters():
            if name.endswith("bias"):
                nn.init.zeros_(parameter)
            elif parameter.ndim > 1:
                nn.init.xavier_uniform_(parameter)
        ends = [module.conv2 for module in self.modules() if isinstance(module, ResidualBlock)]
        ends += [module.out for module in self.modules() if isinstance(module, Attention)]
        for end in [*ends, self.out_conv[-1]]:
            nn.init.zeros_(end.get_parameter("weight"))
        for number, module in enumerate(module for module in self.modules() if isinstance(module, KeyedDropout)):
            module.number = number


def _blocks(config: UnetConfig, inputs: list[int], level: int) -> list[Block]:
    """Blocks of a level by their input channels."""
    width, has_attention = config.base_channels * config.multipliers[level], level in config.attention_levels
    return [
        Block(
            ResidualBlock(channels, width, 4 * config.base_channels, config.dropout),
            Attention(width) if has_attention else None,
        )
        for channels in inputs
    ]


def _encoder(config: UnetConfig) -> tuple[nn.ModuleDict, list[int]]:
    """Levels from the whole image down, and the channels of every output that the decoder takes up again."""
    levels, skips = nn.ModuleDict(), [config.base_channels]
    for level, multiplier in enumerate(config.multipliers):
        width, is_last = config.base_channels * multiplier, level == len(config.multipliers) - 1
        blocks = _blocks(config, [skips[-1]] + [width] * (config.num_blocks - 1), level)
        levels[f"level_{level}"] = DownLevel(blocks, None if is_last else Downsample(width))
        skips += [width] * (config.num_blocks + (not is_last))
    return levels, skips


def _decoder(config: UnetConfig, skips: list[int]) -> nn.ModuleDict:
    """Levels from the middle up; empties `skips`."""
    levels, channels = nn.ModuleDict(), skips[-1]
    for level in reversed(range(len(config.multipliers))):
        width, is_last = config.base_channels * config.multipliers[level], level == len(config.multipliers) - 1
        upsample = Upsample(channels) if not is_last or config.downsample_after_last else None
        blocks = _blocks(config, [above + skips.pop() for above in [channels] + [width] * config.num_blocks], level)
        levels[f"level_{level}"] = UpLevel(upsample, blocks)
        channels = width
    return levels
