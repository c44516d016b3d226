"""A parsed query -> one unit vector, and each operand's contribution to a score."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bindsearch.errors import EmptyQuery

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from bindsearch.query.query_vector import QueryVector
    from bindsearch.types import Modality, Vectors

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from bindsearch.query.query_vector import QueryVector
    from bindsearch.types import Modality, Vectors

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from bindsearch.query.query_vector import QueryVector
    from bindsearch.types import Modality, Vectors
from typing import TYPE_CHECKING

from bindsearch.query.language import Query

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from bindsearch.query.query_vector import QueryVector
    from bindsearch.types import Modality, Vectors
from typing import TYPE_CHECKING

from bindsearch.query.language import Operand, pointing

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from bindsearch.query.query_vector import QueryVector
    from bindsearch.types import Modality, Vectors

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from bindsearch.query.query_vector import QueryVector
    from bindsearch.types import Modality, Vectors

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from bindsearch.query.query_vector import QueryVector
    from bindsearch.types import Modality, Vectors


CANCELLED = 1e-6
"""Operands whose sum is shorter than this share of their weights point nowhere."""


MORE, LESS = 0.75, 0.25
"""What results that are to the point, and results that are not, weigh together, where the query itself weighs 1."""


@dataclass(frozen=True, eq=False)
class EncodedQuery:
    """A query's unit vector, and what it is made of."""

    query: Query
    vector: Vectors
    """*Shape:* (dim,)"""
    terms: tuple[tuple[float, Vectors], ...]
    """The weight and the unit vector of each operand, in the query's order, then those of results it leans on."""
    names: tuple[str, ...]
    """What each term is, as it is typed, without its sign."""
    kinds: tuple[Mapping[Modality, float], ...] = ()
    """What kinds of things each term's vector is made of, and how much of each; words, if nothing is said."""
    content: bytes | None = None
    """The digest of the file that the query is, if it is one, whole and alone."""

    @property
    def asking(self) -> QueryVector:
        """What a search compares with what chance gives."""
        from bindsearch.query.query_vector import Component, QueryVector
        from bindsearch.types import Modality

        kinds = self.kinds or ({Modality.TEXT: 1.0},) * len(self.terms)
        weights = _weights(self.terms).tolist()
        parts: list[Component] = []
        for weight, (_, vector), shares in zip(weights, self.terms, kinds, strict=True):
            parts += [
                Component(weight * share, kind, (weight * share**2 * vector).astype("float32"))
                for kind, share in shares.items()
            ]
        return QueryVector(self.vector, tuple(parts), self.content)

    @property
    def signed_names(self) -> list[str]:
        """What each term is, with a sign before those that are taken away."""
        signs = ["- " if weight < 0 else "" for weight, _ in self.terms]
        return [sign + name for sign, name in zip(signs, self.names, strict=True)]

    def contributions(self, hit_vector: Vectors) -> list[float]:
        """Split the score of a hit into one part for each term; the parts add up to the score."""
        return [float(part) for part in _shares(self.terms) @ hit_vector]

    def leaning(
        self,
        more: Mapping[str, Vectors],
        less: Mapping[str, Vectors],
        *,
        kinds: Sequence[Mapping[Modality, float]] = (),
    ) -> EncodedQuery:
        """Move towards some results and away from others, as Rocchio does; both are given as name -> unit vector.

        `kinds` says what kinds of things these are. Raises `EmptyQuery` if nothing is left.
        """
        own = zip(_weights(self.terms).tolist(), [vector for _, vector in self.terms], strict=True)
        liked = [(MORE / len(more), vector) for vector in more.values()]
        disliked = [(-LESS / len(less), vector) for vector in less.values()]
        terms = (*own, *liked, *disliked)
        return EncodedQuery(self.query, combine(terms), terms, (*self.names, *more, *less), (*self.kinds, *kinds))


def encode_query(query: Query, embed: Callable[[Operand], Vectors]) -> EncodedQuery:
    """Embed every operand and add them up. Raises `EmptyQuery` if they cancel out, and what embedding raises."""
    import numpy as np

    from bindsearch.core.vectors import unit

    raw = []
    for place, operand in enumerate(query.operands):
        with pointing(query.words, 2 * place + (query.words[0] == "-")) if operand.kind == "concept" else nullcontext():
            raw.append(embed(operand))
    terms = tuple(zip([part.weight for part in query.operands], unit(np.stack(raw)), strict=True))
    return EncodedQuery(query, combine(terms), terms, tuple(part.word for part in query.operands))


def combine(terms: Sequence[tuple[float, Vectors]]) -> Vectors:
    """Add up weighted unit vectors, to unit length. Raises `EmptyQuery` if they cancel out. *Shape:* (dim,)"""
    total: Vectors = _shares(terms).sum(axis=0).astype("float32")
    return total


def _shares(terms: Sequence[tuple[float, Vectors]]) -> NDArray[np.float64]:
    """Scale the terms so that they add up to a unit vector. *Shape:* (len(terms), dim)"""
    import numpy as np

    weights = _weights(terms)
    shares: NDArray[np.float64] = weights[:, None] * np.stack([vector for _, vector in terms], dtype=np.float64)
    return shares


def _weights(terms: Sequence[tuple[float, Vectors]]) -> NDArray[np.float64]:
    """Scale the weights so that the terms add up to a unit vector. *Shape:* (len(terms),)"""
    import numpy as np

    if not any(weight for weight, _ in terms):
        raise EmptyQuery("the query is empty: write words, or name a file")
    weights = np.array([weight for weight, _ in terms], dtype=np.float64)
    weights /= np.abs(weights).max()  # so that no weight, however large or small, leaves the range of floats
    length = np.linalg.norm(weights @ np.stack([vector for _, vector in terms], dtype=np.float64))
    if length < CANCELLED * np.abs(weights).sum():
        raise EmptyQuery("the operands cancel out, and nothing is left to search for: change a weight or drop one")
    scaled: NDArray[np.float64] = weights / length
    return scaled
