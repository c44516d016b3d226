"""Explain why a file is, or is not, among the results of a search."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from bindsearch.core.file_state import NO_CONTENT, UNSEEN, digest_of
from bindsearch.errors import BadQuery
from bindsearch.explain.why import explain_item
from bindsearch.query.encode import EncodedRequest
from bindsearch.query.filters import Filters
from bindsearch.query.tag_conditions import TagCondition
from bindsearch.results import Verdict, WhyNot
from bindsearch.retrieval.candidates import ItemMatch
from bindsearch.retrieval.search import Search
from bindsearch.storage.records import PathRecord
from bindsearch.storage.snapshot import Snapshot
from bindsearch.types import Modality

NOT_MIGRATED = "it was missing when the library was migrated: `bindsearch index` embeds it"
UNSUPPORTED = "its format is not supported"
BROKEN_LINK = "it is a broken link"
MISSED_BY_INDEX = (
    "the approximate index misses it: `bindsearch index --rebuild-index exact` builds one that misses nothing"
)


def explain_file(search: Search, encoded: EncodedRequest, path: Path, *, k: int, max_expect: float) -> WhyNot:
    """Explain whether a file is among the best `k` with an E-value of at most `max_expect`.

    Raises `BadQuery` for a folder, and for a path that neither exists nor is in the library.
    """
    snapshot = search.snapshot
    if path.is_dir():
        raise BadQuery(f"{path} is a folder: name one file in it")
    record = snapshot.path(path)
    if record is None and not path.exists():
        raise BadQuery(f"no such file: {path}; it is not in the library either")
    if record is None:
        return WhyNot(path, Verdict.UNKNOWN, _why_unknown(snapshot, path))
    refusal = record.refused or snapshot.quarantined(record.digest)
    if refusal:
        return WhyNot(path, Verdict.QUARANTINED, f"it cannot be read: {refusal.removeprefix(f'{path}: ')}")
    item = None if record.digest == NO_CONTENT else snapshot.item_of(record.digest)
    item_record = None if item is None else snapshot.item_record(item)
    if item is None or item_record is None:
        return WhyNot(path, Verdict.UNREAD, _why_unread(record))
    removed = _removed_by(search.filters, snapshot, record, item_record.modality)
    if removed:
        unfiltered = _explain_match(search.unfiltered(), encoded, path, item, k=k, max_expect=max_expect)
        return replace(unfiltered, verdict=Verdict.FILTERED, reason=removed)
    return _explain_match(search, encoded, path, item, k=k, max_expect=max_expect)


def _explain_match(
    search: Search, encoded: EncodedRequest, path: Path, item: int, *, k: int, max_expect: float
) -> WhyNot:
    """Explain the place of an item that no filter removes."""
    match = search.match(item)
    if match is None:
        return WhyNot(path, Verdict.UNREAD, "it has no vectors in this space")
    score, expect = match.wanted[0].score, match.expect
    why = explain_item(search, encoded, item, shown=match.wanted[0].segment)
    if match.excluded_by is not None:
        return WhyNot(
            path, Verdict.EXCLUDED, _why_excluded(encoded, match, match.excluded_by), None, score, expect, why
        )
    rank = search.rank_of(item)
    verdict, reason = _verdict(rank, expect, k=k, max_expect=max_expect)
    listed = search.hit(match).path
    if listed != path:
        reason += f" (the list shows its copy {listed})"
    return WhyNot(path, verdict, reason, rank, score, expect, why)


def _verdict(rank: int | None, expect: float, *, k: int, max_expect: float) -> tuple[Verdict, str]:
    if rank is None:
        return Verdict.BEHIND, MISSED_BY_INDEX
    if rank > k:
        return Verdict.BEHIND, f"it is number {rank}, and the search returns {k}"
    if expect > max_expect:
        return Verdict.UNLIKELY, f"its E-value is {expect:.2g}, and the limit is {max_expect:g}"
    return Verdict.LISTED, f"it is number {rank}"


def _why_excluded(encoded: EncodedRequest, match: ItemMatch, place: int) -> str:
    query, best = encoded.excluding[place].query, match.unwanted[place]
    figures = f"score {best.score:.2f}, E-value {best.expect:.2g}"
    return f"it matches the excluded query {' '.join(query.words)}: {figures}"


def _why_unread(record: PathRecord) -> str:
    """Return why the library has no vectors of a file that it knows."""
    if record.stamp == UNSEEN:
        return NOT_MIGRATED
    return UNSUPPORTED if record.path.exists() else BROKEN_LINK


def _why_unknown(snapshot: Snapshot, path: Path) -> str:
    """Return why the library does not know a file that exists."""
    folder = next((top for top in snapshot.indexed_folders() if top in (path, *path.parents)), None)
    if folder is None:
        return "it is not in the library: run `bindsearch index` on it or its folder"
    known = _known_as(snapshot, path) if path.is_file() else None  # reading a pipe would block
    if known is not None:
        return f"a link leads to it, and the library knows it as {known}"
    hidden = next((part for part in path.relative_to(folder).parts if part.startswith(".")), None)
    if hidden:
        return f"it was skipped because {hidden} is hidden: to index it, name it, as in `bindsearch index PATH`"
    return "it is not in the library yet: `bindsearch index` adds it"


def _known_as(snapshot: Snapshot, path: Path) -> Path | None:
    """Return the path under which the library knows the file that a path leads to."""
    with suppress(OSError):
        return next((record.path for record in snapshot.owners(digest_of(path)) if _is_same(record.path, path)), None)
    return None


def _is_same(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except OSError:
        return False


def _removed_by(filters: Filters, snapshot: Snapshot, record: PathRecord, modality: Modality) -> str:
    """Return which filters remove a file, in words; empty if it, or a copy of it, passes."""
    names = [*_failed_filters(filters, snapshot, record, modality)]
    return f"removed by {' and '.join(names)}" if names else ""


def _failed_filters(filters: Filters, snapshot: Snapshot, record: PathRecord, modality: Modality) -> Iterator[str]:
    """Return the filters that a file fails, as they are typed."""
    if filters.modalities and modality not in filters.modalities:
        yield f"--modality {','.join(sorted(filters.modalities))} (its modality is {modality})"
    if not any(map(filters.admits, snapshot.owners(record.digest))):
        yield from (name for name, filter in _single_filters(filters).items() if not filter.admits(record))
    item = snapshot.item_of(record.digest)
    for condition in filters.tags:
        if failed := _failed_tag(condition, snapshot, item):
            yield failed


def _single_filters(filters: Filters) -> dict[str, Filters]:
    """Return the conditions on paths one by one, by what is typed for them."""
    return {
        "--under": Filters(under=filters.under),
        f"--since {filters.since}": Filters(since=filters.since),
        f"--ext {','.join(sorted(filters.extensions))}": Filters(extensions=filters.extensions),
        **{f"--where {key}={value}": Filters(metadata={key: value}) for key, value in filters.metadata.items()},
    }


def _failed_tag(condition: TagCondition, snapshot: Snapshot, item: int | None) -> str:
    """Return a condition on tags that an item fails, with the probability of the tag; empty if it passes."""
    number, column = snapshot.tag_columns()[condition.label]
    row = None if item is None else snapshot.tag_row(number, item)
    if row is None:
        return f"{condition.word} (it was never tagged with it)"
    return "" if condition.holds(row[column]) else f"{condition.word} (it is {row[column]:.2f})"
