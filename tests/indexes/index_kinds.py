"""The indexes that must pass the contract. A new kind adds one entry."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from bindsearch.indexes.approximate.candidates import SearchEffort
from bindsearch.indexes.approximate.hnsw import HnswIndex
from bindsearch.indexes.approximate.ivf import IvfIndex
from bindsearch.indexes.approximate.two_stage import TwoStageIndex
from bindsearch.indexes.exact import ExactIndex
from bindsearch.indexes.gpu.faiss_gpu import FaissGpuIndex
from bindsearch.indexes.gpu.faiss_gpu_approximate import FaissGpuCagraIndex, FaissGpuIvfIndex, FaissGpuPqIndex
from bindsearch.indexes.gpu.faiss_probe import Cards
from bindsearch.indexes.scan.shortlist import AT_ONCE
from fake_gpus import fake_cards

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


FEW, MORE = AT_ONCE, AT_ONCE + 8
"""Candidates whose vectors are all read, and so many that their codes are looked at first."""


def ivf(dim: int, *, candidates: int = FEW) -> IvfIndex:
    return IvfIndex(dim, min_rows=64, effort=SearchEffort(share=0.5, candidates=candidates))


def fine_cells(dim: int) -> IvfIndex:
    index = ivf(dim)
    index.bits = 4
    return index


def hnsw(dim: int, *, candidates: int = FEW) -> HnswIndex:
    return HnswIndex(dim, min_rows=64, effort=SearchEffort(share=1.0, candidates=candidates))


def on_cards(dim: int, *, cards: int = 1) -> FaissGpuIndex:
    return FaissGpuIndex(dim, cards=fake_cards(cards), small=64)


def found_on_cards(make: Callable[..., Index], *, cards: int = 1, share: float = 0.5) -> Callable[[int], Index]:
    effort = SearchEffort(share=share, candidates=64)
    return lambda dim: make(dim, min_rows=64, effort=effort, cards=fake_cards(cards))


def on_processor(dim: int) -> Index:
    from bindsearch.indexes.gpu.torch_gpu import TorchIndex

    return TorchIndex(dim, device="cpu")


ON_CARDS: dict[str, Any] = {"recall": 0.8, "ready": TwoStageIndex.build, "needs": "faiss"}

KINDS = [
    Kind("exact", ExactIndex),
    Kind("exact by floats", lambda dim: ExactIndex(dim, by="floats")),
    Kind("exact by bytes", lambda dim: ExactIndex(dim, by="bytes", coded_rows=1)),
    Kind("exact by faiss", lambda dim: ExactIndex(dim, by="faiss", coded_rows=1), needs="faiss"),
    Kind("exact by torch", lambda dim: ExactIndex(dim, by="torch", coded_rows=1), needs="torch"),
    Kind("torch on the processor", on_processor, needs="torch"),
    Kind("ivf", ivf, recall=0.8, ready=IvfIndex.build, needs="faiss"),
    Kind("ivf of four bits", fine_cells, recall=0.8, ready=IvfIndex.build, needs="faiss"),
    Kind("ivf by codes", lambda dim: ivf(dim, candidates=MORE), recall=0.8, ready=IvfIndex.build, needs="faiss"),
    Kind("hnsw", hnsw, recall=0.8, ready=HnswIndex.build, needs="faiss"),
    Kind("hnsw by codes", lambda dim: hnsw(dim, candidates=MORE), recall=0.8, ready=HnswIndex.build, needs="faiss"),
    Kind("faiss-gpu by a fake card", on_cards, needs="faiss"),
    Kind("faiss-gpu by three fake cards", lambda dim: on_cards(dim, cards=3), needs="faiss"),
    Kind("faiss-gpu without a card", lambda dim: FaissGpuIndex(dim, cards=Cards(None), small=64)),
    Kind("faiss-gpu-ivf by a fake card", found_on_cards(FaissGpuIvfIndex), **ON_CARDS),
    Kind("faiss-gpu-ivf by two fake cards", found_on_cards(FaissGpuIvfIndex, cards=2), **ON_CARDS),
    Kind("faiss-gpu-pq by a fake card", found_on_cards(FaissGpuPqIndex), **ON_CARDS),
    Kind("faiss-gpu-cagra by a fake card", found_on_cards(FaissGpuCagraIndex, share=1.0), **ON_CARDS),
    Kind("ivf not built", ivf, needs="faiss"),
]
