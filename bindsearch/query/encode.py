"""From queries to vectors: a query becomes one unit vector, and a score splits into one contribution per operand."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from bindsearch.errors import EmptyQuery
from bindsearch.query.language import Operand, Query, pointing

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from bindsearch.query.query_vector import QueryVector
    from bindsearch.query.request import SearchRequest
    from bindsearch.types import Modality, Vectors

MIN_SUM_SHARE = 1e-6
"""Operands cancel out if their sum is shorter than this share of their weights."""
MORE_LIKE_WEIGHT, LESS_LIKE_WEIGHT = 0.75, 0.25
"""Rocchio's weights: of all `more_like` results together and of all `less_like` ones, where the query weighs 1."""


@dataclass(frozen=True, eq=False)
class EncodedQuery:
    """A query's unit vector, and what it is made of."""

    query: Query
    vector: Vectors
    """*Shape:* (dim,)"""
    terms: tuple[tuple[float, Vectors], ...]
    """The weight and the unit vector of each operand, in the query's order, then those of feedback results."""
    names: tuple[str, ...]
    """What each term is, as it is typed, without its sign."""
    kinds: tuple[Mapping[Modality, float], ...] = ()
    """For each term, the modalities that its vector is made of, with their shares; empty means text throughout."""
    content: bytes | None = None
    """The digest of the file that the query is, if it is a single whole file."""

    @property
    def query_vector(self) -> QueryVector:
        """The vector with its components by modality, as calibration needs it."""
        from bindsearch.query.query_vector import Component, QueryVector
        from bindsearch.types import Modality

        kinds = self.kinds or ({Modality.TEXT: 1.0},) * len(self.terms)
        weights = _normalised_weights(self.terms).tolist()
        components: list[Component] = []
        for weight, (_, vector), shares in zip(weights, self.terms, kinds, strict=True):
            components += [
                Component(weight * share, kind, (weight * share**2 * vector).astype("float32"))
                for kind, share in shares.items()
            ]
        return QueryVector(self.vector, tuple(components), self.content)

    @property
    def signed_names(self) -> list[str]:
        """What each term is, with a minus sign before subtracted ones."""
        signs = ["- " if weight < 0 else "" for weight, _ in self.terms]
        return [sign + name for sign, name in zip(signs, self.names, strict=True)]

    def contributions(self, hit_vector: Vectors) -> list[float]:
        """Split the score of a hit into one contribution per term; they add up to the score."""
        return [float(contribution) for contribution in _weighted_vectors(self.terms) @ hit_vector]

    def with_feedback(
        self,
        more: Mapping[str, Vectors],
        less: Mapping[str, Vectors],
        *,
        kinds: Sequence[Mapping[Modality, float]] = (),
    ) -> EncodedQuery:
        """Move the query towards some results and away from others by Rocchio's rule.

        Results are given by name with their unit vectors; `kinds` are the modalities of `more`, then of `less`.
        Raises `EmptyQuery` if nothing is left.
        """
        own = zip(_normalised_weights(self.terms).tolist(), [vector for _, vector in self.terms], strict=True)
        added = [(MORE_LIKE_WEIGHT / len(more), vector) for vector in more.values()]
        subtracted = [(-LESS_LIKE_WEIGHT / len(less), vector) for vector in less.values()]
        terms = (*own, *added, *subtracted)
        return EncodedQuery(self.query, combine(terms), terms, (*self.names, *more, *less), (*self.kinds, *kinds))


@dataclass(frozen=True, eq=False)
class EncodedRequest:
    """The queries of a search request with their vectors."""

    main: EncodedQuery
    also: tuple[EncodedQuery, ...]
    excluding: tuple[EncodedQuery, ...]

    @classmethod
    def of(cls, request: SearchRequest, encode: Callable[[Query], EncodedQuery]) -> EncodedRequest:
        """Encode all queries of a request."""
        also, excluding = (tuple(map(encode, queries)) for queries in (request.also, request.excluding))
        return cls(encode(request.query), also, excluding)

    @property
    def wanted(self) -> list[QueryVector]:
        """The queries that results must match."""
        return [encoded.query_vector for encoded in (self.main, *self.also)]

    @property
    def unwanted(self) -> list[QueryVector]:
        """The queries that results must not match."""
        return [encoded.query_vector for encoded in self.excluding]

    def with_feedback(
        self, more: Mapping[str, Vectors], less: Mapping[str, Vectors], modalities: Sequence[Modality]
    ) -> EncodedRequest:
        """Move the main query towards `more` and away from `less`; `modalities` are theirs, in this order."""
        kinds = [{modality: 1.0} for modality in modalities]
        return replace(self, main=self.main.with_feedback(more, less, kinds=kinds))


def encode_query(query: Query, embed: Callable[[Operand], Vectors]) -> EncodedQuery:
    """Embed every operand and add them up. Raises `EmptyQuery` if they cancel out, and what `embed` raises."""
    import numpy as np

    from bindsearch.core.vectors import unit

    vectors = []
    for place, operand in enumerate(query.operands):
        word = 2 * place + (query.words[0] == "-")  # between operands stands a sign
        with pointing(query.words, word) if operand.kind == "concept" else nullcontext():
            vectors.append(embed(operand))
    terms = tuple(zip([operand.weight for operand in query.operands], unit(np.stack(vectors)), strict=True))
    return EncodedQuery(query, combine(terms), terms, tuple(operand.word for operand in query.operands))


def combine(terms: Sequence[tuple[float, Vectors]]) -> Vectors:
    """Add up weighted unit vectors and normalise the sum. Raises `EmptyQuery` if they cancel out. *Shape:* (dim,)"""
    total: Vectors = _weighted_vectors(terms).sum(axis=0).astype("float32")
    return total


def _weighted_vectors(terms: Sequence[tuple[float, Vectors]]) -> NDArray[np.float64]:
    """Return the terms, scaled so that they add up to a unit vector. *Shape:* (len(terms), dim)"""
    import numpy as np

    weights = _normalised_weights(terms)
    weighted: NDArray[np.float64] = weights[:, None] * np.stack([vector for _, vector in terms], dtype=np.float64)
    return weighted


def _normalised_weights(terms: Sequence[tuple[float, Vectors]]) -> NDArray[np.float64]:
    """Return the weights with which the terms add up to a unit vector. *Shape:* (len(terms),)"""
    import numpy as np

    if not any(weight for weight, _ in terms):
        raise EmptyQuery("the query is empty: write words, or name a file")
    weights = np.array([weight for weight, _ in terms], dtype=np.float64)
    weights /= np.abs(weights).max()  # keeps very large and very small weights in the range of floats
    length = np.linalg.norm(weights @ np.stack([vector for _, vector in terms], dtype=np.float64))
    if length < MIN_SUM_SHARE * np.abs(weights).sum():
        raise EmptyQuery(
            "the operands cancel out, so nothing is left to search for: change a weight or drop an operand"
        )
    normalised: NDArray[np.float64] = weights / length
    return normalised
