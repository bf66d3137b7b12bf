"""A tiny CLIP with both towers, their projections and a tokenizer of single bytes, as a folder."""

from pathlib import Path

import torch
import transformers
from tokenizers import pre_tokenizers

DIM, SIZE_PX = 16, 32
_NUM_TOKENS = 514


def write_clip(folder: Path) -> Path:
    """Random weights, always the same; texts have at most 12 tokens."""
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    shared = {"projection_dim": DIM, "initializer_factor": 4.0}
    ends = {"bos_token_id": _NUM_TOKENS - 2, "eos_token_id": _NUM_TOKENS - 1, "pad_token_id": _NUM_TOKENS - 1}
    text = {**sizes, **shared, **ends, "vocab_size": _NUM_TOKENS, "max_position_embeddings": 12}
    vision = {**sizes, **shared, "hidden_size": 8, "image_size": SIZE_PX, "patch_size": 8}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        model = transformers.CLIPModel(
            transformers.CLIPConfig(vision_config=vision, text_config=text, projection_dim=DIM)
        )
    model.save_pretrained(folder)
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    symbols = [*alphabet, *(f"{char}</w>" for char in alphabet), "<|startoftext|>", "<|endoftext|>"]
    vocabulary = {symbol: number for number, symbol in enumerate(symbols)}
    transformers.CLIPTokenizer(vocab=vocabulary, merges=[]).save_pretrained(folder)
    return folder
