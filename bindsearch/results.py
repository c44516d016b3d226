"""What a search returns: hits and their explanations. Every result is written by `as_json` and read by `from_json`.

JSON rounds scores to 6 decimals, contributions to 9 and times to milliseconds. It leaves out what means something
inside one open library only: the ids of items and segments (`NO_ID` when read back) and `Why.vector`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Any, Self, overload

from bindsearch.types import Modality, Segment, Span, Vectors

Json = dict[str, Any]
"""Plain values, ready for `json.dumps`."""
NO_ID = -1
"""The id of an item or a segment that was read from JSON."""


@dataclass(frozen=True, slots=True)
class Term:
    """One operand of a query, and what it adds to the score."""

    operand: str
    """As it is typed; `result:3` is a result given with `more_like` or `less_like`."""
    contribution: float

    def as_json(self) -> Json:
        """Return plain values, ready for `json.dumps`."""
        return {"operand": self.operand, "contribution": round(self.contribution, 9)}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Read what `as_json` wrote."""
        return cls(values["operand"], values["contribution"])


@dataclass(frozen=True, slots=True)
class Moment:
    """A segment of a file, and how well it matches the query."""

    segment: Segment
    score: float
    expect: float

    def as_json(self) -> Json:
        """Return plain values; the text of a passage is left out."""
        return {
            "matched": str(self.segment.modality),
            **_span_json(self.segment.span),
            "score": round(self.score, 6),
            "expect": self.expect,
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Read what `as_json` wrote."""
        return cls(_segment(values), values["score"], values["expect"])


@dataclass(frozen=True, slots=True)
class QueryMatch:
    """How a file matches one query of several: the best moment for that query."""

    query: str
    wanted: bool
    """False for an excluded query."""
    moment: Moment

    def as_json(self) -> Json:
        """Return plain values, ready for `json.dumps`."""
        return {"query": self.query, "wanted": self.wanted} | self.moment.as_json()

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Read what `as_json` wrote."""
        return cls(values["query"], values["wanted"], Moment.from_json(values))


@dataclass(frozen=True, slots=True)
class KeyPhrase:
    """The sentence of a passage that adds most to its score, and the words in it that add most."""

    sentence: str
    words: tuple[str, ...]
    """The most important first."""

    def as_json(self) -> Json:
        """Return plain values, ready for `json.dumps`."""
        return {"sentence": self.sentence, "words": list(self.words)}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Read what `as_json` wrote."""
        return cls(values["sentence"], tuple(values["words"]))


@dataclass(frozen=True, slots=True)
class Why:
    """The explanation of a score."""

    score: float
    terms: tuple[Term, ...]
    """One for each operand; their contributions add up to the score."""
    moments: tuple[Moment, ...]
    """The best moments of the file, best first; the score is that of the first."""
    matches: tuple[QueryMatch, ...] = ()
    """How the file matches each query, where there are several."""
    key_phrase: KeyPhrase | None = None
    """For passages of text only."""
    vector: Vectors | None = field(default=None, repr=False, compare=False)
    """The vector of the first query, which `Library.picture` needs. Not in JSON, and None when read back."""

    def as_json(self) -> Json:
        """Return plain values, ready for `json.dumps`."""
        return {
            "terms": [term.as_json() for term in self.terms],
            "moments": [moment.as_json() for moment in self.moments],
            **({"key_phrase": self.key_phrase.as_json()} if self.key_phrase else {}),
            **({"matches": [match.as_json() for match in self.matches]} if self.matches else {}),
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Read an explanation; the score is the sum of the contributions."""
        terms = tuple(map(Term.from_json, values["terms"]))
        return cls(
            score=sum(term.contribution for term in terms),
            terms=terms,
            moments=tuple(map(Moment.from_json, values["moments"])),
            matches=tuple(map(QueryMatch.from_json, values.get("matches", ()))),
            key_phrase=KeyPhrase.from_json(values["key_phrase"]) if "key_phrase" in values else None,
        )


class Verdict(StrEnum):
    """What became of a file in a search."""

    LISTED = "listed"
    """It is among the results."""
    BEHIND = "behind"
    """It matches, but `k` results are better."""
    UNLIKELY = "unlikely"
    """Its E-value is above `max_expect`."""
    EXCLUDED = "excluded"
    """It matches an excluded query."""
    FILTERED = "filtered"
    """A filter removed it."""
    QUARANTINED = "quarantined"
    """It could not be read when it was indexed."""
    UNREAD = "unread"
    """The library knows the path, but has no vectors of its content."""
    UNKNOWN = "unknown"
    """The library does not know the path."""


@dataclass(frozen=True, slots=True)
class WhyNot:
    """Why a file is, or is not, among the results of a search."""

    path: Path
    verdict: Verdict
    reason: str
    """The verdict in words."""
    rank: int | None = None
    """Counted from 1; for a filtered file, its rank without filters."""
    score: float | None = None
    expect: float | None = None
    why: Why | None = None

    def as_json(self) -> Json:
        """Return plain values, ready for `json.dumps`."""
        return {
            "path": str(self.path),
            "verdict": str(self.verdict),
            "reason": self.reason,
            "rank": self.rank,
            "score": None if self.score is None else round(self.score, 6),
            "expect": self.expect,
            "why": None if self.why is None else self.why.as_json(),
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Read what `as_json` wrote."""
        return cls(
            path=Path(values["path"]),
            verdict=Verdict(values["verdict"]),
            reason=values["reason"],
            rank=values["rank"],
            score=values["score"],
            expect=values["expect"],
            why=None if values["why"] is None else Why.from_json(values["why"]),
        )


@dataclass(frozen=True, slots=True)
class Hit:
    """An item that matches a query: where it is, its best moment, and how good it is."""

    path: Path
    modality: Modality
    """Of the item: a video that was found by its sound is a video."""
    score: float
    """Cosine between the query and the best segment, in [-1, 1]."""
    expect: float
    """E-value, as in BLAST: how many hits at least this good chance alone would bring in this search."""
    segment: Segment
    """The best segment; its modality says whether the frames or the sound of a video matched."""
    item: int
    copies: tuple[Path, ...] = ()
    """Further paths with the same content."""
    metadata: Mapping[str, str] = field(default_factory=dict)
    why: Why | None = None
    """The explanation of the score, if the search was made with `why`."""

    @property
    def start(self) -> float | None:
        """Where the best moment begins, in seconds; None for what has no time."""
        return self.segment.span.start

    @property
    def end(self) -> float | None:
        """Where the best moment ends, in seconds; None for what has no time."""
        return self.segment.span.end

    def as_json(self) -> Json:
        """Return plain values, ready for `json.dumps`."""
        return {
            "path": str(self.path),
            "modality": str(self.modality),
            "matched": str(self.segment.modality),
            "score": round(self.score, 6),
            "expect": self.expect,
            **_span_json(self.segment.span),
            "text": self.segment.text or None,
            "copies": [str(path) for path in self.copies],
            "metadata": dict(self.metadata),
            **({} if self.why is None else {"why": self.why.as_json()}),
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Read what `as_json` wrote."""
        return cls(
            path=Path(values["path"]),
            modality=Modality(values["modality"]),
            score=values["score"],
            expect=values["expect"],
            segment=_segment(values),
            item=NO_ID,
            copies=tuple(Path(path) for path in values["copies"]),
            metadata=values["metadata"],
            why=Why.from_json(values["why"]) if "why" in values else None,
        )


@dataclass(frozen=True, slots=True)
class Hits(Sequence[Hit]):
    """The results of a search: hits in order, and how much was searched."""

    hits: tuple[Hit, ...]
    searched: int
    """Segments that were compared with the query, after filters."""
    best_expect: float | None = None
    """The smallest E-value that was found, whether or not `max_expect` let it through; None if nothing was found."""

    def __len__(self) -> int:
        return len(self.hits)

    def __iter__(self) -> Iterator[Hit]:
        return iter(self.hits)

    @overload
    def __getitem__(self, index: int) -> Hit: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Hit, ...]: ...
    def __getitem__(self, index: int | slice) -> Hit | tuple[Hit, ...]:
        return self.hits[index]

    def within(self, max_expect: float) -> Hits:
        """Return only the hits with at most this E-value; `best_expect` stays."""
        if max_expect == math.inf:
            return self
        return replace(self, hits=tuple(hit for hit in self.hits if hit.expect <= max_expect))

    def as_json(self) -> Json:
        """Return plain values, ready for `json.dumps`."""
        return {
            "searched": self.searched,
            "best_expect": self.best_expect,
            "hits": [hit.as_json() for hit in self.hits],
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Read what `as_json` wrote."""
        return cls(tuple(map(Hit.from_json, values["hits"])), values["searched"], values["best_expect"])


def rounded_time(seconds: float | None) -> float | None:
    """Round a time to milliseconds."""
    return None if seconds is None else round(seconds, 3)


def _span_json(span: Span) -> Json:
    return {
        "start": rounded_time(span.start),
        "end": rounded_time(span.end),
        "offset": span.offset,
        "length": span.length,
    }


def _segment(values: Mapping[str, Any]) -> Segment:
    span = Span(values["start"], values["end"], values["offset"], values["length"])
    return Segment(NO_ID, Modality(values["matched"]), span, values.get("text") or "")
