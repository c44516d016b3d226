"""The search request: everything that one search asks, as a value that can be written to JSON and read back."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Self, TypeAlias

from bindsearch.core.paths import PathOrPaths
from bindsearch.errors import BadQuery
from bindsearch.query.filters import Filters
from bindsearch.query.language import Query, query_of, text

Words: TypeAlias = str | os.PathLike[str] | Query
"""A query as programs give it: a string is a file if one has this name, and text otherwise."""


@dataclass(frozen=True)
class SearchRequest:
    """Everything that one search asks. `SearchRequest.of` makes one from plain strings and numbers.

    Raises `BadQuery` for numbers that make no sense.
    """

    query: Query
    also: tuple[Query, ...] = ()
    """Further queries that results must match, too."""
    excluding: tuple[Query, ...] = ()
    """Queries that results must not match."""
    more_like: tuple[int, ...] = ()
    """Relevant results: their numbers, from 1, in the same search without feedback."""
    less_like: tuple[int, ...] = ()
    """Irrelevant results, likewise."""
    k: int = 10
    """The number of results."""
    raw: bool = False
    """Whether results are ordered by cosine instead of E-value."""
    filters: Filters = field(default_factory=Filters)
    """The conditions that results must meet."""
    max_expect: float = math.inf
    """The largest E-value that a result may have."""
    why: bool = False
    """Whether hits are explained."""

    def __post_init__(self) -> None:
        for number in (*self.more_like, *self.less_like):
            if not isinstance(number, int) or isinstance(number, bool) or number < 1:
                raise BadQuery(f"no result has the number {number!r}: count them from 1")
        both = sorted(set(self.more_like) & set(self.less_like))
        if both:
            raise BadQuery(f"result {both[0]} cannot be both in more_like and in less_like: name it in one of them")
        if not isinstance(self.k, int) or self.k < 1:
            raise BadQuery(f"cannot return {self.k} results: k must be a whole number of at least 1")
        if not self.max_expect >= 0:
            raise BadQuery(f"max_expect is {self.max_expect}: it must be a number of at least 0")

    @classmethod
    def of(
        cls,
        query: Words | SearchRequest,
        *,
        k: int = 10,
        raw: bool = False,
        modality: str | Iterable[str] | None = None,
        under: PathOrPaths | None = None,
        since: str | date | None = None,
        ext: str | Iterable[str] | None = None,
        where: Mapping[str, str] | None = None,
        tag: str | Iterable[str] | None = None,
        also: Words | Iterable[Words] = (),
        excluding: Words | Iterable[Words] = (),
        more_like: int | Iterable[int] = (),
        less_like: int | Iterable[int] = (),
        max_expect: float = math.inf,
        why: bool = False,
    ) -> SearchRequest:
        """Make a request from what programs write; a `SearchRequest` alone is returned as it is.

        Raises `QueryError`, and `TypeError` for a `SearchRequest` with further options.
        """
        filters = Filters.of(modality=modality, under=under, since=since, ext=ext, where=where, tag=tag)
        request = SearchRequest(
            query.query if isinstance(query, SearchRequest) else query_of(query),
            also=_queries(also),
            excluding=_queries(excluding),
            more_like=_numbers(more_like),
            less_like=_numbers(less_like),
            k=k,
            raw=raw,
            filters=filters,
            max_expect=max_expect,
            why=why,
        )
        if not isinstance(query, SearchRequest):
            return request
        if request != SearchRequest(query.query):
            raise TypeError("a SearchRequest holds all options: change it with dataclasses.replace")
        return query

    @property
    def deepest_feedback(self) -> int:
        """The largest number in `more_like` and `less_like`; 0 without feedback."""
        return max((*self.more_like, *self.less_like), default=0)

    def as_json(self) -> dict[str, Any]:
        """Return plain values, ready for `json.dumps`: queries as lists of operands, filters by their own names."""
        return {
            "query": self.query.as_json(),
            "also": [query.as_json() for query in self.also],
            "excluding": [query.as_json() for query in self.excluding],
            "more_like": list(self.more_like),
            "less_like": list(self.less_like),
            "k": self.k,
            "raw": self.raw,
            **self.filters.as_json(),
            "max_expect": None if self.max_expect == math.inf else self.max_expect,
            "why": self.why,
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Read what `as_json` wrote; everything but `query` may be left out. Raises `QueryError`."""
        if "query" not in values:
            raise BadQuery("the request has no query")
        if unknown := sorted(values.keys() - JSON_KEYS):
            raise BadQuery(
                f"the request has an unknown option {unknown[0]!r}; there are {', '.join(sorted(JSON_KEYS))}"
            )
        max_expect = values.get("max_expect")
        return cls(
            Query.from_json(values["query"]),
            also=tuple(map(Query.from_json, values.get("also", ()))),
            excluding=tuple(map(Query.from_json, values.get("excluding", ()))),
            more_like=tuple(values.get("more_like", ())),
            less_like=tuple(values.get("less_like", ())),
            k=values.get("k", 10),
            raw=values.get("raw", False),
            filters=Filters.from_json(values),
            max_expect=math.inf if max_expect is None else max_expect,
            why=values.get("why", False),
        )


JSON_KEYS = SearchRequest(text("any")).as_json().keys()


def _queries(given: Words | Iterable[Words]) -> tuple[Query, ...]:
    if isinstance(given, str | os.PathLike | Query):
        return (query_of(given),)
    return tuple(map(query_of, given))


def _numbers(given: int | Iterable[int]) -> tuple[int, ...]:
    return tuple(dict.fromkeys([given] if isinstance(given, int) else given))
