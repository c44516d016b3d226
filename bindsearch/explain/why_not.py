"""Why a hit is one, and why a file is none."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from bindsearch.core.file_state import NO_CONTENT, UNSEEN, digest_of
from bindsearch.errors import BadQuery
from bindsearch.explain.why import _why
from bindsearch.query.filters import Filters
from bindsearch.query.tag_conditions import TagCondition
from bindsearch.results import WhyNot
from bindsearch.retrieval.search import Search
from bindsearch.storage.records import PathRecord
from bindsearch.storage.snapshot import Snapshot
from bindsearch.types import Modality

if TYPE_CHECKING:
    from bindsearch.query.request import EncodedRequest


def account(search: Search, asked: EncodedRequest, path: Path, *, k: int, most: float) -> WhyNot:
    """Say why a file is, or is not, among the best `k` with an expectation of at most `most`. Raises `BadQuery`."""
    snapshot = search.snapshot
    if path.is_dir():
        raise BadQuery(f"{path} is a folder: name one file in it")
    record = snapshot.path(path)
    if record is None and not path.exists():
        raise BadQuery(f"no such file: {path}; the library does not know it either")
    if record is None:
        return WhyNot(path, "unknown", _unknown(snapshot, path))
    refusal = record.refused or snapshot.quarantined(record.digest)
    if refusal:
        return WhyNot(path, "quarantined", f"it cannot be read: {refusal.removeprefix(f'{path}: ')}")
    item = None if record.digest == NO_CONTENT else snapshot.item_of(record.digest)
    item_record = None if item is None else snapshot.item_record(item)
    if item is None or item_record is None:
        return WhyNot(path, "unread", _unread(record))
    removed = _removed_by(search.filters, snapshot, record, item_record.modality)
    if removed:
        told = _judged(search.unfiltered(), asked, path, item, k=k, most=most)
        return replace(told, verdict="filtered", reason=removed)
    return _judged(search, asked, path, item, k=k, most=most)


NOT_SEEN = "it was not there when the library was migrated: `bindsearch index` reads it"
NOTHING_TO_READ = "it is none of the kinds that bindsearch reads"
LEADS_NOWHERE = "it is a link that leads nowhere"


def _judged(search: Search, asked: EncodedRequest, path: Path, item: int, *, k: int, most: float) -> WhyNot:
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


def _unknown(snapshot: Snapshot, path: Path) -> str:
    """Say why the library may not know a file that is there."""
    root = next((top for top in snapshot.indexed_folders() if top in (path, *path.parents)), None)
    if root is None:
        return "it is not in the library: `bindsearch index` it, or the folder it lies in"
    same = _reached_by(snapshot, path) if path.is_file() else None  # a pipe would wait for words
    if same is not None:
        return f"a link leads to it, and the library knows it as {same}"
    hidden = next((part for part in path.relative_to(root).parts if part.startswith(".")), None)
    if hidden:
        return f"it is left out because {hidden} is hidden: `bindsearch index` it by its name"
    return "it is not in the library yet: `bindsearch index` looks again"


def _reached_by(snapshot: Snapshot, link: Path) -> Path | None:
    """Return what a link leads to, as the library knows it."""
    with suppress(OSError):
        return next((record.path for record in snapshot.owners(digest_of(link)) if _is_same(record.path, link)), None)
    return None


def _is_same(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except OSError:
        return False


def _removed_by(filters: Filters, snapshot: Snapshot, record: PathRecord, modality: Modality) -> str:
    """Name the filters that remove a file; none do if a copy of it passes."""
    told = []
    if filters.modalities and modality not in filters.modalities:
        told.append(f"--modality {','.join(sorted(filters.modalities))} (its kind is {modality})")
    if not any(map(filters.admits, snapshot.owners(record.digest))):
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
    item = snapshot.item_of(record.digest)
    told += [words for each in filters.tags if (words := _untagged(each, snapshot, item))]
    return f"removed by {' and '.join(told)}" if told else ""


def _untagged(condition: TagCondition, snapshot: Snapshot, item: int | None) -> str:
    """Name a condition on tags that an item does not meet, and how probable the tag is; nothing if it does."""
    number, column = snapshot.tag_columns()[condition.label]
    row = None if item is None else snapshot.tag_row(number, item)
    if row is None:
        return f"{condition.word} (it was never asked)"
    return "" if condition.holds(row[column]) else f"{condition.word} (it is {row[column]:.2f})"
