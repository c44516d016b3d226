"""Filters: conditions on items and their paths, and the segments that pass them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path
from typing import Any, Self

import numpy as np

from bindsearch.core.file_state import NO_CONTENT
from bindsearch.core.names import modality_named
from bindsearch.core.paths import PathOrPaths, absolute
from bindsearch.errors import BadQuery
from bindsearch.ports import Index
from bindsearch.query.tag_conditions import TagCondition, no_such_tag, tag_condition
from bindsearch.storage.records import PathRecord, RunRef, run_ids
from bindsearch.storage.snapshot import Snapshot
from bindsearch.types import Ids, Modality

NO_IDS: Ids = np.empty(0, dtype=np.int64)


@dataclass(frozen=True)
class Filters:
    """Conditions that must all hold. An empty one holds for everything."""

    modalities: frozenset[Modality] = frozenset()
    """Of items: the sound of a video passes as a video."""
    under: tuple[Path, ...] = ()
    """Files and folders that paths must be or be inside of."""
    since: datetime | None = None
    """The earliest time of the last modification of a file."""
    extensions: frozenset[str] = frozenset()
    """In lower case, without the dot."""
    metadata: Mapping[str, str] = field(default_factory=dict)
    """Values that paths were indexed with."""
    tags: tuple[TagCondition, ...] = ()
    """How probable tags must be."""

    @classmethod
    def of(
        cls,
        *,
        modality: str | Iterable[str] | None = None,
        under: PathOrPaths | None = None,
        since: str | date | None = None,
        ext: str | Iterable[str] | None = None,
        where: Mapping[str, str] | None = None,
        tag: str | Iterable[str] | None = None,
    ) -> Self:
        """Make filters from what programs write. Raises `BadQuery`."""
        return cls(
            modalities=frozenset(modality_named(name) for name in _strings(modality)),
            under=tuple(absolute(_strings(under))),
            since=None if since is None else _datetime(since),
            extensions=frozenset(extension.lower().removeprefix(".") for extension in _strings(ext)),
            metadata=_metadata(where),
            tags=tuple(tag_condition(word) for word in _strings(tag)),
        )

    def as_json(self) -> dict[str, Any]:
        """Return plain values, ready for `json.dumps`, under the names that `of` takes."""
        return {
            "modality": sorted(self.modalities),
            "under": [str(path) for path in self.under],
            "since": None if self.since is None else self.since.isoformat(),
            "ext": sorted(self.extensions),
            "where": dict(self.metadata),
            "tag": [condition.word for condition in self.tags],
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Read what `as_json` wrote, or part of it; other keys are ignored. Raises `BadQuery`."""
        names = ("modality", "under", "since", "ext", "where", "tag")
        return cls.of(**{name: values[name] for name in names if name in values})

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
        """Return the segments that pass, by their modality; None where every segment of an index passes.

        Raises `BadQuery` for a tag that does not exist.
        """
        if self.on_paths or self.tags:
            runs = list(self._runs(snapshot))
            return {modality: np.sort(run_ids(runs, modality)) for modality in indexes}
        return {modality: self._of_modality(modality, snapshot, indexes) for modality in indexes}

    def _of_modality(self, modality: Modality, snapshot: Snapshot, indexes: Mapping[Modality, Index]) -> Ids | None:
        """Return the segments of one index that pass by the modality of their item.

        Only the index of sounds holds segments of two kinds of items: sounds and videos.
        """
        if modality != Modality.AUDIO:
            return None if self._wants(modality) else NO_IDS
        sounds, videos = self._wants(Modality.AUDIO), self._wants(Modality.VIDEO)
        if sounds == videos:
            return None if sounds else NO_IDS
        in_videos = _sounds_of_videos(snapshot, indexes.get(Modality.VIDEO))
        return in_videos if videos else np.setdiff1d(indexes[modality].ids(), in_videos)

    def _wants(self, modality: Modality) -> bool:
        return not self.modalities or modality in self.modalities

    def _runs(self, snapshot: Snapshot) -> Iterator[RunRef]:
        """Return the runs of the live items that pass."""
        tagged = tagged_items(snapshot, self.tags) if self.tags else None
        for item in self._items(snapshot) if self.on_paths or tagged is None else tagged:
            record = snapshot.item_record(item) if tagged is None or item in tagged else None
            if record and self._wants(record.modality) and snapshot.is_live(record.digest):
                yield from record.runs

    def _items(self, snapshot: Snapshot) -> Iterator[int]:
        """Return the items with a path that meets the conditions on paths."""
        tops = self.under or (None,)
        records = (record for top in tops for record in snapshot.paths(top) if self.admits(record))
        for digest in {record.digest for record in records} - {NO_CONTENT}:
            item = snapshot.item_of(digest)
            if item is not None:
                yield item


def tagged_items(snapshot: Snapshot, conditions: Iterable[TagCondition]) -> set[int]:
    """Return the items that meet all conditions on tags. Raises `BadQuery` for a tag that does not exist."""
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
    """Return the sound segments of the items that have frames in an index, ascending."""
    ids = NO_IDS if frames is None else frames.ids()
    runs: list[RunRef] = []
    place = 0
    while place < len(ids):
        item, _, count = snapshot.run_head(int(ids[place])) or (0, Modality.VIDEO, 1)
        runs += snapshot.runs_of(item)
        place += count
    return np.sort(run_ids(runs, Modality.AUDIO))


def _strings(given: PathOrPaths | None) -> list[str]:
    if given is None:
        return []
    return [os.fspath(given)] if isinstance(given, str | os.PathLike) else [os.fspath(each) for each in given]


def _metadata(given: Mapping[str, str] | None) -> dict[str, str]:
    if not isinstance(given, Mapping | None):
        raise BadQuery(f"where is {given!r}: pass names with their values, as in {{'trip': 'coast'}}")
    return {str(key): str(value) for key, value in (given or {}).items()}


def _datetime(given: str | date) -> datetime:
    """Read a date or a time, by the clock of this machine unless it has a time zone."""
    try:
        if isinstance(given, str):
            given = datetime.fromisoformat(given)
        moment = given if isinstance(given, datetime) else datetime(given.year, given.month, given.day)
        moment.timestamp()
    except (ValueError, OverflowError, OSError) as error:
        raise BadQuery(f"since={given} is not a date: write it like 2026-05-31 or 2026-05-31T18:00") from error
    return moment
