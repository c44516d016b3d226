"""Load one tower of an open_clip model: build it without memory for its parameters, then read only its tensors.

open_clip itself builds whole models and initialises them with random numbers first.
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
"""Kinds of towers: the prefixes of the names of their parameters."""
_TRIAL_INPUTS = 2
"""The number of inputs that a dtype is tried with."""
_MODEL_LEVEL_PREFIXES = ("logit_scale", "logit_bias", "text_decoder.")
_APPLE_PREFIX = "image_encoder.model."
_building = threading.Lock()


class Tower:
    """A loaded tower, on the device."""

    def __init__(self, module: Any, dtype: Any, to_input: Callable[[Any, Any], Any]) -> None:
        self._module = module
        self._to_input = to_input
        self.dtype = dtype

    def __call__(self, batch: np.ndarray[Any, Any]) -> Vectors:
        """Embed stacked prepared inputs. *Shape:* (len(batch), dim), float32"""
        with torch.inference_mode():
            inputs = self._to_input(torch.from_numpy(batch).to(device()), self.dtype)
            vectors: Vectors = pooled_output(self._module(inputs)).float().cpu().numpy()
        return vectors


def load_tower(path: Path, config: ModelConfig, kind: str, *, preprocessing: Preprocessing, key: str) -> Tower:
    """Load one tower of a model to the device, in the best dtype. The choice of the dtype is cached under `key`.

    Raises `DamagedWeights` if file and architecture do not match, `UnusableSpace`, `MissingExtra`.
    """
    module = build_empty(config, kind)
    to_input = _pixel_normaliser(preprocessing) if kind == IMAGE else _unchanged
    parameters = sum(each.numel() for each in module.parameters())
    dtype = known_dtype(f"{key} {kind}", parameters)
    fill_weights(module, path, kind, dtype or torch.float32)
    if dtype is None:
        trial = _trial_inputs(config, kind, preprocessing)

        def run(dtype: Any) -> Any:
            with torch.inference_mode():
                return pooled_output(module(to_input(trial.to(device()), dtype)))

        dtype = measure_dtype(f"{key} {kind}", run, module.to)
        if dtype is torch.float32:  # the trial has rounded the weights
            module = build_empty(config, kind)
            fill_weights(module, path, kind, dtype)
    return Tower(module, dtype, to_input)


def pooled_output(output: Any) -> Any:
    """Return the vectors in the output of a tower; some towers return their tokens too."""
    return output[0] if isinstance(output, tuple) else output


def parameter_bytes(config: ModelConfig) -> int:
    """Return the size of a model's parameters in float32, without allocating them."""
    towers = [build_empty(config, kind) for kind in (IMAGE, TEXT)]
    return 4 * sum(int(each.numel()) for tower in towers for each in tower.parameters())


# An empty tower -----------------------------------------------------------------------------------------------------


def build_empty(config: ModelConfig, kind: str) -> Any:
    """Return one tower whose parameters have no memory yet; its buffers, which no file holds, are allocated.

    Raises `UnusableSpace`, `MissingExtra`.
    """
    build = _build_vision_tower if kind == IMAGE else _build_text_tower
    part = {**config["vision_cfg" if kind == IMAGE else "text_cfg"]}
    if kind == TEXT and part.get("hf_model_name"):
        part["hf_model_pretrained"] = False
    if part.get("timm_model_name"):
        part["timm_model_pretrained"] = False
        if ":" in part["timm_model_name"]:  # on the hub: building it would use the network
            raise UnusableSpace(
                f"the model's configuration refers to another model, which is not fetched: {part['timm_model_name']}"
            )

    def built_module() -> Any:
        return build(config["embed_dim"], part, config.get("quick_gelu", False))

    try:
        try:
            with _building, _parameters_on_meta():
                module = built_module()
        except RuntimeError as error:
            if "meta" not in str(error):
                raise
            module = built_module()  # some models of timm run a forward pass while they are built, which needs memory
    except RuntimeError as error:
        raise MissingExtra(f"the model's {kind} tower cannot be built: {error}") from error
    except (TypeError, KeyError, AttributeError, AssertionError) as error:
        raise UnusableSpace(f"the installed open_clip does not support the model's configuration: {error}") from error
    return module.eval().requires_grad_(False)


@contextmanager
def _parameters_on_meta() -> Iterator[None]:
    """Register the parameters of modules that this thread builds without memory."""
    register, this_thread = torch.nn.Module.register_parameter, threading.get_ident()

    def register_on_meta(module: Any, name: str, parameter: Any) -> None:
        if parameter is not None and threading.get_ident() == this_thread:
            parameter = torch.nn.Parameter(parameter.to("meta"), requires_grad=False)
        register(module, name, parameter)

    torch.nn.Module.register_parameter = register_on_meta
    try:
        yield
    finally:
        torch.nn.Module.register_parameter = register


# Reading the weights ------------------------------------------------------------------------------------------------


def fill_weights(module: Any, path: Path, kind: str, dtype: Any) -> None:
    """Read the tensors of a tower from a file, and move the tower to the device. Raises `DamagedWeights`."""
    with open_tensors(path) as weights:
        state = _tower_state(weights, module, kind, dtype)
    try:
        missing, unknown = module.load_state_dict(state, strict=False, assign=True)
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1].strip()
        raise DamagedWeights(f"{path} holds the weights of another model: {reason}") from error
    unknown = [name for name in unknown if not name.endswith("position_ids")]
    if missing or unknown:
        difference = f"lacks {missing[0]}" if missing else f"has {unknown[0]}, which the model does not have"
        raise DamagedWeights(
            f"{path} holds the weights of another model: it {difference}; name the model that they belong to"
        )
    module.requires_grad_(False)
    module.to(device=device(), dtype=dtype)


def _tower_state(weights: TensorFile, module: Any, kind: str, dtype: Any) -> dict[str, Any]:
    """Read the tensors of a tower, under the names that its module uses."""
    if any(name.startswith(_APPLE_PREFIX) for name in weights):
        state = convert_state_dict(SimpleNamespace(visual=module), {name: weights[name] for name in weights})
        state = {name: tensor for name, tensor in state.items() if _is_of_tower(name, kind)}
    else:
        state = {name: weights[name] for name in weights if _is_of_tower(name, kind)}
    if kind == IMAGE:
        resize_pos_embed(state, SimpleNamespace(visual=module))
    else:
        state = convert_to_custom_text_state_dict(state)
        resize_text_pos_embed(state, SimpleNamespace(text=module))
    return {name.removeprefix(f"{kind}."): _cast(tensor, dtype) for name, tensor in state.items()}


def _is_of_tower(name: str, kind: str) -> bool:
    """Whether a tensor belongs to a tower. In older models, tensors of the text tower have no prefix."""
    if kind == IMAGE:
        return name.startswith("visual.")
    return not name.startswith(("visual.", *_MODEL_LEVEL_PREFIXES))


def _cast(tensor: Any, dtype: Any) -> Any:
    return tensor.to(dtype) if tensor.is_floating_point() else tensor


# Inputs -------------------------------------------------------------------------------------------------------------


def _pixel_normaliser(preprocessing: Preprocessing) -> Callable[[Any, Any], Any]:
    """Return a function that scales and centres pixels with the same operations as open_clip's transform."""
    mean, std = (torch.tensor(each).view(3, 1, 1) for each in (preprocessing.mean, preprocessing.std))

    def normalise(pixels: Any, dtype: Any) -> Any:
        planes = pixels.permute(0, 3, 1, 2).contiguous().float().div_(255)
        return planes.sub_(mean.to(planes.device)).div_(std.to(planes.device)).to(dtype)

    return normalise


def _unchanged(token_ids: Any, dtype: Any) -> Any:
    return token_ids


def _trial_inputs(config: ModelConfig, kind: str, preprocessing: Preprocessing) -> Any:
    """Return inputs to try a dtype with: smooth random images, or random token ids."""
    rng = np.random.default_rng(0)
    if kind == IMAGE:
        coarse = rng.integers(0, 256, (_TRIAL_INPUTS, 8, 8, 3)).astype(np.float32)
        planes = torch.from_numpy(coarse).permute(0, 3, 1, 2)
        smooth = torch.nn.functional.interpolate(planes, preprocessing.size, mode="bilinear")
        return smooth.permute(0, 2, 3, 1).contiguous().to(torch.uint8)
    text = config["text_cfg"]
    last = int(text.get("vocab_size", 49_408)) - 1
    token_ids = rng.integers(3, last, (_TRIAL_INPUTS, int(text.get("context_length", 77))))
    token_ids[:, -1] = last  # most towers pool at the largest id, which ends a text
    return torch.from_numpy(token_ids)
