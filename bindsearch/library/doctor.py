"""Proves that ledger, files and indexes agree, and mends what does not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from operator import methodcaller
from pathlib import Path

import numpy as np

from bindsearch.core.file_state import NO_CONTENT, digest_of, is_gone, stamp_of
from bindsearch.core.files import remove
from bindsearch.errors import CorruptLibrary
from bindsearch.indexing.index_store import Gallery, live_runs
from bindsearch.library.edition import OpenEdition
from bindsearch.ports import Index
from bindsearch.storage.ledger import Ledger
from bindsearch.storage.manifest import read_card, strays
from bindsearch.storage.records import PathRecord, run_ids
from bindsearch.storage.snapshot import View, digest_in
from bindsearch.storage.write_transaction import Change
from bindsearch.types import Modality

NORM_ERROR = 2e-3
"""How far float16 may move the length of a unit vector."""


def examined(edition: OpenEdition, *, read_files: bool, repair: bool = False) -> list[str]:
    """Say what does not hold in an edition, and mend it if asked to."""
    doctor = Doctor(edition.ledger, edition.gallery, read_files=read_files)
    return doctor.repair() if repair else doctor.examine()


def examine_beside(beside: Mapping[str, OpenEdition], *, repair: bool = False) -> list[str]:
    """Say what does not hold in the editions that do not answer. Their files are those of the one that does."""
    return [
        f"space {edition.edition.space} ({word}): {words}"
        for word, edition in beside.items()
        for words in examined(edition, read_files=False, repair=repair)
    ]


def examine_strays(folder: Path, *, repair: bool = False) -> list[str]:
    """Say what an interrupted removal left, and remove it if asked to. The caller is the writer."""
    told = []
    for place in strays(folder, read_card(folder)):
        told.append(f"{place.relative_to(folder)}: no space owns it; an interrupted removal left it")
        if repair:
            remove(place)
    return told


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that does not hold, in words, and what mends it."""

    words: str
    mend: Callable[[Change], None]


@dataclass(frozen=True, slots=True)
class Drift:
    """How many files are not as they were indexed. That is no damage: the next `index` sees to it."""

    changed: int
    gone: int


def drift(records: Iterable[PathRecord]) -> Drift:
    """Compare files with their records, by size and time."""
    told = Counter(_drifted(record) for record in records if record.digest != NO_CONTENT)
    return Drift(told["changed"], told["gone"])


def _drifted(record: PathRecord) -> str:
    try:
        return "" if stamp_of(record.path) == record.stamp else "changed"
    except OSError:
        return "gone" if is_gone(record.path) else ""  # one that cannot be looked at may be as it was


class Doctor:
    """Examines one library."""

    def __init__(self, ledger: Ledger, gallery: Gallery, *, read_files: bool) -> None:
        self._ledger = ledger
        self._gallery = gallery
        self._read_files = read_files

    def examine(self) -> list[str]:
        """Say what does not hold. An empty list is the proof that all does."""
        findings = self._findings()
        return [finding.words for finding in findings] + ([] if findings else self._index_findings())

    def repair(self) -> list[str]:
        """Mend what does not hold, and say what it was. What must be embedded again is done by the next index."""
        told: list[str] = []
        while findings := self._findings():  # mending a record may show what it hid
            told += [finding.words for finding in findings]
            for finding in findings:
                self._ledger.write(finding.mend)
        told += self._index_findings()
        with self._ledger.read() as view:
            self._gallery.rebuild(view)
        self._ledger.prune_log(self._gallery.save(everything=True))
        return told

    def _findings(self) -> list[Finding]:
        with self._ledger.read() as view:
            damaged = [*_records(view)]
            if damaged:
                return damaged
            found = [*_items(view), *_contents(view), *_strays(view), *_owners(view), *_paths(view), *_tags(view)]
            records = list(view.paths()) if self._read_files else []
        return [*found, *filter(None, map(_changed_secretly, records))]

    def _index_findings(self) -> list[str]:
        """Compare the indexes with the ledger: the same ids, and the same values."""
        with self._ledger.read() as view:
            runs = list(live_runs(view))
            indexes = self._gallery.follow(view)
            told = []
            for modality in Modality:
                expected = np.sort(run_ids(runs, modality))
                index = indexes.get(modality)
                present = np.empty(0, dtype=np.int64) if index is None else index.ids()
                if not np.array_equal(expected, present):
                    lost, extra = np.setdiff1d(expected, present), np.setdiff1d(present, expected)
                    told.append(f"{modality} index: {len(lost)} segments are missing, {len(extra)} should not be there")
                    continue
                mine = [run for run in runs if run[1] == modality]
                wrong = 0 if index is None else sum(_differs(index, view, run) for run in mine)
                if wrong:
                    told.append(f"{modality} index: {wrong} runs of vectors differ from the ledger's")
            return told + [
                f"{modality} index: finds {found['worst']:.1%} of the ten best, not {100 * found['target']:g}%"
                for modality, found in self._gallery.certificates().items()
                if not found["holds"]
            ]


def _changed_secretly(record: PathRecord) -> Finding | None:
    """Compare a file that is as it was, by its stamp, with the content that the ledger knows of it."""
    if record.digest == NO_CONTENT:
        return None
    try:
        same_stamp = not is_gone(record.path) and stamp_of(record.path) == record.stamp
        wrong = same_stamp and digest_of(record.path) != record.digest
    except OSError:
        return None  # a file that cannot be looked at proves nothing
    words = f"{record.path}: its content changed behind an unchanged size and time"
    return Finding(words, _unlink(record)) if wrong else None


def _records(view: View) -> Iterator[Finding]:
    """See that every item's record can be read."""
    for item in view.damaged_items():
        yield Finding(f"item {item}: its record is damaged", methodcaller("drop_record", item))


def _differs(index: Index, view: View, run: tuple[int, str, int]) -> bool:
    """Tell whether an index holds other vectors of a run than the ledger."""
    try:
        stored = view.vectors(run[0])
    except CorruptLibrary:
        return True
    return not np.allclose(index.vectors(run_ids([run], Modality(run[1]))), stored, atol=1e-6)


def _items(view: View) -> Iterator[Finding]:
    """See that every item is its content's, and has all its runs and vectors, whole and of unit length."""
    for item, facts in view.items():
        digest = digest_in(facts)
        if view.item_of(digest) != item:
            yield Finding(f"item {item}: its content belongs to another item", _drop_item(item, view.owners(digest)))
            continue
        flaw = next((words for first, _, count in facts["runs"] if (words := _flaw(view, item, first, count))), None)
        if flaw:
            yield Finding(f"item {item}: {flaw}", _drop_item(item, view.owners(digest)))


def _flaw(view: View, item: int, first: int, count: int) -> str | None:
    try:
        head = view.run_head(first)
        vectors = view.raw_vectors(first)
    except (KeyError, ValueError):
        return f"its vectors from segment {first} on are missing or torn"
    if head is None or (head[0], head[2]) != (item, count):
        return f"its segments from {first} on are missing or another item's"
    if len(vectors) != count:
        return f"it has {count} segments from {first} on but {len(vectors)} vectors"
    norms = np.linalg.norm(vectors.astype(np.float32), axis=1)
    if not np.all(np.abs(norms - 1) < NORM_ERROR):
        return f"a vector from segment {first} on is not of unit length"
    return None


def _contents(view: View) -> Iterator[Finding]:
    """See that every content leads to an item."""
    for digest, item in view.contents():
        if view.facts(item) is None:
            mend = _then(methodcaller("drop_content", digest), *map(_unlink, view.owners(digest)))
            yield Finding(f"content {digest.hex()[:12]}: item {item} is missing", mend)


def _strays(view: View) -> Iterator[Finding]:
    """See that no run or block of vectors is outside an item."""
    owned = {first for _, facts in view.items() for first, _, _ in facts["runs"]}
    for first in {*view.run_firsts(), *view.vector_firsts()} - owned:
        yield Finding(f"segment {first}: belongs to no item", methodcaller("drop_run", first))


def _owners(view: View) -> Iterator[Finding]:
    """See that the table of owners says the same as the table of paths."""
    expected: dict[bytes, set[bytes]] = {}
    for key, record in view.path_keys():
        if record.digest != NO_CONTENT:
            expected.setdefault(record.digest, set()).add(key)
    present: dict[bytes, set[bytes]] = {}
    for digest, key in view.owner_keys():
        present.setdefault(digest, set()).add(key)
    for digest in expected.keys() | present.keys():
        right = expected.get(digest, set())
        if right != present.get(digest, set()):
            words = f"content {digest.hex()[:12]}: has {len(right)} paths, but others are noted"
            yield Finding(words, methodcaller("set_owners", digest, right))


def _paths(view: View) -> Iterator[Finding]:
    """See that every path leads to an item, or to a reason why there is none."""
    for record in view.paths():
        if record.digest == NO_CONTENT or view.quarantined(record.digest) is not None:
            continue
        if view.item_of(record.digest) is None:
            yield Finding(f"{record.path}: its item is missing", _unlink(record))


def _tags(view: View) -> Iterator[Finding]:
    """See that tags are of items that there are, and said by classifiers that there are, whole."""
    known = view.taggers()
    sizes = {number: told["answers"] for number, told in known.items()}
    kept = set()
    for key in view.tag_keys():
        number, item = key
        row = None if item is None else view.tag_row(number, item)
        if number not in known:
            yield Finding(f"tags {number}: what was removed is still there", methodcaller("drop_tags", key))
        elif item is None:
            kept.add(number)
        elif view.facts(item) is None or row is None or len(row) != sizes[number]:
            yield Finding(f"tags {number} of item {item}: astray or torn", methodcaller("drop_tags", key))
    for number in known.keys() - kept:
        mend = methodcaller("set_tagger", (number, {"columns": {}}))
        yield Finding(f"tags {number}: the classifier that says them is missing", mend)


def _unlink(record: PathRecord) -> Callable[[Change], None]:
    return methodcaller("unlink", record.path)


def _drop_item(item: int, owners: list[PathRecord]) -> Callable[[Change], None]:
    return _then(methodcaller("drop_item", item), *map(_unlink, owners))


def _then(*steps: Callable[[Change], None]) -> Callable[[Change], None]:
    def all_of_them(change: Change) -> None:
        for step in steps:
            step(change)

    return all_of_them
