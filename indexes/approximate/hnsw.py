"""Approximate search in a graph: the quickest single answers, where little is removed and building may take long."""

from __future__ import annotations

from typing import ClassVar

from .candidates import SearchEffort
from .hnsw_graph import Graph
from .two_stage import TwoStageIndex


class HnswIndex(TwoStageIndex):
    """An exact index whose large block has a graph."""

    kind = "hnsw"
    generator = Graph
    usual: ClassVar[SearchEffort] = SearchEffort(share=1.0, candidates=128)
