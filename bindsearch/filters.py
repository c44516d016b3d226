"""Which segments a search may look at."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import numpy as np

from bindsearch.errors import BadQuery
from bindsearch.records import NO_CONTENT, PathRecord, run_ids
from bindsearch.types import Ids, Modality
from bindsearch.view import View


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

    @property
    def open(self) -> bool:
        """Whether everything passes."""
        return not (self.modalities or self.without or self.on_paths)

    @property
    def on_paths(self) -> bool:
        """Whether any condition is about paths."""
        return bool(self.under or self.since or self.extensions or self.metadata)

    def admits(self, record: PathRecord) -> bool:
        """Tell whether a path meets the conditions on paths."""
        path = record.path
        return (
            (not self.under or any(path == top or top in path.parents for top in self.under))
            and (self.since is None or record.stamp.mtime_ns >= self.since.timestamp() * 1e9)
            and (not self.extensions or path.suffix.lower().removeprefix(".") in self.extensions)
            and all(record.metadata.get(key) == value for key, value in self.metadata.items())
        )

    def allowed(self, view: View) -> dict[Modality, Ids] | None:
        """Give the ids that pass, by the modality of segments; None where everything passes."""
        if self.open:
            return None
        runs = [run for facts in self._items(view) for run in facts["runs"]]
        return {modality: np.sort(run_ids(runs, modality)) for modality in Modality}

    def _items(self, view: View) -> Iterable[dict]:  # type: ignore[type-arg]
        for digest in self._contents(view):
            item = view.item_of(digest)
            facts = None if item is None else view.facts(item)
            if facts and digest not in self.without and self._admits_modality(facts["modality"]):
                yield facts

    def _admits_modality(self, modality: str) -> bool:
        return not self.modalities or Modality(modality) in self.modalities

    def _contents(self, view: View) -> Iterable[bytes]:
        if not self.on_paths:
            return (bytes.fromhex(facts["hash"]) for _, facts in view.items())
        tops = self.under or (None,)
        records = (record for top in tops for record in view.paths(top) if self.admits(record))
        return {record.digest for record in records if record.digest != NO_CONTENT}


def make_filters(
    *,
    modality: str | Iterable[str] | None = None,
    under: str | os.PathLike[str] | Iterable[str | os.PathLike[str]] | None = None,
    since: str | datetime | None = None,
    ext: str | Iterable[str] | None = None,
    where: Mapping[str, str] | None = None,
) -> Filters:
    """Read filters as people write them. Raises `BadQuery`."""
    return Filters(
        modalities=frozenset(_modality(name) for name in _listed(modality)),
        under=tuple(Path(os.path.abspath(Path(top).expanduser())) for top in _listed(under)),
        since=_moment(since) if isinstance(since, str) else since,
        extensions=frozenset(str(name).lower().removeprefix(".") for name in _listed(ext)),
        metadata=dict(where or {}),
    )


def _listed(given: object) -> list[str]:
    if given is None:
        return []
    if isinstance(given, str | os.PathLike):
        return [os.fspath(given)]
    return [os.fspath(each) for each in given]  # type: ignore[attr-defined]


def _modality(name: str) -> Modality:
    from bindsearch.spaces import modality_named

    return modality_named(name)


def _moment(words: str) -> datetime:
    try:
        return datetime.fromisoformat(words)
    except ValueError as error:
        raise BadQuery(f"--since {words!r} is no date; write it like 2026-05-31 or 2026-05-31T18:00") from error
