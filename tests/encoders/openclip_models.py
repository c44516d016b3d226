"""Small models of open_clip's kinds, with random weights, in folders as open_clip saves them."""

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

WHY = "open_clip's models need torch and open_clip: make models"
EYE = {"image_size": 32, "patch_size": 8, "layers": 2, "width": 64, "head_width": 16}
READER = {"context_length": 24, "vocab_size": 49_408, "width": 32, "heads": 2, "layers": 2}

PLAIN = {"embed_dim": 24, "vision_cfg": EYE, "text_cfg": READER}
SIGLIP_LIKE = {
    "embed_dim": 24,
    "init_logit_bias": -10,
    "custom_text": True,
    "vision_cfg": EYE | {"attentional_pool": False, "pool_type": "avg", "norm_kwargs": {"eps": 1e-6}},
    "text_cfg": READER | {"no_causal_mask": True, "proj_bias": True, "pool_type": "last"},
}
QUICK = PLAIN | {"quick_gelu": True}
RESNET = {"embed_dim": 24, "vision_cfg": {"image_size": 32, "layers": [1, 1, 1, 1], "width": 8}, "text_cfg": READER}
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
    "text_cfg": READER,
}
COCA = {
    "embed_dim": 24,
    "custom_text": True,
    "vision_cfg": EYE | {"attentional_pool": True, "attn_pooler_heads": 2, "output_tokens": True},
    "text_cfg": READER | {"vocab_size": 49_408, "embed_cls": True, "output_tokens": True},
    "multimodal_cfg": {"context_length": 24, "vocab_size": 49_408, "width": 32, "heads": 2, "layers": 1},
}
KINDS = {"plain": PLAIN, "quick": QUICK, "siglip": SIGLIP_LIKE, "resnet": RESNET, "timm": TIMM, "coca": COCA}


def random_model(config: Mapping[str, Any], *, seed: int = 0) -> Any:
    """A whole model, as open_clip makes it."""
    torch = pytest.importorskip("torch", reason=WHY)
    open_clip = pytest.importorskip("open_clip", reason=WHY)
    torch.manual_seed(seed)
    told = copy.deepcopy(dict(config))
    custom = told.pop("custom_text", False)
    kind = open_clip.CoCa if "multimodal_cfg" in told else open_clip.CustomTextCLIP if custom else open_clip.CLIP
    return kind(**told).eval()


def saved(
    folder: Path, model: Any, config: Mapping[str, Any], *, preprocess: Mapping[str, Any] | None = None, **told: Any
) -> Path:
    """Write a model as open_clip lays it out."""
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    save_file({name: each.contiguous() for name, each in model.state_dict().items()}, folder / WEIGHTS)
    words = {"model_cfg": dict(config), "preprocess_cfg": dict(preprocess or {})} | told
    (folder / "open_clip_config.json").write_text(json.dumps(words), encoding="utf-8")
    return folder


WEIGHTS = "open_clip_model.safetensors"


# One that has learned a little --------------------------------------------------------------------------------------

TRAINED = Path(tempfile.mkdtemp(prefix="bindsearch-openclip-"))
"""Empty until a test asks for the model."""
atexit.register(shutil.rmtree, TRAINED, ignore_errors=True)


def trained(meanings: Sequence[Mapping[Modality, Piece]]) -> OpenClipEncoder:
    """An encoder whose model was taught, in a second, to tell these few meanings apart."""
    pytest.importorskip("torch", reason=WHY)
    pytest.importorskip("open_clip", reason=WHY)
    from bindsearch.encoders.openclip.encoder import local

    if not (TRAINED / WEIGHTS).exists():
        model = random_model(PLAIN)
        untrained = local(str(saved(TRAINED, model, PLAIN)))
        _teach(model, untrained, meanings)
        saved(TRAINED, model.eval(), PLAIN)
    return local(str(TRAINED))


def _teach(model: Any, encoder: OpenClipEncoder, meanings: Sequence[Mapping[Modality, Piece]]) -> None:
    import torch

    from bindsearch.types import Modality

    seen, read = (
        torch.stack([torch.from_numpy(encoder.prepare(each[kind])) for each in meanings])
        for kind in (Modality.IMAGE, Modality.TEXT)
    )
    mean, std = (torch.tensor(each).view(3, 1, 1) for each in (OPENAI_MEAN, OPENAI_STD))
    planes = (seen.permute(0, 3, 1, 2).float() / 255 - mean) / std
    learning = torch.optim.Adam(model.parameters(), lr=1e-3)
    right = torch.arange(len(meanings))
    for _ in range(60):
        logits = 10 * model.encode_image(planes, normalize=True) @ model.encode_text(read, normalize=True).T
        loss = torch.nn.functional.cross_entropy(logits, right) + torch.nn.functional.cross_entropy(logits.T, right)
        learning.zero_grad()
        loss.backward()
        learning.step()


OPENAI_MEAN = (0.48145466, 0.4578275, 0.40821073)
OPENAI_STD = (0.26862954, 0.26130258, 0.27577711)
