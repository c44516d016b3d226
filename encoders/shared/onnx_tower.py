"""Towers as ONNX graphs, run by ONNX Runtime: on the CPU, or on an accelerator that gives the same vectors."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import onnxruntime

from bindsearch.errors import DamagedWeights, MissingWeights
from bindsearch.types import Vectors

from .cores import usable_cores

Tower = TypeVar("Tower", bound=Callable[[Any], Vectors])

CPU = "CPUExecutionProvider"
ACCELERATORS = ("CUDAExecutionProvider", "CoreMLExecutionProvider", "DmlExecutionProvider")
"""Execution providers of ONNX Runtime that are tried where they are installed, in this order."""
MIN_COSINE = 0.9999
"""Between the vectors of an accelerator and of the CPU; one that falls below it is not used."""
FATAL = 4
"""Severity from which ONNX Runtime writes to standard error; what is less it raises."""


class OnnxTower:
    """Turns a batch of one modality into vectors."""

    def __init__(self, session: Any) -> None:
        self._session = session
        self._input = session.get_inputs()[0].name

    @classmethod
    def load(cls, path: Path, *, weights: str, probe: Callable[[], Any]) -> OnnxTower:
        """Read a graph and the weights beside it, which have the SHA-256 `weights`.

        The first accelerator is used whose vectors agree with the CPU's on the batch that `probe` returns; without one,
        the CPU. Raises `MissingWeights` if there is no graph or it was written for other weights, and
        `DamagedWeights` if it cannot be read.
        """
        tower = cls(_session(path, CPU))
        made_for = tower._session.get_modelmeta().custom_metadata_map.get("weights")
        if made_for != weights:
            raise MissingWeights(f"{path} was written for other weights than those beside it: install bindsearch again")
        accelerated = (cls._accelerated(path, provider) for provider in installed_accelerators())
        return choose(tower, (each for each in accelerated if each is not None), probe)

    @classmethod
    def _accelerated(cls, path: Path, provider: str) -> OnnxTower | None:
        try:
            session = _session(path, provider)
        except DamagedWeights:  # the CPU read them: it is the accelerator that cannot
            return None
        return cls(session) if session.get_providers()[0] == provider else None

    @property
    def provider(self) -> str:
        """The execution provider that computes the vectors."""
        return str(self._session.get_providers()[0])

    def __call__(self, batch: Any) -> Vectors:
        """Embed a batch. *Shape:* (n, ...) to (n, dim), float32, not normalised."""
        vectors: Vectors = self._session.run(None, {self._input: batch})[0]
        return vectors


def installed_accelerators() -> list[str]:
    """Return the accelerators that this ONNX Runtime was built for; none with `BINDSEARCH_DEVICE=cpu`."""
    if os.environ.get("BINDSEARCH_DEVICE") == "cpu":
        return []
    available = onnxruntime.get_available_providers()
    return [name for name in ACCELERATORS if name in available]


def choose(reference: Tower, others: Iterable[Tower], probe: Callable[[], Any]) -> Tower:
    """Return the first of the other towers whose vectors of a probe agree with the reference's, or the reference."""
    return next((other for other in others if _agrees(other, reference, probe())), reference)


def _agrees(tower: Callable[[Any], Vectors], reference: Callable[[Any], Vectors], probe: Any) -> bool:
    try:
        vectors, expected = tower(probe), reference(probe)
    except Exception:  # drivers raise anything
        return False
    lengths = np.linalg.norm(vectors, axis=1) * np.linalg.norm(expected, axis=1)
    return bool(((vectors * expected).sum(axis=1) >= MIN_COSINE * lengths).all())  # False for NaN


def session_options() -> Any:
    """Return options with a thread for each core that may be used, none of which spins while it waits.

    By default ONNX Runtime's threads wait in a loop: beside other work, they take its time without computing anything.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = usable_cores()
    options.inter_op_num_threads = 1
    options.log_severity_level = FATAL
    for pool in ("intra_op", "inter_op"):
        options.add_session_config_entry(f"session.{pool}.allow_spinning", "0")
    return options


def _session(path: Path, provider: str) -> Any:
    if not path.is_file():
        raise MissingWeights(f"{path} is missing: install bindsearch again")
    options, providers = session_options(), list(dict.fromkeys([provider, CPU]))
    try:
        return onnxruntime.InferenceSession(path, options, providers, enable_fallback=0)
    except Exception as error:  # each kind of failure is a class of its own, with no other base
        reason = str(error).partition("\n")[0]
        raise DamagedWeights(f"{path} cannot be loaded ({reason}); install bindsearch again") from error
