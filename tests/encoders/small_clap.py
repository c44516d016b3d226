"""Small CLAP models with random weights, in folders as transformers saves them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from bindsearch.encoders.clap.encoder import MAX_TOKENS

if TYPE_CHECKING:
    from transformers import ClapConfig

RATE = 48_000
WINDOW_SECONDS = 1
"""The window of the small models, whose spectrograms are small."""


def configuration(*, fusion: bool) -> ClapConfig:
    import transformers

    audio = {
        "spec_size": 64,
        "num_mel_bins": 16,
        "window_size": 2,
        "patch_size": 4,
        "patch_stride": [4, 4],
        "depths": [1, 1],
        "num_attention_heads": [2, 2],
        "hidden_size": 32,
        "patch_embeds_hidden_size": 16,
        "projection_dim": 24,
        "enable_fusion": fusion,
        "enable_patch_fusion": fusion,
        "aff_block_r": 2,
    }
    text = {
        "vocab_size": 60,
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 64,
        "max_position_embeddings": MAX_TOKENS + 4,
        "projection_dim": 24,
    }
    return transformers.ClapConfig(text_config=text, audio_config=audio, projection_dim=24)


def write_tokenizer(folder: Path) -> None:
    """Write a tokenizer that splits a text into words, in the format of fast tokenizers."""
    words = ["<s>", "<pad>", "</s>", "<unk>", *"a the dog cat bark rain red word sound of".split()]
    added = [
        {
            "id": number,
            "content": word,
            "single_word": False,
            "lstrip": False,
            "rstrip": False,
            "normalized": False,
            "special": True,
        }
        for number, word in enumerate(words[:4])
    ]
    tokenizer = {
        "version": "1.0",
        "added_tokens": added,
        "pre_tokenizer": {"type": "Whitespace"},
        "post_processor": {
            "type": "RobertaProcessing",
            "sep": ["</s>", 2],
            "cls": ["<s>", 0],
            "trim_offsets": True,
            "add_prefix_space": False,
        },
        "model": {
            "type": "WordLevel",
            "vocab": {word: number for number, word in enumerate(words)},
            "unk_token": "<unk>",
        },
    }
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer), encoding="utf-8")
    names = {"bos_token": "<s>", "pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", **names}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")


def write_model(folder: Path, *, fusion: bool = False) -> Path:
    """Write a small model with random weights, as transformers saves it. Return its folder."""
    import torch
    import transformers

    torch.manual_seed(0)
    model = transformers.ClapModel(configuration(fusion=fusion)).eval()
    for parameter in model.parameters():
        if parameter.dim() > 1:  # large, so that different inputs have different vectors
            torch.nn.init.normal_(parameter, std=0.2)
    decibels = model.audio_model.audio_encoder.batch_norm
    decibels.running_mean.fill_(-50.0)  # as if trained: silence is below the mean, noise above
    decibels.running_var.fill_(400.0)
    model.save_pretrained(folder)
    truncation = "fusion" if fusion else "rand_trunc"
    transformers.ClapFeatureExtractor(
        feature_size=16, max_length_s=WINDOW_SECONDS, truncation=truncation
    ).save_pretrained(folder)
    write_tokenizer(folder)
    return folder
