"""A classifier as a file: safetensors, with what is not an array as JSON in its header. Bound to one space."""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from bindsearch.errors import BadQuery, SpaceMismatch
from bindsearch.spaces.space import Space
from bindsearch.types import Modality, Vectors
from bindsearch.zeroshot.classifier import Classifier
from bindsearch.zeroshot.examples import ExampleCache
from bindsearch.zeroshot.prompts import Prompts

FORMAT = "bindsearch classifier 1"
_LENGTH = struct.Struct("<Q")


def pack(classifier: Classifier) -> bytes:
    """Return the bytes of a classifier, with the vectors of its words for every modality of its space."""
    from safetensors.numpy import save

    spec = classifier.spec
    modalities = sorted(spec.modalities)
    prompts = classifier.prompts
    arrays: dict[str, Any] = {f"words.{modality}": prompts.rows(modality) for modality in modalities}
    arrays |= {f"centre.{modality}": centre for modality, centre in classifier.centre.items()}
    for kind, memory in classifier.memories.items():
        arrays |= {f"examples.{kind}": memory.keys, f"labels.{kind}": memory.codes}
    told = {
        "format": FORMAT,
        "space": spec.name,
        "fingerprint": spec.fingerprint,
        "labels": list(classifier.labels),
        "background": list(classifier.background),
        "temperature": classifier.temperature,
        "crowding": classifier.crowding,
        "templates": {modality: list(prompts.templates[modality]) for modality in modalities},
        "weights": {modality: weights.tolist() for modality, weights in prompts.weights.items()},
        "examples": {
            kind: {"share": memory.share, "width": memory.width, "judged": memory.judged}
            for kind, memory in classifier.memories.items()
        },
    }
    whole: bytes = save(
        {name: np.ascontiguousarray(array) for name, array in arrays.items()}, {"told": json.dumps(told)}
    )
    return whole


def unpack(raw: bytes, space: Space, *, name: str) -> Classifier:
    """Read what `pack` gave; `name` says in errors what it is. Raises `SpaceMismatch`, `BadQuery`."""
    told = told_in(raw, name=name)
    spec = space.spec
    if told["fingerprint"] != spec.fingerprint:
        raise SpaceMismatch(
            f"{name} is a classifier of space {told['space']} ({told['fingerprint'][:12]}), not of {spec.name} "
            f"({spec.fingerprint[:12]}): use it with that space, or make it anew from its labels"
        )
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        return _made(told, load(raw), space)
    except (SafetensorError, BadQuery, AttributeError, KeyError, TypeError, ValueError, IndexError) as error:
        raise _damaged(name, error) from error


def told_in(raw: bytes, *, name: str) -> dict[str, Any]:
    """Read what a classifier is, without its arrays. Raises `BadQuery`."""
    try:
        size = _LENGTH.unpack_from(raw)[0]
        header = json.loads(raw[_LENGTH.size : _LENGTH.size + size])
        told: dict[str, Any] = json.loads(header["__metadata__"]["told"])
        if told["format"] != FORMAT:
            raise ValueError(f"it is a {told['format']}")
        _ = told["space"], told["fingerprint"][:12], told["labels"]
    except (struct.error, ValueError, KeyError, TypeError, RecursionError) as error:
        raise _damaged(name, error) from error
    return told


def write(classifier: Classifier, path: Path) -> None:
    """Write a classifier, whole or not at all. Raises `OSError`."""
    raw = pack(classifier)
    fresh = path.with_name(f"{path.name}.new")
    try:
        fresh.write_bytes(raw)
        os.replace(fresh, path)
    except OSError as error:  # of the file that was asked for: nobody knows the other
        with suppress(OSError):
            fresh.unlink()
        raise OSError(error.errno, error.strerror, str(path)) from error


def read(path: Path, space: Space) -> Classifier:
    """Read what `write` wrote. Raises `SpaceMismatch`, `BadQuery`, `OSError`."""
    return unpack(path.read_bytes(), space, name=str(path))


def space_of(path: Path) -> str:
    """Return the name of the space that a classifier was made in. Raises `BadQuery`, `OSError`."""
    return str(told_in(path.read_bytes(), name=str(path))["space"])


def _made(told: Mapping[str, Any], arrays: Mapping[str, Any], space: Space) -> Classifier:
    """Put a classifier together, and see that its parts fit. Raises `ValueError`, `KeyError`, `TypeError`."""
    made = Classifier(space, told["labels"])
    if list(made.labels) != told["labels"]:
        raise ValueError("its labels are not labels")
    made.background = tuple(map(str, told["background"]))
    made.temperature = _positive(told["temperature"])
    made.crowding = _positive(told.get("crowding", 1.0))  # what was saved before there was a choice
    labels = (*made.labels, *made.background)
    templates = {Modality(modality): tuple(some) for modality, some in told["templates"].items()}
    rows = {
        modality: _shaped(arrays[f"words.{modality}"], (len(labels), len(some), space.spec.dim))
        for modality, some in templates.items()
    }
    weights = {
        Modality(modality): np.array(some, dtype=np.float64).reshape(len(templates[Modality(modality)]))
        for modality, some in told["weights"].items()
    }
    made.prompts = Prompts(space, labels, templates, weights=weights, rows=rows)
    dim = (space.spec.dim,)
    made.centre = {kind: _shaped(row, dim) for kind, row in _of(arrays, "centre").items()}
    made.memories = {kind: _memory(told, arrays, kind, made) for kind in _of(arrays, "examples")}
    return made


def _memory(told: Mapping[str, Any], arrays: Mapping[str, Any], kind: Modality, made: Classifier) -> ExampleCache:
    codes = arrays[f"labels.{kind}"]
    keys = _shaped(arrays[f"examples.{kind}"], (len(codes), made.spec.dim))
    if codes.dtype != np.int64 or not len(codes) or not 0 <= codes.min() <= codes.max() < len(made.labels):
        raise ValueError("an example has a label that there is not")
    about = told["examples"][kind]
    return ExampleCache(keys, codes, float(about["share"]), _positive(about["width"]), int(about["judged"]))


def _of(arrays: Mapping[str, Any], what: str) -> dict[Modality, Any]:
    found = {name: array for name, array in arrays.items() if name.startswith(f"{what}.")}
    return {Modality(name.partition(".")[2]): array for name, array in found.items()}


def _shaped(array: Any, shape: tuple[int, ...]) -> Vectors:
    if array.shape != shape or array.dtype != np.float32 or not np.isfinite(array).all():
        raise ValueError(f"an array of {array.shape} stands where one of {shape} belongs")
    vectors: Vectors = array
    return vectors


def _positive(number: Any) -> float:
    if not 0 < float(number) < float("inf"):
        raise ValueError(f"{number} is not above zero")
    return float(number)


def _damaged(name: str, error: Exception) -> BadQuery:
    return BadQuery(f"{name} is no classifier that bindsearch saved, or is damaged ({type(error).__name__}: {error})")
