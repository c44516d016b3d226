"""The indexes that must pass the contract suite. A new kind adds one entry."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from bindsearch.indexes.approximate.hnsw import HnswIndex
from bindsearch.indexes.approximate.ivf import IvfIndex
from bindsearch.indexes.approximate.two_stage import TwoStageIndex
from bindsearch.indexes.exact import ExactIndex
from bindsearch.indexes.gpu.faiss_gpu import FaissGpuIndex
from bindsearch.indexes.gpu.faiss_gpu_approximate import FaissGpuCagraIndex, FaissGpuIvfIndex, FaissGpuPqIndex
from bindsearch.indexes.gpu.faiss_probe import FaissGpus
from bindsearch.indexes.scan.scanners import ScanMethod
from bindsearch.indexes.scan.shortlist import DIRECT_RESCORING_ROWS
from fake_gpus import fake_gpus
from third_party import LeadingDimensionsIndex

from bindsearch.ports import Index
from bindsearch.types import SearchEffort


@dataclass(frozen=True, slots=True)
class Kind:
    name: str
    """The registered kind, and after a space what is special about this one."""
    make: Callable[[int], Index]
    """Makes an index of a dimension whose thresholds are so low that a small test takes the way to be tested."""
    recall: float = 1.0
    """The share of the true best that must be found. What is returned must always be right in values and order."""
    prepare: Callable[[Any], None] = lambda index: None
    """Brings a filled index into the state to be tested."""
    needs: str = ""
    """The package without which it cannot be tested."""

    @property
    def missing(self) -> bool:
        return bool(self.needs) and find_spec(self.needs) is None


RESCORED, SCANNED = DIRECT_RESCORING_ROWS, DIRECT_RESCORING_ROWS + 8
"""Numbers of candidates: so few that all are re-scored, and so many that their codes are scanned first."""


def exact(method: ScanMethod) -> Callable[[int], ExactIndex]:
    return lambda dim: ExactIndex(dim, method=method, min_coded_rows=1)


def ivf(dim: int, *, candidates: int = RESCORED) -> IvfIndex:
    return IvfIndex(dim, min_generator_rows=64, effort=SearchEffort(share=0.5, candidates=candidates))


def four_bit_ivf(dim: int) -> IvfIndex:
    index = ivf(dim)
    index.bits = 4
    return index


def hnsw(dim: int, *, candidates: int = RESCORED) -> HnswIndex:
    return HnswIndex(dim, min_generator_rows=64, effort=SearchEffort(share=1.0, candidates=candidates))


def third_party(dim: int, *, candidates: int = RESCORED) -> LeadingDimensionsIndex:
    return LeadingDimensionsIndex(dim, min_generator_rows=64, effort=SearchEffort(share=1.0, candidates=candidates))


def faiss_gpu(dim: int, *, gpus: int = 1) -> FaissGpuIndex:
    return FaissGpuIndex(dim, gpus=fake_gpus(gpus), min_gpu_rows=64)


def faiss_gpu_two_stage(make: Callable[..., Index], *, gpus: int = 1, share: float = 0.5) -> Callable[[int], Index]:
    effort = SearchEffort(share=share, candidates=64)
    return lambda dim: make(dim, min_generator_rows=64, effort=effort, gpus=fake_gpus(gpus))


def torch_on_cpu(dim: int) -> Index:
    from bindsearch.indexes.gpu.torch_gpu import TorchIndex

    return TorchIndex(dim, device="cpu")


TWO_STAGE: dict[str, Any] = {"recall": 0.8, "prepare": TwoStageIndex.build}
WITH_FAISS: dict[str, Any] = TWO_STAGE | {"needs": "faiss"}

KINDS = [
    Kind("exact", ExactIndex),
    Kind("exact by floats", lambda dim: ExactIndex(dim, method=ScanMethod.FLOATS)),
    Kind("exact by numpy", exact(ScanMethod.NUMPY)),
    Kind("exact by faiss", exact(ScanMethod.FAISS), needs="faiss"),
    Kind("exact by torch", exact(ScanMethod.TORCH), needs="torch"),
    Kind("torch on the CPU", torch_on_cpu, needs="torch"),
    Kind("ivf", ivf, **WITH_FAISS),
    Kind("ivf of four bits", four_bit_ivf, **WITH_FAISS),
    Kind("ivf by codes", lambda dim: ivf(dim, candidates=SCANNED), **WITH_FAISS),
    Kind("hnsw", hnsw, **WITH_FAISS),
    Kind("hnsw by codes", lambda dim: hnsw(dim, candidates=SCANNED), **WITH_FAISS),
    Kind("leading-dimensions of a third party", third_party, **TWO_STAGE),
    Kind("leading-dimensions by codes", lambda dim: third_party(dim, candidates=SCANNED), **TWO_STAGE),
    Kind("faiss-gpu on a fake GPU", faiss_gpu, needs="faiss"),
    Kind("faiss-gpu on three fake GPUs", lambda dim: faiss_gpu(dim, gpus=3), needs="faiss"),
    Kind("faiss-gpu without a GPU", lambda dim: FaissGpuIndex(dim, gpus=FaissGpus(None), min_gpu_rows=64)),
    Kind("faiss-gpu-ivf on a fake GPU", faiss_gpu_two_stage(FaissGpuIvfIndex), **WITH_FAISS),
    Kind("faiss-gpu-ivf on two fake GPUs", faiss_gpu_two_stage(FaissGpuIvfIndex, gpus=2), **WITH_FAISS),
    Kind("faiss-gpu-pq on a fake GPU", faiss_gpu_two_stage(FaissGpuPqIndex), **WITH_FAISS),
    Kind("faiss-gpu-cagra on a fake GPU", faiss_gpu_two_stage(FaissGpuCagraIndex, share=1.0), **WITH_FAISS),
    Kind("ivf not built", ivf, needs="faiss"),
]
