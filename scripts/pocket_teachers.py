"""The frozen teachers of the pocket model: a photo or a second of sound in, one feature vector out.

Both are public tflite files that end in class scores. What a student should learn is the vector just before
those scores, so the file's list of outputs is rewritten in memory to name that tensor, and others on the way, instead.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
SIDE = 224  # pixels that MobileNetV2 looks at
PATCH = 15_600  # samples that YAMNet listens to: 0.975 s at 16 kHz
HOP = 7_680  # half a patch, in whole hops of YAMNet's spectrogram


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


class SoundTeacher:
    """YAMNet of AudioSet: 1,024 features a second, and the logits of 521 classes that follow from them."""

    def __init__(self, path: Path) -> None:
        content = bytearray(path.read_bytes())
        _name_outputs(content, [int(_last(_started(content), "FULLY_CONNECTED")["inputs"][0])])
        self._run = _started(content)
        self._weight, self._bias = _last_layer(self._run, "FULLY_CONNECTED")

    def features(self, patch: Floats) -> Floats:
        """*Shape:* (15600,) in [-1, 1] at 16 kHz to (1024,)."""
        return _invoke(self._run, patch[None])

    def logits(self, features: Floats) -> Floats:
        """*Shape:* (n, 1024) to (n, 521)."""
        return features @ self._weight.T + self._bias


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


def _invoke(run: Any, value: NDArray[Any]) -> Floats:
    run.set_tensor(run.get_input_details()[0]["index"], value)
    run.invoke()
    output = run.get_output_details()[0]
    return _real(run.get_tensor(output["index"]), output).reshape(-1)


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
    shape = [-1] + [1] * (values.ndim - 1) if len(scales) > 1 else [1] * values.ndim
    return np.asarray((values.astype(np.float32) - zeros.reshape(shape)) * scales.reshape(shape), np.float32)
