"""Small models of every kind that open_clip has, with random weights, in folders as open_clip saves them."""

from __future__ import annotations

import atexit
import copy
import json
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from bindsearch.encoders.openclip.encoder import OpenClipEncoder

    from bindsearch.types import Modality, Piece

SKIP_REASON = "open_clip's models need torch and open_clip: make models"
VISION = {"image_size": 32, "patch_size": 8, "layers": 2, "width": 64, "head_width": 16}
TEXT = {"context_length": 24, "vocab_size": 49_408, "width": 32, "heads": 2, "layers": 2}

PLAIN = {"embed_dim": 24, "vision_cfg": VISION, "text_cfg": TEXT}
SIGLIP_LIKE = {
    "embed_dim": 24,
    "init_logit_bias": -10,
    "custom_text": True,
    "vision_cfg": VISION | {"attentional_pool": False, "pool_type": "avg", "norm_kwargs": {"eps": 1e-6}},
    "text_cfg": TEXT | {"no_causal_mask": True, "proj_bias": True, "pool_type": "last"},
}
QUICK = PLAIN | {"quick_gelu": True}
RESNET = {"embed_dim": 24, "vision_cfg": {"image_size": 32, "layers": [1, 1, 1, 1], "width": 8}, "text_cfg": TEXT}
TIMM = {
    "embed_dim": 24,
    "custom_text": True,
    "vision_cfg": {
        "image_size": 64,
        "timm_model_name": "test_vit2",
        "timm_model_pretrained": False,
        "timm_pool": "avg",
        "timm_proj": "linear",
    },
    "text_cfg": TEXT,
}
COCA = {
    "embed_dim": 24,
    "custom_text": True,
    "vision_cfg": VISION | {"attentional_pool": True, "attn_pooler_heads": 2, "output_tokens": True},
    "text_cfg": TEXT | {"vocab_size": 49_408, "embed_cls": True, "output_tokens": True},
    "multimodal_cfg": {"context_length": 24, "vocab_size": 49_408, "width": 32, "heads": 2, "layers": 1},
}
KINDS = {"plain": PLAIN, "quick": QUICK, "siglip": SIGLIP_LIKE, "resnet": RESNET, "timm": TIMM, "coca": COCA}


def random_model(config: Mapping[str, Any], *, seed: int = 0) -> Any:
    """Return a whole model, built by open_clip."""
    torch = pytest.importorskip("torch", reason=SKIP_REASON)
    open_clip = pytest.importorskip("open_clip", reason=SKIP_REASON)
    torch.manual_seed(seed)
    arguments = copy.deepcopy(dict(config))
    custom = arguments.pop("custom_text", False)
    kind = open_clip.CoCa if "multimodal_cfg" in arguments else open_clip.CustomTextCLIP if custom else open_clip.CLIP
    return kind(**arguments).eval()


def write_model(
    folder: Path, model: Any, config: Mapping[str, Any], *, preprocess: Mapping[str, Any] | None = None, **fields: Any
) -> Path:
    """Write a model in open_clip's layout; `fields` go into its configuration file."""
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    save_file({name: each.contiguous() for name, each in model.state_dict().items()}, folder / WEIGHTS)
    values = {"model_cfg": dict(config), "preprocess_cfg": dict(preprocess or {})} | fields
    (folder / "open_clip_config.json").write_text(json.dumps(values), encoding="utf-8")
    return folder


WEIGHTS = "open_clip_model.safetensors"


# A trained model ----------------------------------------------------------------------------------------------------

TRAINED_FOLDER = Path(tempfile.mkdtemp(prefix="bindsearch-openclip-"))
"""Empty until a test needs the model."""
atexit.register(shutil.rmtree, TRAINED_FOLDER, ignore_errors=True)


def trained_encoder(meanings: Sequence[Mapping[Modality, Piece]]) -> OpenClipEncoder:
    """Return an encoder that was trained, for a second, to tell these few meanings apart."""
    pytest.importorskip("torch", reason=SKIP_REASON)
    pytest.importorskip("open_clip", reason=SKIP_REASON)
    from bindsearch.encoders.openclip.encoder import local

    if not (TRAINED_FOLDER / WEIGHTS).exists():
        model = random_model(PLAIN)
        untrained = local(str(write_model(TRAINED_FOLDER, model, PLAIN)))
        _train(model, untrained, meanings)
        write_model(TRAINED_FOLDER, model.eval(), PLAIN)
    return local(str(TRAINED_FOLDER))


def _train(model: Any, encoder: OpenClipEncoder, meanings: Sequence[Mapping[Modality, Piece]]) -> None:
    import torch

    from bindsearch.types import Modality

    images, texts = (
        torch.stack([torch.from_numpy(encoder.prepare(each[kind])) for each in meanings])
        for kind in (Modality.IMAGE, Modality.TEXT)
    )
    mean, std = (torch.tensor(each).view(3, 1, 1) for each in (OPENAI_MEAN, OPENAI_STD))
    planes = (images.permute(0, 3, 1, 2).float() / 255 - mean) / std
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-3)
    labels = torch.arange(len(meanings))
    for _ in range(60):
        logits = 10 * model.encode_image(planes, normalize=True) @ model.encode_text(texts, normalize=True).T
        loss = torch.nn.functional.cross_entropy(logits, labels) + torch.nn.functional.cross_entropy(logits.T, labels)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()


OPENAI_MEAN = (0.48145466, 0.4578275, 0.40821073)
OPENAI_STD = (0.26862954, 0.26130258, 0.27577711)
