"""The frozen teachers of the pocket model: features of a photo or of a second of sound.

Both are public tflite files that output class scores. Students learn the vector just before these scores, and feature
maps of earlier layers. So the file's list of outputs is rewritten in memory to name those tensors instead.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

Floats = NDArray[np.float32]
TEACHER_SIDE = 224
"""Side of MobileNetV2's input, in pixels."""
PATCH_FRAMES = 96
"""Length of YAMNet's input: 0.975 s."""


@dataclass(frozen=True, slots=True)
class PhotoOutputs:
    """MobileNetV2's outputs for an image: two feature maps and the pooled features."""

    middle: NDArray[np.int8]
    """The feature map half-way up, quantised as the teacher does. *Shape:* (14, 14, 96)."""
    deep: NDArray[np.int8]
    """The feature map before the last widening, quantised as the teacher does. *Shape:* (7, 7, 320)."""
    features: Floats
    """*Shape:* (1280,)."""


class PhotoTeacher:
    """MobileNetV2, trained on ImageNet: 1,280 features, and the logits of 1,001 classes computed from them."""

    def __init__(self, path: Path) -> None:
        content = bytearray(path.read_bytes())
        by_shape = {tuple(tensor["shape"][1:]): int(tensor["index"]) for tensor in _results(_interpreter(content))}
        _set_outputs(content, [by_shape[14, 14, 96], by_shape[7, 7, 320], by_shape[7, 7, 1280]])
        self._interpreter = _interpreter(content)
        self._weight, self._bias = _last_layer(self._interpreter, "CONV_2D")

    def outputs(self, pixels: NDArray[np.uint8]) -> PhotoOutputs:
        """Return the outputs for one image. *Shape:* (224, 224, 3)."""
        self._interpreter.set_tensor(self._interpreter.get_input_details()[0]["index"], pixels[None])
        self._interpreter.invoke()
        details = self._interpreter.get_output_details()
        middle, deep, last = (self._interpreter.get_tensor(each["index"])[0] for each in details)
        return PhotoOutputs(middle.copy(), deep.copy(), _dequantise(last, details[2]).mean(axis=(0, 1)))

    @property
    def classifier(self) -> tuple[Floats, Floats]:
        """Weight and bias of the last layer. *Shape:* (1001, 1280) and (1001,)."""
        return self._weight, self._bias

    def logits(self, features: Floats) -> Floats:
        """Return class logits. *Shape:* (n, 1280) to (n, 1001)."""
        return features @ self._weight.T + self._bias


class SoundTeacher(nn.Module):
    """YAMNet, trained on AudioSet, without its spectrogram front end: feature maps, and the last layer's 521 classes.

    Its tflite file takes one second at a time; the same layers, rebuilt in torch, take a batch.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        interpreter = _interpreter(bytearray(path.read_bytes()))
        self.layers = nn.Sequential(*_convolutions(interpreter))
        weight, bias = _last_layer(interpreter, "FULLY_CONNECTED")
        self.classifier = (torch.from_numpy(weight), torch.from_numpy(bias))
        self.eval().to(memory_format=torch.channels_last)

    @torch.no_grad()
    def forward(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        """Return two feature maps: half-way up, and before pooling.

        *Shape:* (n, 96, 64), log-mel, to (n, 512, 6, 4) and (n, 1024, 3, 2).
        """
        with torch.autocast(frames.device.type, torch.bfloat16):
            middle = self.layers[:-4](frames[:, None].contiguous(memory_format=torch.channels_last))
            deep = self.layers[-4:](middle)
        return middle.float(), deep.float()

    def features(self, frames: Floats) -> Tensor:
        """Return the features of a clip, every half second. *Shape:* (m, 64), log-mel, to (n, 1024)."""
        starts = range(0, max(1, len(frames) - PATCH_FRAMES + 1), PATCH_FRAMES // 2)
        patches = np.stack([frames[start : start + PATCH_FRAMES] for start in starts]).astype(np.float32)
        deep: Tensor = self(torch.from_numpy(patches))[1]
        return deep.mean(dim=(2, 3))


class _ConvRelu(nn.Module):
    """A convolution with tflite's padding, and ReLU."""

    def __init__(self, weight: Tensor, bias: Tensor, *, stride: int, groups: int) -> None:
        super().__init__()
        self.register_buffer("weight", weight)
        self.register_buffer("bias", bias)
        self._stride, self._groups = stride, groups

    def forward(self, x: Tensor) -> Tensor:
        side = self.weight.shape[2]
        if self._stride == 2:
            x = F.pad(x, (0, 1, 0, 1))
        padding = side // 2 if self._stride == 1 else 0
        return F.relu(F.conv2d(x, self.weight, self.bias, self._stride, padding, groups=self._groups))


def _convolutions(interpreter: Any) -> Iterator[_ConvRelu]:
    """Yield the convolutions of a network that is a chain of them."""
    details = {int(tensor["index"]): tensor for tensor in interpreter.get_tensor_details()}
    quantised_of: dict[int, int] = {}
    for op in interpreter._get_ops_details():
        inputs, output = [int(i) for i in op["inputs"]], int(op["outputs"][0])
        if op["op_name"] == "DEQUANTIZE":
            quantised_of[output] = inputs[0]
        if op["op_name"] not in ("CONV_2D", "DEPTHWISE_CONV_2D"):
            continue
        depthwise = op["op_name"] == "DEPTHWISE_CONV_2D"
        index = quantised_of.get(inputs[1], inputs[1])
        weight = torch.from_numpy(_dequantise(interpreter.get_tensor(index), details[index]))
        weight = weight.permute(3, 0, 1, 2) if depthwise else weight.permute(0, 3, 1, 2)
        halved = details[inputs[0]]["shape"][1] == 2 * details[output]["shape"][1]
        bias = torch.from_numpy(interpreter.get_tensor(inputs[2]).astype(np.float32))
        yield _ConvRelu(weight.contiguous(), bias, stride=2 if halved else 1, groups=len(weight) if depthwise else 1)


def _interpreter(content: bytearray) -> Any:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=bytes(content), num_threads=1)
    interpreter.allocate_tensors()
    return interpreter


def _results(interpreter: Any) -> list[Any]:
    """Return the output tensors of all operations in order: of several of one shape, the last is the deepest."""
    details = {tensor["index"]: tensor for tensor in interpreter.get_tensor_details()}
    return [details[int(op["outputs"][0])] for op in interpreter._get_ops_details() if op["op_name"] != "DELEGATE"]


def _set_outputs(content: bytearray, tensors: list[int]) -> None:
    # Model.subgraphs is field 2 of tflite's schema, and so is SubGraph.outputs. The new list is appended to the file.
    graphs = _field(content, _u32(content, 0), 2)
    graph = graphs + 4 + _u32(content, graphs + 4)
    content.extend(bytes(-len(content) % 4))
    struct.pack_into("<I", content, _slot(content, graph, 2), len(content) - _slot(content, graph, 2))
    content.extend(struct.pack(f"<I{len(tensors)}i", len(tensors), *tensors))


def _slot(content: bytearray, table: int, number: int) -> int:
    vtable = table - int(struct.unpack_from("<i", content, table)[0])
    return table + int(struct.unpack_from("<H", content, vtable + 4 + 2 * number)[0])


def _field(content: bytearray, table: int, number: int) -> int:
    offset = _slot(content, table, number)
    return offset + _u32(content, offset)


def _u32(content: bytearray, offset: int) -> int:
    return int(struct.unpack_from("<I", content, offset)[0])


def _last_layer(interpreter: Any, operation: str) -> tuple[Floats, Floats]:
    """Return weight and bias of the last operation of a kind."""
    last = [op for op in interpreter._get_ops_details() if op["op_name"] == operation][-1]
    details = {tensor["index"]: tensor for tensor in interpreter.get_tensor_details()}
    weight, bias = (_dequantise(interpreter.get_tensor(i), details[i]) for i in map(int, last["inputs"][1:3]))
    return weight.reshape(weight.shape[0], -1), bias


def _dequantise(values: NDArray[Any], details: Any) -> Floats:
    quantised = details["quantization_parameters"]
    scales, zeros = quantised["scales"], quantised["zero_points"]
    if not len(scales):
        return np.asarray(values, np.float32)
    shape = [1] * values.ndim
    if len(scales) > 1:
        shape[int(quantised["quantized_dimension"])] = -1
    return np.asarray((values.astype(np.float32) - zeros.reshape(shape)) * scales.reshape(shape), np.float32)
