"""The indexes that must pass the contract. A new kind adds one entry."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from bindsearch.indexes._cells import Effort
from bindsearch.indexes.exact import ExactIndex
from bindsearch.indexes.ivf import IvfIndex

from bindsearch.ports import Index


@dataclass(frozen=True, slots=True)
class Kind:
    name: str
    make: Callable[[int], Index]
    """From a dimension, an index that is as small libraries' are but for what it does: it takes its way at once."""
    recall: float = 1.0
    """What is returned is always right in values and order; this share of the true best is found."""
    ready: Callable[[Any], None] = lambda index: None
    """Puts it, once it is filled, into the state in which it takes its way."""
    needs: str = ""
    """The package without which it cannot be tried."""

    @property
    def missing(self) -> bool:
        return bool(self.needs) and find_spec(self.needs) is None


def ivf(dim: int) -> IvfIndex:
    return IvfIndex(dim, min_rows=64, effort=Effort(share=0.5, candidates=64))


def on_processor(dim: int) -> Index:
    from bindsearch.indexes.torch_gpu import TorchIndex

    return TorchIndex(dim, device="cpu")


KINDS = [
    Kind("exact", ExactIndex),
    Kind("exact by floats", lambda dim: ExactIndex(dim, by="floats")),
    Kind("exact by bytes", lambda dim: ExactIndex(dim, by="bytes", coded_rows=1)),
    Kind("exact by faiss", lambda dim: ExactIndex(dim, by="faiss", coded_rows=1), needs="faiss"),
    Kind("exact by torch", lambda dim: ExactIndex(dim, by="torch", coded_rows=1), needs="torch"),
    Kind("torch on the processor", on_processor, needs="torch"),
    Kind("ivf", ivf, recall=0.8, ready=IvfIndex.build, needs="faiss"),
    Kind("ivf not built", ivf, needs="faiss"),
]
