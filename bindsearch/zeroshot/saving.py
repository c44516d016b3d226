"""Save and load a classifier: a safetensors file with JSON in its header, bound to the space it was made in."""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from bindsearch.core.files import replacing
from bindsearch.errors import BadQuery, SpaceMismatch
from bindsearch.spaces.space import Space
from bindsearch.types import Modality, Vectors
from bindsearch.zeroshot.classifier import Classifier
from bindsearch.zeroshot.examples import ExampleCache
from bindsearch.zeroshot.prompts import Prompts

FORMAT = "bindsearch classifier 1"
DESCRIPTION_KEY = "told"
"""Part of the file format."""
_LENGTH = struct.Struct("<Q")


def serialise(classifier: Classifier) -> bytes:
    """Return a classifier as bytes, with its prompt vectors for every modality of the space."""
    from safetensors.numpy import save

    spec = classifier.spec
    modalities = sorted(spec.modalities)
    prompts = classifier.prompts
    arrays: dict[str, Any] = {f"words.{modality}": prompts.rows(modality) for modality in modalities}
    arrays |= {f"centre.{modality}": centre for modality, centre in classifier.centre.items()}
    for kind, cache in classifier.example_caches.items():
        arrays |= {f"examples.{kind}": cache.keys, f"labels.{kind}": cache.codes}
    description = {
        "format": FORMAT,
        "space": spec.name,
        "fingerprint": spec.fingerprint,
        "labels": list(classifier.labels),
        "background": list(classifier.background),
        "temperature": classifier.temperature,
        "crowding": classifier.prior_exponent,
        "templates": {modality: list(prompts.templates[modality]) for modality in modalities},
        "weights": {modality: weights.tolist() for modality, weights in prompts.weights.items()},
        "examples": {
            kind: {"share": cache.share, "width": cache.width, "judged": cache.judged}
            for kind, cache in classifier.example_caches.items()
        },
    }
    raw: bytes = save(
        {name: np.ascontiguousarray(array) for name, array in arrays.items()},
        {DESCRIPTION_KEY: json.dumps(description)},
    )
    return raw


def deserialise(raw: bytes, space: Space, *, name: str) -> Classifier:
    """Read what `serialise` returned; `name` names it in errors. Raises `SpaceMismatch`, `BadQuery`."""
    description = read_header(raw, name=name)
    spec = space.spec
    if description["fingerprint"] != spec.fingerprint:
        raise SpaceMismatch(
            f"{name} is a classifier of space {description['space']} ({description['fingerprint'][:12]}), "
            f"not of {spec.name} ({spec.fingerprint[:12]}): use it with that space, or create it again from its labels"
        )
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        return _assembled(description, load(raw), space)
    except (SafetensorError, BadQuery, AttributeError, KeyError, TypeError, ValueError, IndexError) as error:
        raise _damaged(name, error) from error


def read_header(raw: bytes, *, name: str) -> dict[str, Any]:
    """Read the description of a classifier, without its arrays. Raises `BadQuery`."""
    try:
        size = _LENGTH.unpack_from(raw)[0]
        header = json.loads(raw[_LENGTH.size : _LENGTH.size + size])
        description: dict[str, Any] = json.loads(header["__metadata__"][DESCRIPTION_KEY])
        if description["format"] != FORMAT:
            raise ValueError(f"its format is {description['format']!r}")
        _ = description["space"], description["fingerprint"][:12], description["labels"]
    except (struct.error, ValueError, KeyError, TypeError, RecursionError) as error:
        raise _damaged(name, error) from error
    return description


def save_classifier(classifier: Classifier, path: str | os.PathLike[str]) -> None:
    """Write a classifier to a file, atomically. Raises `OSError`."""
    raw = serialise(classifier)
    with replacing(Path(path)) as draft:
        draft.write_bytes(raw)


def load_classifier(path: str | os.PathLike[str], space: Space) -> Classifier:
    """Read what `save_classifier` wrote. Raises `SpaceMismatch`, `BadQuery`, `OSError`."""
    return deserialise(Path(path).read_bytes(), space, name=str(path))


def space_of(path: Path) -> str:
    """Return the name of the space that a classifier was made in. Raises `BadQuery`, `OSError`."""
    return str(read_header(path.read_bytes(), name=str(path))["space"])


def _assembled(description: Mapping[str, Any], arrays: Mapping[str, Any], space: Space) -> Classifier:
    """Assemble a classifier and check that its parts fit. Raises `ValueError`, `KeyError`, `TypeError`."""
    classifier = Classifier(space, description["labels"])
    if list(classifier.labels) != description["labels"]:
        raise ValueError("its labels are invalid")
    classifier.background = tuple(map(str, description["background"]))
    classifier.temperature = _positive(description["temperature"])
    classifier.prior_exponent = _positive(description.get("crowding", 1.0))  # files of format 1 may lack it
    labels = (*classifier.labels, *classifier.background)
    templates = {Modality(modality): tuple(some) for modality, some in description["templates"].items()}
    rows = {
        modality: _shaped(arrays[f"words.{modality}"], (len(labels), len(some), space.spec.dim))
        for modality, some in templates.items()
    }
    weights = {
        Modality(modality): np.array(some, dtype=np.float64).reshape(len(templates[Modality(modality)]))
        for modality, some in description["weights"].items()
    }
    classifier.prompts = Prompts(space, labels, templates, weights=weights, rows=rows)
    dim = (space.spec.dim,)
    classifier.centre = {kind: _shaped(row, dim) for kind, row in _by_modality(arrays, "centre").items()}
    classifier.example_caches = {
        kind: _example_cache(description, arrays, kind, classifier) for kind in _by_modality(arrays, "examples")
    }
    return classifier


def _example_cache(
    description: Mapping[str, Any], arrays: Mapping[str, Any], kind: Modality, classifier: Classifier
) -> ExampleCache:
    codes = arrays[f"labels.{kind}"]
    keys = _shaped(arrays[f"examples.{kind}"], (len(codes), classifier.spec.dim))
    if codes.dtype != np.int64 or not len(codes) or not 0 <= codes.min() <= codes.max() < len(classifier.labels):
        raise ValueError("an example has an unknown label")
    fitted = description["examples"][kind]
    return ExampleCache(keys, codes, float(fitted["share"]), _positive(fitted["width"]), int(fitted["judged"]))


def _by_modality(arrays: Mapping[str, Any], prefix: str) -> dict[Modality, Any]:
    found = {name: array for name, array in arrays.items() if name.startswith(f"{prefix}.")}
    return {Modality(name.partition(".")[2]): array for name, array in found.items()}


def _shaped(array: Any, shape: tuple[int, ...]) -> Vectors:
    if array.shape != shape or array.dtype != np.float32 or not np.isfinite(array).all():
        raise ValueError(f"expected an array of shape {shape}, not {array.shape}")
    vectors: Vectors = array
    return vectors


def _positive(number: Any) -> float:
    if not 0 < float(number) < float("inf"):
        raise ValueError(f"{number} is not positive")
    return float(number)


def _damaged(name: str, error: Exception) -> BadQuery:
    return BadQuery(f"{name} is not a classifier saved by bindsearch, or is damaged ({type(error).__name__}: {error})")
