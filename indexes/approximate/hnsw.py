"""Approximate search in a graph: the fastest single answers, where little is removed and building may take long."""

from __future__ import annotations

from typing import ClassVar

from bindsearch.types import SearchEffort

from .hnsw_graph import HnswGraph
from .two_stage import TwoStageIndex


class HnswIndex(TwoStageIndex):
    """A two-stage index whose candidates come from an HNSW graph."""

    kind = "hnsw"
    generator_type = HnswGraph
    default_effort: ClassVar[SearchEffort] = SearchEffort(share=1.0, candidates=128)
