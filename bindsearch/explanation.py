"""Why a hit is one, and why a file is none."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bindsearch.errors import BadQuery
from bindsearch.filters import Filters
from bindsearch.identity import digest_of
from bindsearch.records import NO_CONTENT, UNSEEN, PathRecord
from bindsearch.search import Candidate, Search, segment_of
from bindsearch.tag_filter import TagCondition
from bindsearch.types import Hit, Modality, Segment, Vectors, milliseconds
from bindsearch.view import View

if TYPE_CHECKING:
    from bindsearch.question import Asked
    from bindsearch.reasons.words import Telling

MOMENTS = 5
"""As many moments of a file are shown."""


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
    telling: Telling | None = None
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


def explain(search: Search, asked: Asked, hit: Hit) -> Hit:
    """Give a hit that says what its score is made of."""
    return replace(hit, why=_why(search, asked, hit.item, shown=hit.segment.id))


def account(search: Search, asked: Asked, path: Path, *, k: int, most: float) -> WhyNot:
    """Say why a file is, or is not, among the best `k` with an expectation of at most `most`. Raises `BadQuery`."""
    view = search.view
    if path.is_dir():
        raise BadQuery(f"{path} is a folder: name one file in it")
    record = view.path(path)
    if record is None and not path.exists():
        raise BadQuery(f"no such file: {path}; the library does not know it either")
    if record is None:
        return WhyNot(path, "unknown", _unknown(view, path))
    refusal = record.refused or view.quarantined(record.digest)
    if refusal:
        return WhyNot(path, "quarantined", f"it cannot be read: {refusal.removeprefix(f'{path}: ')}")
    item = None if record.digest == NO_CONTENT else view.item_of(record.digest)
    facts = None if item is None else view.facts(item)
    if item is None or facts is None:
        return WhyNot(path, "unread", _unread(record))
    removed = _removed_by(search.filters, view, record, Modality(facts["modality"]))
    if removed:
        told = _judged(search.unfiltered(), asked, path, item, k=k, most=most)
        return replace(told, verdict="filtered", reason=removed)
    return _judged(search, asked, path, item, k=k, most=most)


NOT_SEEN = "it was not there when the library was migrated: `bindsearch index` reads it"
NOTHING_TO_READ = "it is none of the kinds that bindsearch reads"
LEADS_NOWHERE = "it is a link that leads nowhere"


def _why(search: Search, asked: Asked, item: int, *, shown: int) -> Why:
    moments = search.moments(item, search.wanted[0])
    moments.sort(key=lambda candidate: candidate.segment != shown)  # ahead of those that are as good
    parts = asked.main.contributions(search.view.vector(moments[0].segment))
    queries = [asked.main, *asked.also, *asked.excluding]
    answers = [
        Answer(" ".join(compiled.query.words), place < len(search.wanted), _moment(search.view, best))
        for place, (compiled, probe) in enumerate(zip(queries, [*search.wanted, *search.unwanted], strict=True))
        if (best := search.best_of(item, probe))
    ]
    return Why(
        score=sum(parts),
        terms=tuple(Term(name, part) for name, part in zip(asked.main.signed_names, parts, strict=True)),
        moments=tuple(_moment(search.view, candidate) for candidate in moments[:MOMENTS]),
        answers=tuple(answers) if len(answers) > 1 else (),
        vector=asked.main.vector,
    )


def _moment(view: View, candidate: Candidate) -> Moment:
    return Moment(segment_of(view, candidate), candidate.score, candidate.expect)


def _judged(search: Search, asked: Asked, path: Path, item: int, *, k: int, most: float) -> WhyNot:
    """Say how a file that no filter removes fares."""
    outcome = search.outcome(item)
    if outcome is None:
        return WhyNot(path, "unread", "it has no vectors in this space")
    score, expect = outcome.wanted[0].score, outcome.expect
    why = _why(search, asked, item, shown=outcome.wanted[0].segment)
    if outcome.refused_by is not None:
        query, unwanted = asked.excluding[outcome.refused_by].query, outcome.unwanted[outcome.refused_by]
        worth = f"score {unwanted.score:.2f}, by chance {unwanted.expect:.2g}"
        words = f"it answers {' '.join(query.words)}, which is not wanted: {worth}"
        return WhyNot(path, "excluded", words, None, score, expect, why)
    rank = search.rank_of(item)
    if rank is None:
        verdict, words = "behind", "the index passes it over: `bindsearch index --rebuild-index exact` finds everything"
    elif rank > k:
        verdict, words = "behind", f"it is number {rank}, and {k} were asked for"
    elif expect > most:
        verdict, words = "unlikely", f"by chance {expect:.2g} are as good, and at most {most:g} was asked for"
    else:
        verdict, words = "listed", f"it is number {rank}"
    listed = search.hit(outcome).path
    if listed != path:
        words += f" (the list shows its copy {listed})"
    return WhyNot(path, verdict, words, rank, score, expect, why)


def _unread(record: PathRecord) -> str:
    """Say why the library has nothing of a file that it knows."""
    if record.stamp == UNSEEN:
        return NOT_SEEN
    return NOTHING_TO_READ if record.path.exists() else LEADS_NOWHERE


def _unknown(view: View, path: Path) -> str:
    """Say why the library may not know a file that is there."""
    root = next((top for top in view.roots() if top in (path, *path.parents)), None)
    if root is None:
        return "it is not in the library: `bindsearch index` it, or the folder it lies in"
    same = _reached_by(view, path) if path.is_file() else None  # a pipe would wait for words
    if same is not None:
        return f"a link leads to it, and the library knows it as {same}"
    hidden = next((part for part in path.relative_to(root).parts if part.startswith(".")), None)
    if hidden:
        return f"it is left out because {hidden} is hidden: `bindsearch index` it by its name"
    return "it is not in the library yet: `bindsearch index` looks again"


def _reached_by(view: View, link: Path) -> Path | None:
    """Give what a link leads to, as the library knows it."""
    with suppress(OSError):
        return next((record.path for record in view.owners(digest_of(link)) if _is_same(record.path, link)), None)
    return None


def _is_same(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except OSError:
        return False


def _removed_by(filters: Filters, view: View, record: PathRecord, modality: Modality) -> str:
    """Name the filters that remove a file; none do if a copy of it passes."""
    told = []
    if filters.modalities and modality not in filters.modalities:
        told.append(f"--modality {','.join(sorted(filters.modalities))} (its kind is {modality})")
    if not any(map(filters.admits, view.owners(record.digest))):
        alone = {
            "--under": replace(Filters(), under=filters.under),
            f"--since {filters.since}": replace(Filters(), since=filters.since),
            f"--ext {','.join(sorted(filters.extensions))}": replace(Filters(), extensions=filters.extensions),
            **{
                f"--where {key}={value}": replace(Filters(), metadata={key: value})
                for key, value in filters.metadata.items()
            },
        }
        told += [word for word, filter in alone.items() if not filter.admits(record)]
    item = view.item_of(record.digest)
    told += [words for each in filters.tags if (words := _untagged(each, view, item))]
    return f"removed by {' and '.join(told)}" if told else ""


def _untagged(condition: TagCondition, view: View, item: int | None) -> str:
    """Name a condition on tags that an item does not meet, and how probable the tag is; nothing if it does."""
    number, column = view.tag_columns()[condition.label]
    row = None if item is None else view.tag_row(number, item)
    if row is None:
        return f"{condition.word} (it was never asked)"
    return "" if condition.holds(row[column]) else f"{condition.word} (it is {row[column]:.2f})"
