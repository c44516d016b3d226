"""Approximate search in a graph: the quickest single answers, where little is removed and building may take long."""

from __future__ import annotations

from typing import ClassVar

from .candidates import Effort
from .hnsw_graph import Graph
from .two_stage import BuiltIndex


class HnswIndex(BuiltIndex):
    """An exact index whose large block has a graph."""

    kind = "hnsw"
    finder = Graph
    usual: ClassVar[Effort] = Effort(share=1.0, candidates=128)
