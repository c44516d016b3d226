"""The one encode path: how large a batch is, what happens when memory runs out, and how vectors become unit vectors.

Every vector of every space comes by here, whoever asked for it.
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

BATCH = 32
"""Pieces that are encoded together, for an encoder that does not say what a piece costs."""
LARGEST = 512
"""Pieces that are encoded together at most, however little they cost."""
BUDGET = {
    Modality.IMAGE: 32 * 224 * 224,
    Modality.VIDEO: 32 * 224 * 224,
    Modality.TEXT: 32 * 77,
    Modality.AUDIO: 32 * 2.0,
}
"""Pixels, tokens or seconds that are encoded together on a processor."""
ACCELERATED = 8
"""How many times as much goes to a GPU at once."""


class BatchEncoder:
    """Encodes what an encoder prepared: in batches that fit, checked and normalised."""

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder
        self._fits: dict[Modality, int] = {}
        """What was found to fit into memory, where the budget did not."""

    def batch_size(self, modality: Modality) -> int:
        """Return how many pieces are encoded together: as many as the budget allows, and as memory was found to
        hold.
        """
        return min(self._fits.get(modality, LARGEST), self._planned(modality))

    def _planned(self, modality: Modality) -> int:
        encoder = self._encoder
        if not isinstance(encoder, CostModel):
            return BATCH
        budget = BUDGET[modality] * (1 if encoder.device == "cpu" else ACCELERATED)
        return max(1, min(LARGEST, int(budget / encoder.cost(modality))))

    def encode(self, modality: Modality, prepared: Sequence[Prepared]) -> Vectors:
        """Encode to unit vectors. *Shape:* (len(prepared), dim)

        Raises `SpaceError` when the encoder fails or breaks its word (a wrong shape, values that are zero or not
        finite), `OutOfMemory` when memory does not suffice for a single piece.
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
        """Encode a batch; None if memory ran out."""
        name = self._encoder.spec.name
        try:
            vectors = self._encoder.encode(modality, batch)
        except BindsearchError:
            raise
        except Exception as error:  # whatever a model raises: the run goes on without the file
            if is_out_of_memory(error):
                return None
            raise SpaceError(f"space {name} failed: {type(error).__name__}: {error}") from error
        if vectors.shape != (len(batch), self._encoder.spec.dim):
            raise SpaceError(f"space {name} gave {vectors.shape}, not {(len(batch), self._encoder.spec.dim)}")
        if not np.isfinite(vectors).all() or not vectors.any(axis=1).all():
            raise SpaceError(f"space {name} gave an {modality} vector that is zero or not finite")
        return unit(vectors)

    def _halve(self, modality: Modality, tried: int) -> None:
        """Take half as much from now on. Outside of the `except`, so that what failed has let go of its memory."""
        if tried == 1:
            raise OutOfMemory(
                f"space {self._encoder.spec.name} ran out of memory with a single piece of {modality}: "
                "close other programs, or take a smaller model"
            )
        self._fits[modality] = tried // 2
        free_memory()


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out; torch says so by a type for GPUs, and by words elsewhere."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    words = str(error)
    return isinstance(error, RuntimeError) and ("out of memory" in words or "can't allocate memory" in words)


def free_memory() -> None:
    """Return back what is held in reserve, so that a smaller batch finds room."""
    gc.collect()
    torch: Any = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()
