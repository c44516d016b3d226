"""A query vector and the components it is the sum of."""

from __future__ import annotations

from dataclasses import dataclass

from bindsearch.types import Modality, Vectors


@dataclass(frozen=True, eq=False, slots=True)
class Component:
    """So much of a unit vector of this kind."""

    weight: float
    """Only how weights compare counts."""
    kind: Modality
    vector: Vectors
    """What it adds to the query. *Shape:* (dim,)"""


@dataclass(frozen=True, eq=False)
class QueryVector:
    """A query's unit vector, and the parts that add up to it. *Shape of vector:* (dim,)"""

    vector: Vectors
    components: tuple[Component, ...]
    content: bytes | None = None
    """The digest of the file that this is, if it is one, whole and alone."""
