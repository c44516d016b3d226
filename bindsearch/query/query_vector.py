"""A query's vector, and the components it is the sum of."""

from __future__ import annotations

from dataclasses import dataclass

from bindsearch.types import Modality, Vectors


@dataclass(frozen=True, eq=False, slots=True)
class Component:
    """What one operand adds to a query vector, as far as it is of one modality."""

    weight: float
    """Only the ratio of the weights matters."""
    kind: Modality
    vector: Vectors
    """The summand itself, already weighted. *Shape:* (dim,)"""


@dataclass(frozen=True, eq=False)
class QueryVector:
    """A query's unit vector, and the components that add up to it."""

    vector: Vectors
    """*Shape:* (dim,)"""
    components: tuple[Component, ...]
    content: bytes | None = None
    """The digest of the file that the query is, if it is a single whole file."""
