"""open_clip's towers, one at a time: built without memory for parameters, filled from a file with what is theirs.

open_clip builds whole models and fills them with random numbers first. Here only the tower that is asked for is built,
its parameters stay without memory until they are read, and of a file only its tensors are read.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from open_clip.convert import convert_state_dict
from open_clip.model import (
    _build_text_tower,
    _build_vision_tower,
    convert_to_custom_text_state_dict,
    resize_pos_embed,
    resize_text_pos_embed,
)

from bindsearch.errors import DamagedWeights, MissingExtra, UnusableSpace
from bindsearch.types import Vectors

from ..shared.device import device, known_dtype, measure_dtype
from ..shared.weight_files import TensorFile, open_tensors
from .preprocess import Preprocessing

ModelConfig = Mapping[str, Any]
"""open_clip's `model_cfg`."""

IMAGE, TEXT = "visual", "text"
"""A tower is called as its parameters' names begin."""
_TRIAL_INPUTS = 2
"""Inputs of the trial of a dtype."""
_MODEL_LEVEL_PREFIXES = ("logit_scale", "logit_bias", "text_decoder.")
_APPLE_PREFIX = "image_encoder.model."
_building = threading.Lock()


class Tower:
    """One tower at work on the device."""

    def __init__(self, module: Any, dtype: Any, turn: Callable[[Any, Any], Any]) -> None:
        self._module = module
        self._turn = turn
        self.dtype = dtype

    def __call__(self, batch: np.ndarray[Any, Any]) -> Vectors:
        """Embed stacked inputs. *Shape:* (len(batch), dim), float32"""
        with torch.inference_mode():
            given = self._turn(torch.from_numpy(batch).to(device()), self.dtype)
            vectors: Vectors = pooled_output(self._module(given)).float().cpu().numpy()
        return vectors


def load_tower(path: Path, config: ModelConfig, kind: str, *, preprocessing: Preprocessing, key: str) -> Tower:
    """Load one tower of a model to the device, in a dtype that suits it. `key` names the weights for what is measured.

    Raises `DamagedWeights` where file and architecture do not fit, `UnusableSpace`, `MissingExtra`.
    """
    module = build_empty(config, kind)
    turn = _pixel_normaliser(preprocessing) if kind == IMAGE else _unchanged
    parameters = sum(each.numel() for each in module.parameters())
    dtype = known_dtype(f"{key} {kind}", parameters)
    fill_weights(module, path, kind, dtype or torch.float32)
    if dtype is None:
        trial = _trial_inputs(config, kind, preprocessing)

        def run(dtype: Any) -> Any:
            with torch.inference_mode():
                return pooled_output(module(turn(trial.to(device()), dtype)))

        dtype = measure_dtype(f"{key} {kind}", run, module.to)
        if dtype is torch.float32:  # the trial has shortened the numbers
            module = build_empty(config, kind)
            fill_weights(module, path, kind, dtype)
    return Tower(module, dtype, turn)


def pooled_output(given: Any) -> Any:
    """Return the vectors among what a tower gives: some give their tokens too."""
    return given[0] if isinstance(given, tuple) else given


def parameter_bytes(config: ModelConfig) -> int:
    """Count the bytes of a model's parameters in float32, without memory for them."""
    towers = [build_empty(config, kind) for kind in (IMAGE, TEXT)]
    return 4 * sum(int(each.numel()) for tower in towers for each in tower.parameters())


# An empty tower -----------------------------------------------------------------------------------------------------


def build_empty(config: ModelConfig, kind: str) -> Any:
    """Build one tower whose parameters have shapes, but no memory; its buffers, which no file holds, are real."""
    build = _build_vision_tower if kind == IMAGE else _build_text_tower
    part = {**config["vision_cfg" if kind == IMAGE else "text_cfg"]}
    if kind == TEXT and part.get("hf_model_name"):
        part["hf_model_pretrained"] = False
    if part.get("timm_model_name"):
        part["timm_model_pretrained"] = False
        if ":" in part["timm_model_name"]:  # a place on the hub: building it would go to the network
            raise UnusableSpace(f"the model's configuration names a model elsewhere: {part['timm_model_name']}")

    def built() -> Any:
        return build(config["embed_dim"], part, config.get("quick_gelu", False))

    try:
        try:
            with _building, _parameters_on_meta():
                module = built()
        except RuntimeError as error:
            if "meta" not in str(error):
                raise
            module = built()  # some of timm's models try themselves while they are built, and need their memory for it
    except RuntimeError as error:
        raise MissingExtra(f"the model's {kind} tower cannot be built: {error}") from error
    except (TypeError, KeyError, AttributeError, AssertionError) as error:
        raise UnusableSpace(f"the model's configuration is not one that this open_clip knows: {error}") from error
    return module.eval().requires_grad_(False)


@contextmanager
def _parameters_on_meta() -> Iterator[None]:
    """Let parameters that this thread makes lose their memory as they join a module."""
    register, mine = torch.nn.Module.register_parameter, threading.get_ident()

    def forgetful(module: Any, name: str, parameter: Any) -> None:
        if parameter is not None and threading.get_ident() == mine:
            parameter = torch.nn.Parameter(parameter.to("meta"), requires_grad=False)
        register(module, name, parameter)

    torch.nn.Module.register_parameter = forgetful
    try:
        yield
    finally:
        torch.nn.Module.register_parameter = register


# Filling it ---------------------------------------------------------------------------------------------------------


def fill_weights(module: Any, path: Path, kind: str, dtype: Any) -> None:
    """Read a tower's tensors from a file, and bring it to the device. Raises `DamagedWeights`."""
    with open_tensors(path) as weights:
        state = _state(weights, module, kind, dtype)
    try:
        missing, unknown = module.load_state_dict(state, strict=False, assign=True)
    except RuntimeError as error:
        first = str(error).strip().splitlines()[-1].strip()
        raise DamagedWeights(f"{path} holds another model's weights: {first}") from error
    unknown = [name for name in unknown if not name.endswith("position_ids")]
    if missing or unknown:
        lacks = f"lacks {missing[0]}" if missing else f"has {unknown[0]}, which the model has not"
        raise DamagedWeights(f"{path} holds another model's weights: it {lacks}; name the model that they are of")
    module.requires_grad_(False)
    module.to(device=device(), dtype=dtype)


def _state(weights: TensorFile, module: Any, kind: str, dtype: Any) -> dict[str, Any]:
    """Read what belongs to a tower, under the names that it has there."""
    if any(name.startswith(_APPLE_PREFIX) for name in weights):
        state = convert_state_dict(SimpleNamespace(visual=module), {name: weights[name] for name in weights})
        state = {name: tensor for name, tensor in state.items() if _belongs(name, kind)}
    else:
        state = {name: weights[name] for name in weights if _belongs(name, kind)}
    if kind == IMAGE:
        resize_pos_embed(state, SimpleNamespace(visual=module))
    else:
        state = convert_to_custom_text_state_dict(state)
        resize_text_pos_embed(state, SimpleNamespace(text=module))
    return {name.removeprefix(f"{kind}."): _cast(tensor, dtype) for name, tensor in state.items()}


def _belongs(name: str, kind: str) -> bool:
    """Tell whose a tensor is: models of old have those of the text tower without a beginning of their own."""
    if kind == IMAGE:
        return name.startswith("visual.")
    return not name.startswith(("visual.", *_MODEL_LEVEL_PREFIXES))


def _cast(tensor: Any, dtype: Any) -> Any:
    return tensor.to(dtype) if tensor.is_floating_point() else tensor


# Inputs -------------------------------------------------------------------------------------------------------------


def _pixel_normaliser(preprocessing: Preprocessing) -> Callable[[Any, Any], Any]:
    """Return what scales and centres pixels as open_clip's transform does, operation by operation."""
    mean, std = (torch.tensor(each).view(3, 1, 1) for each in (preprocessing.mean, preprocessing.std))

    def turn(pixels: Any, dtype: Any) -> Any:
        planes = pixels.permute(0, 3, 1, 2).contiguous().float().div_(255)
        return planes.sub_(mean.to(planes.device)).div_(std.to(planes.device)).to(dtype)

    return turn


def _unchanged(numbers: Any, dtype: Any) -> Any:
    return numbers


def _trial_inputs(config: ModelConfig, kind: str, preprocessing: Preprocessing) -> Any:
    """Make inputs by which a dtype is tried: soft random pictures, random words."""
    rng = np.random.default_rng(0)
    if kind == IMAGE:
        coarse = rng.integers(0, 256, (_TRIAL_INPUTS, 8, 8, 3)).astype(np.float32)
        planes = torch.from_numpy(coarse).permute(0, 3, 1, 2)
        soft = torch.nn.functional.interpolate(planes, preprocessing.size, mode="bilinear")
        return soft.permute(0, 2, 3, 1).contiguous().to(torch.uint8)
    text = config["text_cfg"]
    last = int(text.get("vocab_size", 49_408)) - 1
    numbers = rng.integers(3, last, (_TRIAL_INPUTS, int(text.get("context_length", 77))))
    numbers[:, -1] = last  # where most towers look for the end
    return torch.from_numpy(numbers)
