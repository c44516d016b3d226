"""What a search returns: hits and their explanations."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bindsearch.types import Modality, Segment, Vectors

if TYPE_CHECKING:
    pass  # MOVED

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    pass  # MOVED

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    pass  # MOVED

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    pass  # MOVED

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    pass  # MOVED

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, overload

if TYPE_CHECKING:
    pass  # MOVED

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    pass  # MOVED
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    pass  # MOVED


@dataclass(frozen=True, slots=True)
class Term:
    """One operand, and what it adds to the score."""

    word: str
    """As it is typed; `result:3` is a result that the search leans on."""
    part: float


@dataclass(frozen=True, slots=True)
class Moment:
    """A piece of the file, and how well it answers the query."""

    segment: Segment
    score: float
    expect: float

    def as_json(self) -> dict[str, Any]:
        """Plain values, ready for `json.dumps`."""
        span = self.segment.span
        return {
            "matched": str(self.segment.modality),
            "start": milliseconds(span.start),
            "end": milliseconds(span.end),
            "offset": span.offset,
            "length": span.length,
            "score": round(self.score, 6),
            "expect": self.expect,
        }


@dataclass(frozen=True, slots=True)
class Answer:
    """How the file answers one query of several, at its best moment for that query."""

    query: str
    wanted: bool
    moment: Moment


@dataclass(frozen=True, slots=True)
class Why:
    """What a score is made of."""

    score: float
    terms: tuple[Term, ...]
    """One for each operand; their parts add up to the score."""
    moments: tuple[Moment, ...]
    """The best moments of the file, best first; the score is that of the first."""
    answers: tuple[Answer, ...] = ()
    """How the file answers each query, where there are several."""
    telling: KeyPhrase | None = None
    """Of a passage of text: the sentence and the words that its score leans on."""
    vector: Vectors | None = field(default=None, repr=False, compare=False)
    """Of the first query, which `Library.picture` draws the reason for."""

    def as_json(self) -> dict[str, Any]:
        """Plain values, ready for `json.dumps`."""
        told: dict[str, Any] = {
            "terms": [{"operand": term.word, "part": round(term.part, 9)} for term in self.terms],
            "moments": [moment.as_json() for moment in self.moments],
        }
        if self.telling:
            told["telling"] = {"sentence": self.telling.sentence, "words": list(self.telling.words)}
        if self.answers:
            told["answers"] = [
                {"query": answer.query, "wanted": answer.wanted} | answer.moment.as_json() for answer in self.answers
            ]
        return told


@dataclass(frozen=True, slots=True)
class WhyNot:
    """Why a file is, or is not, among the results of a search."""

    path: Path
    verdict: str
    """`listed`, `behind` the results that were asked for, `unlikely`, `excluded`, `filtered`, `quarantined`, `unread`
    or `unknown`."""
    reason: str
    """The same in words."""
    rank: int | None = None
    """From 1 on; of what a filter removed, its rank without filters."""
    score: float | None = None
    expect: float | None = None
    why: Why | None = None

    def as_json(self) -> dict[str, Any]:
        """Plain values, ready for `json.dumps`."""
        return {
            "path": str(self.path),
            "verdict": self.verdict,
            "reason": self.reason,
            "rank": self.rank,
            "score": None if self.score is None else round(self.score, 6),
            "expect": self.expect,
            "why": None if self.why is None else self.why.as_json(),
        }


@dataclass(frozen=True, slots=True)
class KeyPhrase:
    """The sentence of a passage that its score leans on most, and the words of it that do."""

    sentence: str
    words: tuple[str, ...]
    """Most telling first."""


def milliseconds(time: float | None) -> float | None:
    """Round a time, in seconds, to what is worth telling."""
    return None if time is None else round(time, 3)


@dataclass(frozen=True, slots=True)
class Hit:
    """An item that answers a query: where it is, its best moment, and how good it is."""

    path: Path
    modality: Modality
    """Of the item: a video that was found by its sound is a video."""
    score: float
    """Cosine between the query and the best segment, in [-1, 1]."""
    expect: float
    """How many hits at least this good chance alone would give in this library."""
    segment: Segment
    """The best segment; its modality says whether a video was seen or heard."""
    item: int
    copies: Sequence[Path] = ()
    """Further paths with the same content."""
    metadata: Mapping[str, str] = field(default_factory=dict)
    why: Why | None = None
    """What its score is made of, if that was asked for."""

    @property
    def start(self) -> float | None:
        """Where the best moment begins, in seconds; None for what has no time."""
        return self.segment.span.start

    @property
    def end(self) -> float | None:
        """Where the best moment ends, in seconds; None for what has no time."""
        return self.segment.span.end

    def as_json(self) -> dict[str, Any]:
        """Plain values, ready for `json.dumps`."""
        span = self.segment.span
        return {
            "path": str(self.path),
            "modality": str(self.modality),
            "matched": str(self.segment.modality),
            "score": round(self.score, 6),
            "expect": self.expect,
            "start": milliseconds(span.start),
            "end": milliseconds(span.end),
            "offset": span.offset,
            "length": span.length,
            "text": self.segment.text or None,
            "copies": [str(path) for path in self.copies],
            "metadata": dict(self.metadata),
            **({} if self.why is None else {"why": self.why.as_json()}),
        }


@dataclass(frozen=True, slots=True)
class Hits(Sequence[Hit]):
    """The answer to a query: hits in order, and how much was searched."""

    hits: tuple[Hit, ...]
    searched: int
    """Segments that were compared with the query, after filters."""

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
