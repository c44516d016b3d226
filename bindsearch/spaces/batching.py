"""Encode prepared pieces in batches: choose the batch size, back off when memory runs out, check and normalise vectors.

Every vector of every space is made here.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from bindsearch.core.vectors import unit
from bindsearch.errors import BindsearchError, OutOfMemory, SpaceError
from bindsearch.ports import CostModel, Encoder, Prepared
from bindsearch.types import Modality, Vectors

DEFAULT_BATCH_SIZE = 32
"""Pieces per batch, for an encoder without a `CostModel`."""
MAX_BATCH_SIZE = 512
"""Pieces per batch at most, however little they cost."""
BATCH_COSTS = {
    Modality.IMAGE: 32 * 224 * 224,
    Modality.VIDEO: 32 * 224 * 224,
    Modality.TEXT: 32 * 77,
    Modality.AUDIO: 32 * 2.0,
}
"""Total cost of a batch on a CPU: pixels, tokens or seconds."""
GPU_FACTOR = 8
"""How many times as much a batch on a GPU may cost."""
OUT_OF_MEMORY_MESSAGES = (
    *("out of memory", "can't allocate memory"),  # torch
    *("Failed to allocate memory", "bad_alloc", "bad allocation"),  # ONNX Runtime
)


class BatchEncoder:
    """Encodes prepared pieces in batches that fit into memory; checks and normalises the vectors."""

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder
        self._limits: dict[Modality, int] = {}
        """Batch sizes that fitted into memory after larger batches did not."""

    def batch_size(self, modality: Modality) -> int:
        """Return the number of pieces per batch, by cost and by what fitted into memory so far."""
        return min(self._limits.get(modality, MAX_BATCH_SIZE), self._planned_size(modality))

    def _planned_size(self, modality: Modality) -> int:
        encoder = self._encoder
        if not isinstance(encoder, CostModel):
            return DEFAULT_BATCH_SIZE
        budget = BATCH_COSTS[modality] * (1 if encoder.device == "cpu" else GPU_FACTOR)
        return max(1, min(MAX_BATCH_SIZE, int(budget / encoder.cost(modality))))

    def encode(self, modality: Modality, prepared: Sequence[Prepared]) -> Vectors:
        """Encode to unit vectors. *Shape:* (len(prepared), dim)

        Raises `SpaceError` if the encoder fails or returns a wrong shape, a zero vector or values that are not finite,
        and `OutOfMemory` if a single piece does not fit into memory.
        """
        blocks, start = [], 0
        while start < len(prepared):
            batch = prepared[start : start + self.batch_size(modality)]
            block = self._attempt(modality, batch)
            if block is None:
                self._halve(modality, len(batch))
                continue
            blocks.append(block)
            start += len(batch)
        return np.concatenate(blocks) if blocks else np.empty((0, self._encoder.spec.dim), dtype=np.float32)

    def _attempt(self, modality: Modality, batch: Sequence[Prepared]) -> Vectors | None:
        """Encode a batch. Return None if memory ran out."""
        name = self._encoder.spec.name
        try:
            vectors = self._encoder.encode(modality, batch)
        except BindsearchError:
            raise
        except Exception as error:  # models raise anything; the run continues without the file
            if is_out_of_memory(error):
                return None
            raise SpaceError(f"space {name} failed: {type(error).__name__}: {error}") from error
        if vectors.shape != (len(batch), self._encoder.spec.dim):
            raise SpaceError(
                f"space {name} returned the shape {vectors.shape}, not {(len(batch), self._encoder.spec.dim)}"
            )
        if not np.isfinite(vectors).all() or not vectors.any(axis=1).all():
            raise SpaceError(f"space {name} returned a vector for {modality} that is zero or not finite")
        return unit(vectors)

    def _halve(self, modality: Modality, failed_size: int) -> None:
        """Halve the batch size from now on. Called outside `except`, so that the failed batch is freed already."""
        if failed_size == 1:
            raise OutOfMemory(
                f"space {self._encoder.spec.name} ran out of memory with a single piece of {modality}: "
                "close other programs, or use a smaller model"
            )
        self._limits[modality] = failed_size // 2
        free_memory()


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error means that memory ran out.

    torch has a type for GPUs but only a message for CPUs, and ONNX Runtime a message for both.
    """
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    if not (isinstance(error, RuntimeError) or type(error).__module__.startswith("onnxruntime.")):
        return False
    return any(message in str(error) for message in OUT_OF_MEMORY_MESSAGES)


def free_memory() -> None:
    """Release cached memory, so that a smaller batch fits."""
    gc.collect()
    torch: Any = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()
