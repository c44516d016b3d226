"""The frozen teachers of the pocket model: a photo or a second of sound in, one feature vector out.

Both are public tflite files that end in class scores. What a student should learn is the vector just before
those scores, so the file's list of outputs is rewritten in memory to name that tensor instead.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
SIDE = 224  # pixels that MobileNetV2 looks at
PATCH = 15_600  # samples that YAMNet listens to: 0.975 s at 16 kHz
HOP = 7_680  # half a patch, in whole hops of YAMNet's spectrogram


class PhotoTeacher:
    """MobileNetV2 of ImageNet: 1,280 features, and the logits of 1,001 classes that follow from them."""

    def __init__(self, path: Path) -> None:
        self._run = _interpreter(path, before="CONV_2D")
        self._weight, self._bias = _last_layer(self._run, "CONV_2D")

    def features(self, pixels: NDArray[np.uint8]) -> Floats:
        """*Shape:* (224, 224, 3) to (1280,)."""
        return _invoke(self._run, pixels[None])

    def logits(self, features: Floats) -> Floats:
        """*Shape:* (n, 1280) to (n, 1001)."""
        return features @ self._weight.T + self._bias


class SoundTeacher:
    """YAMNet of AudioSet: 1,024 features a second, and the logits of 521 classes that follow from them."""

    def __init__(self, path: Path) -> None:
        self._run = _interpreter(path, before="FULLY_CONNECTED")
        self._weight, self._bias = _last_layer(self._run, "FULLY_CONNECTED")

    def features(self, patch: Floats) -> Floats:
        """*Shape:* (15600,) in [-1, 1] at 16 kHz to (1024,)."""
        return _invoke(self._run, patch[None])

    def logits(self, features: Floats) -> Floats:
        """*Shape:* (n, 1024) to (n, 521)."""
        return features @ self._weight.T + self._bias


def _interpreter(path: Path, *, before: str) -> Any:
    from ai_edge_litert.interpreter import Interpreter

    content = bytearray(path.read_bytes())
    plain = Interpreter(model_content=bytes(content))
    wanted = int(_last(plain, before)["inputs"][0])
    _rewrite_outputs(content, wanted)
    run = Interpreter(model_content=bytes(content), num_threads=1)
    run.allocate_tensors()
    return run


def _last(run: Any, operation: str) -> Any:
    return [op for op in run._get_ops_details() if op["op_name"] == operation][-1]


def _rewrite_outputs(content: bytearray, tensor: int) -> None:
    # Model.subgraphs is field 2 and SubGraph.outputs field 2 of tflite's schema: follow both and overwrite in place.
    model = _u32(content, 0)
    graphs = _field(content, model, 2)
    graph = graphs + 4 + _u32(content, graphs + 4)
    outputs = _field(content, graph, 2)
    struct.pack_into("<Ii", content, outputs, 1, tensor)


def _field(content: bytearray, table: int, number: int) -> int:
    vtable = table - struct.unpack_from("<i", content, table)[0]
    place = table + struct.unpack_from("<H", content, vtable + 4 + 2 * number)[0]
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
