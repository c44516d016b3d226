"""All that one search asks: a query, others that must be answered as well or must not be, and what may answer."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias, Unpack

from bindsearch.errors import BadQuery
from bindsearch.query.encode import EncodedQuery
from bindsearch.query.filters import Filters, FilterWords, make_filters
from bindsearch.query.language import Query, query_of
from bindsearch.query.query_vector import QueryVector
from bindsearch.types import Modality, Vectors

Words: TypeAlias = str | os.PathLike[str] | Query


@dataclass(frozen=True)
class SearchRequest:
    """What is asked, before anything is embedded. Raises `BadQuery` for numbers that no result can have."""

    query: Query
    also: tuple[Query, ...] = ()
    """What results must answer as well."""
    excluding: tuple[Query, ...] = ()
    """What results must not answer."""
    more_like: tuple[int, ...] = ()
    """Numbers of results, of the same search without these, that are to the point; from 1 on."""
    less_like: tuple[int, ...] = ()
    k: int = 10
    """How many results are asked for."""
    filters: Filters = field(default_factory=Filters)
    """What may be a result."""
    raw: bool = False
    """Whether plain cosine orders them."""

    def __post_init__(self) -> None:
        for number in (*self.more_like, *self.less_like):
            if not isinstance(number, int) or isinstance(number, bool) or number < 1:
                raise BadQuery(f"no result has the number {number!r}: count them from 1")
        both = sorted(set(self.more_like) & set(self.less_like))
        if both:
            raise BadQuery(f"result {both[0]} cannot be both more and less of what is wanted")
        if not isinstance(self.k, int) or self.k < 1:
            raise BadQuery(f"{self.k} results were asked for; ask for a whole number from 1 on")

    @classmethod
    def of(
        cls,
        query: Words,
        *,
        also: Words | Iterable[Words] = (),
        excluding: Words | Iterable[Words] = (),
        more_like: int | Iterable[int] = (),
        less_like: int | Iterable[int] = (),
        k: int = 10,
        raw: bool = False,
        **given: Unpack[FilterWords],
    ) -> SearchRequest:
        """Read what a program asks. Raises `QueryError`."""
        filters = make_filters(**given)
        return cls(
            query_of(query),
            also=_queries(also),
            excluding=_queries(excluding),
            more_like=_numbers(more_like),
            less_like=_numbers(less_like),
            k=k,
            filters=filters,
            raw=raw,
        )

    @property
    def deepest(self) -> int:
        """The largest number of a result that is leaned on; 0 if none is."""
        return max((*self.more_like, *self.less_like), default=0)


@dataclass(frozen=True, eq=False)
class EncodedRequest:
    """A question with its vectors."""

    main: EncodedQuery
    also: tuple[EncodedQuery, ...]
    excluding: tuple[EncodedQuery, ...]

    @classmethod
    def of(cls, question: SearchRequest, compile: Callable[[Query], EncodedQuery]) -> EncodedRequest:
        """Embed all queries."""
        also, excluding = (tuple(map(compile, queries)) for queries in (question.also, question.excluding))
        return cls(compile(question.query), also, excluding)

    @property
    def wanted(self) -> list[QueryVector]:
        """What results must answer."""
        return [compiled.asking for compiled in (self.main, *self.also)]

    @property
    def unwanted(self) -> list[QueryVector]:
        """What results must not answer."""
        return [compiled.asking for compiled in self.excluding]

    def leaning(
        self, more: Mapping[str, Vectors], less: Mapping[str, Vectors], kinds: Sequence[Modality]
    ) -> EncodedRequest:
        """Move the query towards some results and away from others; `kinds` says what these are, one by one."""
        return replace(self, main=self.main.leaning(more, less, kinds=[{kind: 1.0} for kind in kinds]))


def _queries(given: Words | Iterable[Words]) -> tuple[Query, ...]:
    if isinstance(given, str | os.PathLike | Query):
        return (query_of(given),)
    return tuple(map(query_of, given))


def _numbers(given: int | Iterable[int]) -> tuple[int, ...]:
    return tuple(dict.fromkeys([given] if isinstance(given, int) else given))
