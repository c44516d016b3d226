"""Small ImageBind models with random weights, and a reference implementation of the published function in torch.

`Reference` follows the publication: a two-frame convolution over an image shown twice, a class token, a positional
embedding, pre-norm blocks with exact GELU and LayerNorms of epsilon 1e-6, and a linear head. Texts use the end token.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

LAYER_NORM_EPS = 1e-6
WIDTH, LAYERS, HEADS, SIDE, PATCH, DIM = 64, 2, 4, 32, 8, 24
VOCABULARY, LENGTH = 49_408, 77
MODEL = {
    "embed_dim": DIM,
    "vision_cfg": {"image_size": SIDE, "layers": LAYERS, "width": WIDTH, "head_width": 16, "patch_size": PATCH},
    "text_cfg": {"context_length": LENGTH, "vocab_size": VOCABULARY, "width": WIDTH, "heads": HEADS, "layers": LAYERS},
}
AUDIO = {"width": WIDTH, "blocks": LAYERS, "heads": HEADS, "dim": DIM}


class Reference:
    """ImageBind's image and text towers with random weights."""

    def __init__(self, seed: int = 0) -> None:
        self.random = torch.Generator().manual_seed(seed)
        patches = (SIDE // PATCH) ** 2
        self.stem = self.draw(WIDTH, 3, 2, PATCH, PATCH)
        self.class_token, self.positions = self.draw(WIDTH), self.draw(patches + 1, WIDTH)
        self.norm_before, self.norm_after = self.norm(), self.norm()
        self.image_blocks = [self.block() for _ in range(LAYERS)]
        self.image_head = self.draw(DIM, WIDTH)
        self.embedding, self.text_positions = self.draw(VOCABULARY, WIDTH), self.draw(LENGTH, WIDTH)
        self.text_blocks = [self.block() for _ in range(LAYERS)]
        self.text_norm, self.text_head = self.norm(), self.draw(DIM, WIDTH)

    def draw(self, *shape: int, scale: float = 0.02) -> Tensor:
        return scale * torch.randn(*shape, generator=self.random)

    def norm(self) -> tuple[Tensor, Tensor]:
        return 1 + self.draw(WIDTH, scale=0.1), self.draw(WIDTH, scale=0.1)

    def block(self) -> dict[str, Any]:
        shapes = {
            "qkv": (3 * WIDTH, WIDTH),
            "out": (WIDTH, WIDTH),
            "fc1": (4 * WIDTH, WIDTH),
            "fc2": (WIDTH, 4 * WIDTH),
        }
        linear = {
            name: (self.draw(*shape, scale=0.1), self.draw(shape[0], scale=0.1)) for name, shape in shapes.items()
        }
        return {"norm_1": self.norm(), "norm_2": self.norm(), **linear}

    def image(self, pixels: Tensor) -> Tensor:
        """Embed images. *Shape:* (n, 3, side, side), standardised, to (n, DIM), unit length."""
        frames = torch.stack([pixels, pixels], dim=2)
        patches = F.conv3d(frames, self.stem, stride=(2, PATCH, PATCH)).flatten(2).transpose(1, 2)
        x = torch.cat([self.class_token.expand(len(pixels), 1, -1), patches], dim=1) + self.positions
        x = layer_norm(x, self.norm_before)
        for block in self.image_blocks:
            x = apply_block(x, block)
        return F.normalize(layer_norm(x, self.norm_after)[:, 0] @ self.image_head.T, dim=-1)

    def text(self, tokens: Tensor) -> Tensor:
        """Embed texts. *Shape:* (n, 77) to (n, DIM), unit length."""
        x = self.embedding[tokens] + self.text_positions
        for block in self.text_blocks:
            x = apply_block(x, block, causal=True)
        ends = layer_norm(x, self.text_norm)[torch.arange(len(tokens)), tokens.argmax(dim=1)]
        return F.normalize(ends @ self.text_head.T, dim=-1)

    def as_open_clip(self) -> dict[str, Tensor]:
        """Return the weights under open_clip's names; the two frames of the stem are summed."""
        weights = {
            "visual.class_embedding": self.class_token,
            "visual.positional_embedding": self.positions,
            "visual.conv1.weight": self.stem.sum(dim=2),
            **named("visual.ln_pre", self.norm_before),
            **named("visual.ln_post", self.norm_after),
            "visual.proj": self.image_head.T,
            "token_embedding.weight": self.embedding,
            "positional_embedding": self.text_positions,
            **named("ln_final", self.text_norm),
            "text_projection": self.text_head.T,
            "logit_scale": torch.tensor(4.6),
        }
        for prefix, blocks in (("visual.", self.image_blocks), ("", self.text_blocks)):
            for number, block in enumerate(blocks):
                weights |= open_clip_block(f"{prefix}transformer.resblocks.{number}", block)
        return {name: tensor.contiguous() for name, tensor in weights.items()}


def layer_norm(x: Tensor, norm: tuple[Tensor, Tensor]) -> Tensor:
    centred = x - x.mean(dim=-1, keepdim=True)
    return centred / (centred.square().mean(dim=-1, keepdim=True) + LAYER_NORM_EPS).sqrt() * norm[0] + norm[1]


def apply_block(x: Tensor, block: dict[str, Any], *, causal: bool = False) -> Tensor:
    query, key, value = (
        split_heads(part) for part in linear(layer_norm(x, block["norm_1"]), block["qkv"]).chunk(3, dim=-1)
    )
    scores = query @ key.transpose(-1, -2) / query.shape[-1] ** 0.5
    if causal:
        scores = scores + torch.full(scores.shape[-2:], float("-inf")).triu(1)
    attended = (scores.softmax(dim=-1) @ value).transpose(1, 2).flatten(2)
    x = x + linear(attended, block["out"])
    return x + linear(F.gelu(linear(layer_norm(x, block["norm_2"]), block["fc1"])), block["fc2"])


def split_heads(x: Tensor) -> Tensor:
    return x.unflatten(-1, (HEADS, -1)).transpose(1, 2)


def linear(x: Tensor, weights: tuple[Tensor, Tensor]) -> Tensor:
    return x @ weights[0].T + weights[1]


def named(name: str, weights: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
    return {f"{name}.weight": weights[0], f"{name}.bias": weights[1]}


def open_clip_block(name: str, block: dict[str, Any]) -> dict[str, Tensor]:
    weight, bias = block["qkv"]
    return {
        **named(f"{name}.ln_1", block["norm_1"]),
        f"{name}.attn.in_proj_weight": weight,
        f"{name}.attn.in_proj_bias": bias,
        **named(f"{name}.attn.out_proj", block["out"]),
        **named(f"{name}.ln_2", block["norm_2"]),
        **named(f"{name}.mlp.c_fc", block["fc1"]),
        **named(f"{name}.mlp.c_proj", block["fc2"]),
    }


def audio_checkpoint(seed: int = 1, *, width: int = WIDTH, blocks: int = LAYERS, dim: int = DIM) -> dict[str, Tensor]:
    """Return random entries of an audio tower under the names of the published checkpoint."""
    random = torch.Generator().manual_seed(seed)

    def draw(*shape: int, scale: float = 0.1) -> Tensor:
        return scale * torch.randn(*shape, generator=random)

    entries = {
        "modality_preprocessors.audio.cls_token": draw(1, 1, width),
        "modality_preprocessors.audio.rgbt_stem.proj.weight": draw(width, 1, 16, 16, scale=0.02),
        "modality_preprocessors.audio.rgbt_stem.norm_layer.weight": 1 + draw(width),
        "modality_preprocessors.audio.rgbt_stem.norm_layer.bias": draw(width),
        "modality_preprocessors.audio.pos_embedding_helper.pos_embed": draw(1, 229, width),
        "modality_heads.audio.0.weight": 1 + draw(width),
        "modality_heads.audio.0.bias": draw(width),
        "modality_heads.audio.2.weight": draw(dim, width),
        "modality_postprocessors.audio.1.log_logit_scale": torch.tensor(20.0).log(),
    }
    scale = (1.0 / width) ** 0.5
    for number in range(blocks):
        prefix = f"modality_trunks.audio.blocks.{number}."
        entries |= {
            f"{prefix}attn.in_proj_weight": draw(3 * width, width, scale=scale),
            f"{prefix}attn.in_proj_bias": draw(3 * width),
            f"{prefix}attn.bias_k": draw(1, 1, width),
            f"{prefix}attn.bias_v": draw(1, 1, width),
            **named(f"{prefix}attn.out_proj", (draw(width, width, scale=scale), draw(width))),
            **named(f"{prefix}norm_1", (1 + draw(width), draw(width))),
            **named(f"{prefix}mlp.fc1", (draw(4 * width, width, scale=scale), draw(4 * width))),
            **named(f"{prefix}mlp.fc2", (draw(width, 4 * width, scale=scale / 2), draw(width))),
            **named(f"{prefix}norm_2", (1 + draw(width), draw(width))),
        }
    return entries


def write_model(folder: Path, reference: Reference | None = None) -> Path:
    """Write a small model as it is published: open_clip's file, and a checkpoint of all modalities."""
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    save_file((reference or Reference()).as_open_clip(), folder / "open_clip_model.safetensors")
    other_modalities = {
        "modality_heads.depth.2.weight": torch.ones(3),
        "modality_trunks.vision.blocks.0.norm_1.weight": torch.ones(3),
    }
    torch.save(audio_checkpoint() | other_modalities, folder / "imagebind_huge.pth")
    (folder / "imagebind_config.json").write_text(json.dumps({"model_cfg": MODEL, "audio": AUDIO}), encoding="utf-8")
    return folder
