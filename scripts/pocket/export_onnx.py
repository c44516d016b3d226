"""Write the ONNX graphs of the pocket towers beside their weights: `image.onnx`, `text.onnx`, `audio.onnx`.

A graph holds no weights: it names each tensor in `pocket.safetensors` by offset and length. The tensors are float16
there and are cast to float32 when the graph is loaded. Layers and their sizes are read from the names and shapes in
that file's header; a test compares the graphs with the torch towers. Needs the package onnx, but not torch.

    python scripts/pocket/export_onnx.py encoders/pocket/weights
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from onnx import ModelProto, NodeProto, TensorProto, checker, helper, save_model

WEIGHTS_FILE = "pocket.safetensors"
OPSET, IR_VERSION = 20, 10
"""Opset 20 is the first that has GELU."""
HEADS = 4
"""Of the text tower's attention: no shape shows it."""
IMAGE_SIDE, BANDS = 128, 64
EPSILON = 1e-5
"""Of every norm, as in torch."""
MASKED = -1e9
"""Added to the attention score of padding; its weight is then exactly 0."""


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """Where a tensor lies in the weight file, in bytes."""

    shape: tuple[int, ...]
    offset: int
    length: int


class GraphWriter:
    """Collects nodes and tensors of a graph. Methods that add a node return the name of its result."""

    def __init__(self, tensors: dict[str, StoredTensor]) -> None:
        self.tensors = tensors
        self._nodes: list[NodeProto] = []
        self._initializers: dict[str, TensorProto] = {}

    def add(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """Add a node that has one result."""
        result = f"{kind}_{len(self._nodes)}"
        self._nodes.append(helper.make_node(kind, inputs, [result], **attributes))
        return result

    def constant(self, value: float | Sequence[int]) -> str:
        """Add a float32 scalar or a list of int64."""
        name = f"constant_{len(self._initializers)}"
        if isinstance(value, Sequence):
            tensor = helper.make_tensor(name, TensorProto.INT64, [len(value)], value)
        else:
            tensor = helper.make_tensor(name, TensorProto.FLOAT, [], [value])
        self._initializers[name] = tensor
        return name

    def stored(self, name: str) -> str:
        """Refer to a float16 tensor in the weight file."""
        if name not in self._initializers:
            place = self.tensors[name]
            tensor = TensorProto(name=name, dims=place.shape, data_type=TensorProto.FLOAT16)
            tensor.data_location = TensorProto.EXTERNAL
            for key, value in (("location", WEIGHTS_FILE), ("offset", place.offset), ("length", place.length)):
                tensor.external_data.add(key=key, value=str(value))
            self._initializers[name] = tensor
        return name

    def weight(self, name: str) -> str:
        """Read a tensor of the weight file as float32."""
        return self.add("Cast", self.stored(name), to=TensorProto.FLOAT)

    def model(self, *, given: Any, result: str, digest: str) -> ModelProto:
        """Return the model whose output, `vectors`, is `result`, for the weights of this digest."""
        nodes = [*self._nodes, helper.make_node("Identity", [result], ["vectors"])]
        vectors = helper.make_tensor_value_info("vectors", TensorProto.FLOAT, ["batch", "dim"])
        graph = helper.make_graph(nodes, "tower", [given], [vectors], list(self._initializers.values()))
        opset = helper.make_opsetid("", OPSET)
        model = helper.make_model(graph, opset_imports=[opset], ir_version=IR_VERSION, producer_name="bindsearch")
        helper.set_model_props(model, {"weights": digest})
        return model


def image_tower(graph: GraphWriter) -> tuple[str, Any]:
    """Add the image tower. *Shape:* (batch, 3, 128, 128) to (batch, dim)."""
    given = helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["batch", 3, IMAGE_SIDE, IMAGE_SIDE])
    x = _conv_trunk(graph, "pixels", "image")
    return _head(graph, _mean(graph, x, axes=[2, 3]), "image.head"), given


def audio_tower(graph: GraphWriter) -> tuple[str, Any]:
    """Add the audio tower. *Shape:* (batch, frames, 64) to (batch, dim)."""
    given = helper.make_tensor_value_info("spectra", TensorProto.FLOAT, ["batch", "frames", BANDS])
    x = graph.add("Unsqueeze", "spectra", graph.constant([1]))
    x = _mean(graph, _conv_trunk(graph, x, "audio"), axes=[3])
    moments = graph.add("Transpose", x, perm=[0, 2, 1])
    scores = _linear(graph, _whiten(graph, moments, "audio.listening.head"), "audio.listening.weigh")
    weighted = graph.add("Mul", moments, graph.add("Softmax", scores, axis=1))
    pooled = graph.add("ReduceSum", weighted, graph.constant([1]), keepdims=0)
    return _head(graph, pooled, "audio.listening.head"), given


def text_tower(graph: GraphWriter) -> tuple[str, Any]:
    """Add the text tower. *Shape:* (batch, length) of token numbers, 0 behind the end, to (batch, dim)."""
    given = helper.make_tensor_value_info("tokens", TensorProto.INT64, ["batch", "length"])
    present = graph.add("Cast", graph.add("Cast", "tokens", to=TensorProto.BOOL), to=TensorProto.FLOAT)
    absent = graph.add("Sub", graph.constant(1.0), present)
    mask = graph.add("Mul", graph.add("Unsqueeze", absent, graph.constant([1, 2])), graph.constant(MASKED))
    # Cast after gathering: the table is most of the weights, and a text needs few of its rows.
    rows = graph.add("Cast", graph.add("Gather", graph.stored("text.table.weight"), "tokens"), to=TensorProto.FLOAT)
    length = graph.add("Shape", "tokens", start=1)
    places = graph.add("Slice", graph.weight("text.places"), graph.constant([0]), length, graph.constant([0]))
    x = graph.add("Add", _linear(graph, rows, "text.widen"), places)
    layer = 0
    while f"text.layers.{layer}.ask.weight" in graph.tensors:
        x = _transformer_layer(graph, x, mask, name=f"text.layers.{layer}")
        layer += 1
    weights = graph.add("Unsqueeze", present, graph.constant([2]))
    summed = graph.add("Mul", _layer_norm(graph, x, "text.norm"), weights)
    summed = graph.add("ReduceSum", summed, graph.constant([1]), keepdims=0)
    count = graph.add("Max", graph.add("ReduceSum", weights, graph.constant([1]), keepdims=0), graph.constant(1.0))
    return _linear(graph, graph.add("Div", summed, count), "text.head"), given


TOWERS: dict[str, Callable[[GraphWriter], tuple[str, Any]]] = {
    "image": image_tower,
    "text": text_tower,
    "audio": audio_tower,
}


def _conv_trunk(graph: GraphWriter, x: str, tower: str) -> str:
    x = graph.add("Relu", _convolution(graph, x, f"{tower}.trunk.layers.0", f"{tower}.trunk.layers.1", stride=2))
    layer = 3
    while f"{tower}.trunk.layers.{layer}.path.0.weight" in graph.tensors:
        x = _bottleneck_block(graph, x, f"{tower}.trunk.layers.{layer}")
        layer += 1
    return graph.add("Relu", _convolution(graph, x, f"{tower}.widen.0", f"{tower}.widen.1"))


def _bottleneck_block(graph: GraphWriter, x: str, name: str) -> str:
    first = f"{name}.shortcut.0.weight" in graph.tensors  # of a stage: it alone halves the resolution
    stride = 2 if first else 1
    shortcut = _convolution(graph, x, f"{name}.shortcut.0", f"{name}.shortcut.1", stride=stride) if first else x
    after, mixed, *_ = graph.tensors[f"{name}.path.3.weight"].shape
    x = graph.add("Relu", _convolution(graph, x, f"{name}.path.0", f"{name}.path.1"))
    x = _convolution(graph, x, f"{name}.path.3", f"{name}.path.4", stride=stride, groups=after // mixed)
    x = _convolution(graph, graph.add("Relu", x), f"{name}.path.6", f"{name}.path.7")
    return graph.add("Relu", graph.add("Add", x, shortcut))


def _convolution(graph: GraphWriter, x: str, conv: str, norm: str, *, stride: int = 1, groups: int = 1) -> str:
    """Add `Conv2d` without bias and its `BatchNorm2d`; ONNX Runtime folds the second into the first."""
    side = graph.tensors[f"{conv}.weight"].shape[-1]
    pads, sides, strides = [side // 2] * 4, [side] * 2, [stride] * 2
    weight = graph.weight(f"{conv}.weight")
    x = graph.add("Conv", x, weight, kernel_shape=sides, pads=pads, strides=strides, group=groups)
    norms = [graph.weight(f"{norm}.{part}") for part in ("weight", "bias", "running_mean", "running_var")]
    return graph.add("BatchNormalization", x, *norms, epsilon=EPSILON)


def _transformer_layer(graph: GraphWriter, x: str, mask: str, *, name: str) -> str:
    x = graph.add("Add", x, _attention(graph, _layer_norm(graph, x, f"{name}.before"), mask, name=name))
    inner = _linear(graph, _layer_norm(graph, x, f"{name}.between"), f"{name}.neurons.0")
    return graph.add("Add", x, _linear(graph, graph.add("Gelu", inner, approximate="tanh"), f"{name}.neurons.2"))


def _attention(graph: GraphWriter, x: str, mask: str, *, name: str) -> str:
    width = graph.tensors[f"{name}.answer.weight"].shape[0]
    split = graph.add("Reshape", _linear(graph, x, f"{name}.ask"), graph.constant([0, 0, 3, HEADS, width // HEADS]))
    parts = [graph.add("Gather", split, graph.constant([part]), axis=2) for part in range(3)]
    query, key, value = (graph.add("Squeeze", part, graph.constant([2])) for part in parts)
    query, value = (graph.add("Transpose", each, perm=[0, 2, 1, 3]) for each in (query, value))
    key = graph.add("Transpose", key, perm=[0, 2, 3, 1])
    scores = graph.add("Mul", graph.add("MatMul", query, key), graph.constant((width // HEADS) ** -0.5))
    weights = graph.add("Softmax", graph.add("Add", scores, mask), axis=-1)
    mixed = graph.add("Transpose", graph.add("MatMul", weights, value), perm=[0, 2, 1, 3])
    return _linear(graph, graph.add("Reshape", mixed, graph.constant([0, 0, width])), f"{name}.answer")


def _head(graph: GraphWriter, features: str, name: str) -> str:
    x = _whiten(graph, features, name)
    bent = graph.add("Gelu", _linear(graph, x, f"{name}.through.0"))
    return graph.add("Add", _linear(graph, bent, f"{name}.through.3"), _linear(graph, x, f"{name}.straight"))


def _whiten(graph: GraphWriter, features: str, name: str) -> str:
    centred = graph.add("Sub", features, graph.weight(f"{name}.mean"))
    return graph.add("Div", centred, graph.weight(f"{name}.scale"))


def _mean(graph: GraphWriter, x: str, *, axes: list[int]) -> str:
    return graph.add("ReduceMean", x, graph.constant(axes), keepdims=0)


def _linear(graph: GraphWriter, x: str, name: str) -> str:
    x = graph.add("MatMul", x, graph.add("Transpose", graph.weight(f"{name}.weight"), perm=[1, 0]))
    return graph.add("Add", x, graph.weight(f"{name}.bias")) if f"{name}.bias" in graph.tensors else x


def _layer_norm(graph: GraphWriter, x: str, name: str) -> str:
    scale, bias = graph.weight(f"{name}.weight"), graph.weight(f"{name}.bias")
    return graph.add("LayerNormalization", x, scale, bias, axis=-1, epsilon=EPSILON)


def stored_tensors(path: Path) -> dict[str, StoredTensor]:
    """Read the header of a safetensors file: its length in eight bytes, then JSON, then the data."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length))
    return {
        name: StoredTensor(tuple(entry["shape"]), 8 + length + start, end - start)
        for name, entry in header.items()
        if name != "__metadata__"
        for start, end in [entry["data_offsets"]]
    }


def export(folder: Path) -> list[Path]:
    """Write the graphs of the towers whose weights a folder holds."""
    tensors = stored_tensors(folder / WEIGHTS_FILE)
    digest = hashlib.sha256((folder / WEIGHTS_FILE).read_bytes()).hexdigest()
    written = []
    for name, add_tower in TOWERS.items():
        graph = GraphWriter(tensors)
        result, given = add_tower(graph)
        path = folder / f"{name}.onnx"
        save_model(graph.model(given=given, result=result, digest=digest), path)
        checker.check_model(path, full_check=True)
        written.append(path)
    return written


def main() -> None:
    """Write the graphs and print their sizes."""
    parser = argparse.ArgumentParser(description="write the ONNX graphs of the pocket towers")
    parser.add_argument("folder", type=Path, help=f"holds {WEIGHTS_FILE}")
    for path in export(parser.parse_args().folder):
        print(f"{path}: {path.stat().st_size / 1024:.0f} KiB")


if __name__ == "__main__":
    main()
