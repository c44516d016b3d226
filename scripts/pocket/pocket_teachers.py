"""The frozen teachers of the pocket model: a photo or a second of sound in, features out.

Both are public tflite files that end in class scores. What a student should learn is the vector just before
those scores, so the file's list of outputs is rewritten in memory to name that tensor, and others on the way, instead.
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
SIDE = 224  # pixels that MobileNetV2 looks at
PATCH = 96  # frames that YAMNet listens to: 0.975 s


@dataclass(frozen=True, slots=True)
class Seen:
    """What MobileNetV2 makes of a picture, place by place and on the whole."""

    middle: NDArray[np.int8]
    """Half-way up. *Shape:* (14, 14, 96), in the teacher's own steps."""
    deep: NDArray[np.int8]
    """Before the last widening. *Shape:* (7, 7, 320), in the teacher's own steps."""
    features: Floats
    """*Shape:* (1280,)."""


class PhotoTeacher:
    """MobileNetV2 of ImageNet: 1,280 features, and the logits of 1,001 classes that follow from them."""

    def __init__(self, path: Path) -> None:
        content = bytearray(path.read_bytes())
        plain = _started(content)
        places = {tuple(tensor["shape"][1:]): int(tensor["index"]) for tensor in _results(plain)}
        _name_outputs(content, [places[14, 14, 96], places[7, 7, 320], places[7, 7, 1280]])
        self._run = _started(content)
        self._weight, self._bias = _last_layer(self._run, "CONV_2D")

    def see(self, pixels: NDArray[np.uint8]) -> Seen:
        """*Shape:* (224, 224, 3)."""
        self._run.set_tensor(self._run.get_input_details()[0]["index"], pixels[None])
        self._run.invoke()
        outputs = self._run.get_output_details()
        middle, deep, last = (self._run.get_tensor(each["index"])[0] for each in outputs)
        return Seen(middle.copy(), deep.copy(), _real(last, outputs[2]).mean(axis=(0, 1)))

    @property
    def classes(self) -> tuple[Floats, Floats]:
        """The last layer. *Shape:* (1001, 1280) and (1001,)."""
        return self._weight, self._bias

    def logits(self, features: Floats) -> Floats:
        """*Shape:* (n, 1280) to (n, 1001)."""
        return features @ self._weight.T + self._bias


class SoundTeacher(nn.Module):
    """YAMNet of AudioSet behind its spectrogram: what it hears at each place, and the logits of 521 classes.

    Its file takes one second at a time; the same layers in torch take a batch.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        run = _started(bytearray(path.read_bytes()))
        self.layers = nn.Sequential(*_convolutions(run))
        weight, bias = _last_layer(run, "FULLY_CONNECTED")
        self.classes = (torch.from_numpy(weight), torch.from_numpy(bias))
        self.eval().to(memory_format=torch.channels_last)

    @torch.no_grad()
    def forward(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        """*Shape:* (n, 96, 64) of log-mel to (n, 512, 6, 4), half-way up, and (n, 1024, 3, 2), before the mean."""
        with torch.autocast(frames.device.type, torch.bfloat16):
            middle = self.layers[:-4](frames[:, None].contiguous(memory_format=torch.channels_last))
            deep = self.layers[-4:](middle)
        return middle.float(), deep.float()

    def features(self, frames: Floats) -> Tensor:
        """What is heard in every half second of a clip. *Shape:* (m, 64) of log-mel to (n, 1024)."""
        starts = range(0, max(1, len(frames) - PATCH + 1), PATCH // 2)
        patches = np.stack([frames[start : start + PATCH] for start in starts]).astype(np.float32)
        deep: Tensor = self(torch.from_numpy(patches))[1]
        return deep.mean(dim=(2, 3))


class _Bent(nn.Module):
    """A convolution, padded as tflite pads, and a bend."""

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


def _convolutions(run: Any) -> Iterator[_Bent]:
    """All convolutions of a network that is a chain of them."""
    details = {int(tensor["index"]): tensor for tensor in run.get_tensor_details()}
    packed: dict[int, int] = {}
    for op in run._get_ops_details():
        inputs, output = [int(i) for i in op["inputs"]], int(op["outputs"][0])
        if op["op_name"] == "DEQUANTIZE":
            packed[output] = inputs[0]
        if op["op_name"] not in ("CONV_2D", "DEPTHWISE_CONV_2D"):
            continue
        apart = op["op_name"] == "DEPTHWISE_CONV_2D"
        place = packed.get(inputs[1], inputs[1])
        weight = torch.from_numpy(_real(run.get_tensor(place), details[place]))
        weight = weight.permute(3, 0, 1, 2) if apart else weight.permute(0, 3, 1, 2)
        halved = details[inputs[0]]["shape"][1] == 2 * details[output]["shape"][1]
        bias = torch.from_numpy(run.get_tensor(inputs[2]).astype(np.float32))
        yield _Bent(weight.contiguous(), bias, stride=2 if halved else 1, groups=len(weight) if apart else 1)


def _started(content: bytearray) -> Any:
    from ai_edge_litert.interpreter import Interpreter

    run = Interpreter(model_content=bytes(content), num_threads=1)
    run.allocate_tensors()
    return run


def _results(run: Any) -> list[Any]:
    """What the operations make, in their order: of several tensors of one shape the last one tells most."""
    details = {tensor["index"]: tensor for tensor in run.get_tensor_details()}
    return [details[int(op["outputs"][0])] for op in run._get_ops_details() if op["op_name"] != "DELEGATE"]


def _last(run: Any, operation: str) -> Any:
    return [op for op in run._get_ops_details() if op["op_name"] == operation][-1]


def _name_outputs(content: bytearray, tensors: list[int]) -> None:
    # Model.subgraphs is field 2 and SubGraph.outputs field 2 of tflite's schema: a new list goes behind the file's end.
    graphs = _field(content, _u32(content, 0), 2)
    graph = graphs + 4 + _u32(content, graphs + 4)
    content.extend(bytes(-len(content) % 4))
    struct.pack_into("<I", content, _slot(content, graph, 2), len(content) - _slot(content, graph, 2))
    content.extend(struct.pack(f"<I{len(tensors)}i", len(tensors), *tensors))


def _slot(content: bytearray, table: int, number: int) -> int:
    vtable = table - int(struct.unpack_from("<i", content, table)[0])
    return table + int(struct.unpack_from("<H", content, vtable + 4 + 2 * number)[0])


def _field(content: bytearray, table: int, number: int) -> int:
    place = _slot(content, table, number)
    return place + _u32(content, place)


def _u32(content: bytearray, place: int) -> int:
    return int(struct.unpack_from("<I", content, place)[0])


def _last_layer(run: Any, operation: str) -> tuple[Floats, Floats]:
    inputs = _last(run, operation)["inputs"]
    details = {tensor["index"]: tensor for tensor in run.get_tensor_details()}
    weight, bias = (_real(run.get_tensor(i), details[i]) for i in (int(inputs[1]), int(inputs[2])))
    return weight.reshape(weight.shape[0], -1), bias


def _real(values: NDArray[Any], details: Any) -> Floats:
    quantised = details["quantization_parameters"]
    scales, zeros = quantised["scales"], quantised["zero_points"]
    if not len(scales):
        return np.asarray(values, np.float32)
    shape = [1] * values.ndim
    if len(scales) > 1:
        shape[int(quantised["quantized_dimension"])] = -1
    return np.asarray((values.astype(np.float32) - zeros.reshape(shape)) * scales.reshape(shape), np.float32)
