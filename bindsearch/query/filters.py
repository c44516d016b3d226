"""Which segments a search may look at."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path
from typing import TypedDict, Unpack

import numpy as np

from bindsearch.core.file_state import NO_CONTENT
from bindsearch.core.names import modality_named
from bindsearch.core.paths import absolute
from bindsearch.errors import BadQuery
from bindsearch.ports import Index
from bindsearch.query.tag_conditions import TagCondition, no_such_tag, tag_condition
from bindsearch.storage.records import PathRecord, RunRef, run_ids
from bindsearch.storage.snapshot import Snapshot
from bindsearch.types import Ids, Modality

NO_IDS: Ids = np.empty(0, dtype=np.int64)


@dataclass(frozen=True)
class Filters:
    """Conditions on items and on their paths. Empty ones let everything through."""

    modalities: frozenset[Modality] = frozenset()
    under: tuple[Path, ...] = ()
    since: datetime | None = None
    """Files changed at this moment or later."""
    extensions: frozenset[str] = frozenset()
    """In lower case, without the dot."""
    metadata: Mapping[str, str] = field(default_factory=dict)
    without: frozenset[bytes] = frozenset()
    """Digests of contents to leave out."""
    tags: tuple[TagCondition, ...] = ()
    """How probable tags must be."""

    @property
    def on_paths(self) -> bool:
        """Whether any condition is about paths."""
        return bool(self.under or self.since or self.extensions or self.metadata)

    def admits(self, record: PathRecord) -> bool:
        """Whether a path meets the conditions on paths."""
        path = record.path
        return (
            (not self.under or any(path == top or top in path.parents for top in self.under))
            and (self.since is None or record.stamp.mtime_ns >= self.since.timestamp() * 1e9)
            and (not self.extensions or path.suffix.lower().removeprefix(".") in self.extensions)
            and all(record.metadata.get(key) == value for key, value in self.metadata.items())
        )

    def allowed(self, snapshot: Snapshot, indexes: Mapping[Modality, Index]) -> dict[Modality, Ids | None]:
        """Return the ids that pass, by the modality of segments; None where all of an index pass.

        Raises `BadQuery` for a tag that there is not.
        """
        if self.on_paths or self.tags:
            runs = list(self._runs(snapshot))
            return {modality: np.sort(run_ids(runs, modality)) for modality in indexes}
        return {modality: self._of_modality(modality, snapshot, indexes) for modality in indexes}

    def _of_modality(self, modality: Modality, snapshot: Snapshot, indexes: Mapping[Modality, Index]) -> Ids | None:
        """Pick among the segments of an index by what their items are: only sounds may be of two kinds of item."""
        if modality != Modality.AUDIO:
            return None if self._wants(modality) else NO_IDS
        sounds, videos = self._wants(Modality.AUDIO), self._wants(Modality.VIDEO)
        if sounds == videos:
            return None if sounds else NO_IDS
        heard = _sounds_of_videos(snapshot, indexes.get(Modality.VIDEO))
        return heard if videos else np.setdiff1d(indexes[modality].ids(), heard)

    def _wants(self, modality: str) -> bool:
        return not self.modalities or Modality(modality) in self.modalities

    def _runs(self, snapshot: Snapshot) -> Iterator[RunRef]:
        """Return the runs of the live items that have a path which passes, and the tags that are asked for."""
        tagged = tagged_items(snapshot, self.tags) if self.tags else None
        for item in self._items(snapshot) if self.on_paths or tagged is None else tagged:
            record = snapshot.item_record(item) if tagged is None or item in tagged else None
            if record and self._wants(record.modality) and snapshot.is_live(record.digest):
                yield from record.runs

    def _items(self, snapshot: Snapshot) -> Iterator[int]:
        """Return the items that have a path which passes."""
        tops = self.under or (None,)
        records = (record for top in tops for record in snapshot.paths(top) if self.admits(record))
        for digest in {record.digest for record in records} - {NO_CONTENT}:
            item = snapshot.item_of(digest)
            if item is not None:
                yield item


def tagged_items(snapshot: Snapshot, conditions: Iterable[TagCondition]) -> set[int]:
    """Return the items whose tags are as asked for. Raises `BadQuery` for a tag that there is not."""
    passing: set[int] | None = None
    columns = snapshot.tag_columns()
    for condition in conditions:
        if condition.label not in columns:
            raise no_such_tag(condition, columns)
        number, column = columns[condition.label]
        found = {item for item, row in snapshot.tag_rows(number) if condition.holds(row[column])}
        passing = found if passing is None else passing & found
    return passing or set()


def _sounds_of_videos(snapshot: Snapshot, frames: Index | None) -> Ids:
    """Return the segments of sound of the items whose frames are in an index, ascending."""
    ids = NO_IDS if frames is None else frames.ids()
    runs: list[RunRef] = []
    place = 0
    while place < len(ids):
        item, _, count = snapshot.run_head(int(ids[place])) or (0, Modality.VIDEO, 1)
        runs += snapshot.runs_of(item)
        place += count
    return np.sort(run_ids(runs, Modality.AUDIO))


class FilterWords(TypedDict, total=False):
    """Filters as people write them."""

    modality: str | Iterable[str] | None
    under: str | os.PathLike[str] | Iterable[str | os.PathLike[str]] | None
    since: str | date | None
    ext: str | Iterable[str] | None
    where: Mapping[str, str] | None
    tag: str | Iterable[str] | None
    """Conditions on tags: `dog>0.8`."""


def make_filters(**given: Unpack[FilterWords]) -> Filters:
    """Read filters as people write them. Raises `BadQuery`."""
    if strange := given.keys() - FilterWords.__annotations__.keys():
        raise TypeError(f"there is no filter called {', '.join(sorted(strange))}")
    since = given.get("since")
    return Filters(
        modalities=frozenset(modality_named(name) for name in _listed(given.get("modality"))),
        under=tuple(absolute(_listed(given.get("under")))),
        since=None if since is None else _moment(since),
        extensions=frozenset(str(name).lower().removeprefix(".") for name in _listed(given.get("ext"))),
        metadata=_pairs(given.get("where")),
        tags=tuple(tag_condition(word) for word in _listed(given.get("tag"))),
    )


def _listed(given: str | os.PathLike[str] | Iterable[str | os.PathLike[str]] | None) -> list[str]:
    if given is None:
        return []
    return [os.fspath(given)] if isinstance(given, str | os.PathLike) else [os.fspath(each) for each in given]


def _pairs(given: Mapping[str, str] | None) -> dict[str, str]:
    if not isinstance(given, Mapping | None):
        raise BadQuery(f"where is {given!r}: give names with their values, as in {{'trip': 'coast'}}")
    return {str(key): str(value) for key, value in (given or {}).items()}


def _moment(given: str | date) -> datetime:
    """Read a date or a moment, by the clock of this machine where no time zone is given."""
    try:
        if isinstance(given, str):
            given = datetime.fromisoformat(given)
        moment = given if isinstance(given, datetime) else datetime(given.year, given.month, given.day)
        moment.timestamp()
    except (ValueError, OverflowError, OSError) as error:
        raise BadQuery(f"since {given} is no date; write it like 2026-05-31 or 2026-05-31T18:00") from error
    return moment
