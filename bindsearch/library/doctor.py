"""Checks that files, ledger and indexes agree, and repairs what does not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bindsearch.core.file_state import NO_CONTENT, digest_of, is_gone, stamp_of
from bindsearch.core.files import remove_folder
from bindsearch.errors import CorruptLibrary
from bindsearch.indexing.index_store import IndexStore
from bindsearch.indexing.transfer import live_runs
from bindsearch.library.edition import OpenEdition
from bindsearch.ports import Index
from bindsearch.storage.ledger import Ledger
from bindsearch.storage.manifest import EditionRole, read_manifest, strays
from bindsearch.storage.records import PathRecord, RunRef, run_ids
from bindsearch.storage.snapshot import Snapshot
from bindsearch.storage.write_transaction import Change, WriteTransaction, deferred
from bindsearch.types import Modality

NORM_ERROR = 2e-3
"""By how much float16 may change the length of a unit vector."""


def check_edition(edition: OpenEdition, *, read_files: bool, repair: bool = False) -> list[str]:
    """Return what is wrong with an edition; with `repair`, repair it."""
    doctor = Doctor(edition.ledger, edition.index_store, read_files=read_files)
    return doctor.repair() if repair else doctor.check()


def check_other_editions(others: Mapping[EditionRole, OpenEdition], *, repair: bool = False) -> list[str]:
    """Return what is wrong with the previous and the pending edition. Files are checked with the current one only."""
    return [
        f"space {edition.edition.space} ({role}): {finding}"
        for role, edition in others.items()
        for finding in check_edition(edition, read_files=False, repair=repair)
    ]


def check_orphans(folder: Path, *, repair: bool = False) -> list[str]:
    """Return what an interrupted removal left behind; with `repair`, remove it. The caller holds the writer lock."""
    findings = []
    for place in strays(folder, read_manifest(folder)):
        findings.append(f"{place.relative_to(folder)}: belongs to no edition (left over from an interrupted removal)")
        if repair:
            remove_folder(place)
    return findings


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is wrong, and the change that repairs it."""

    message: str
    repair: Change


@dataclass(frozen=True, slots=True)
class Drift:
    """How many files changed since they were indexed. This is not damage: the next `index` updates them."""

    changed: int
    gone: int


def drift(records: Iterable[PathRecord]) -> Drift:
    """Compare the stamps of files with their records."""
    counts = Counter(_drifted(record) for record in records if record.digest != NO_CONTENT)
    return Drift(counts["changed"], counts["gone"])


def _drifted(record: PathRecord) -> str:
    try:
        return "" if stamp_of(record.path) == record.stamp else "changed"
    except OSError:
        return "gone" if is_gone(record.path) else ""  # a file that cannot be read may be unchanged


class Doctor:
    """Checks one edition."""

    def __init__(self, ledger: Ledger, index_store: IndexStore, *, read_files: bool) -> None:
        self._ledger = ledger
        self._index_store = index_store
        self._read_files = read_files

    def check(self) -> list[str]:
        """Return what is wrong; an empty list if everything agrees."""
        findings = self._findings()
        return [finding.message for finding in findings] + ([] if findings else self._index_findings())

    def repair(self) -> list[str]:
        """Repair what is wrong, and return it. What must be embedded again is left to the next `index`."""
        repaired: list[str] = []
        while findings := self._findings():  # repairing a record may reveal further faults
            repaired += [finding.message for finding in findings]
            for finding in findings:
                self._ledger.write(finding.repair)
        repaired += self._index_findings()
        with self._ledger.read() as snapshot:
            self._index_store.rebuild(snapshot)
        self._ledger.prune_log(self._index_store.save(everything=True))
        return repaired

    def _findings(self) -> list[Finding]:
        with self._ledger.read() as snapshot:
            damaged = [*_records(snapshot)]
            if damaged:
                return damaged
            found = [
                *_items(snapshot),
                *_contents(snapshot),
                *_orphans(snapshot),
                *_owners(snapshot),
                *_paths(snapshot),
                *_tags(snapshot),
            ]
            records = list(snapshot.paths()) if self._read_files else []
        return [*found, *filter(None, map(_changed_unnoticed, records))]

    def _index_findings(self) -> list[str]:
        """Compare the ids and the vectors of the indexes with the ledger."""
        with self._ledger.read() as snapshot:
            runs = list(live_runs(snapshot))
            indexes = self._index_store.follow(snapshot)
            findings = []
            for modality in Modality:
                expected = np.sort(run_ids(runs, modality))
                index = indexes.get(modality)
                present = np.empty(0, dtype=np.int64) if index is None else index.ids()
                if not np.array_equal(expected, present):
                    lost, extra = np.setdiff1d(expected, present), np.setdiff1d(present, expected)
                    findings.append(
                        f"{modality} index: {len(lost)} segments are missing, {len(extra)} are not in the ledger"
                    )
                    continue
                own = [run for run in runs if run.modality == modality]
                wrong = 0 if index is None else sum(_differs(index, snapshot, run) for run in own)
                if wrong:
                    findings.append(f"{modality} index: {wrong} runs of vectors differ from the ledger")
            return findings + [
                f"{modality} index: recall of the ten best is {found['worst']:.1%}, below {100 * found['target']:g}%"
                for modality, found in self._index_store.certificates().items()
                if not found["holds"]
            ]


def _changed_unnoticed(record: PathRecord) -> Finding | None:
    """Compare the content of a file whose stamp has not changed with the ledger."""
    if record.digest == NO_CONTENT:
        return None
    try:
        same_stamp = not is_gone(record.path) and stamp_of(record.path) == record.stamp
        wrong = same_stamp and digest_of(record.path) != record.digest
    except OSError:
        return None  # a file that cannot be read proves nothing
    message = f"{record.path}: its content changed, but not its size and modification time"
    return Finding(message, _unlink(record)) if wrong else None


def _records(snapshot: Snapshot) -> Iterator[Finding]:
    """Check that the record of every item can be read."""
    for item in snapshot.damaged_items():
        yield Finding(f"item {item}: its record is damaged", deferred(WriteTransaction.drop_record, item))


def _differs(index: Index, snapshot: Snapshot, run: RunRef) -> bool:
    """Whether the vectors of a run in an index differ from those in the ledger."""
    try:
        stored = snapshot.vectors(run.first)
    except CorruptLibrary:
        return True
    return not np.allclose(index.vectors(run_ids([run], run.modality)), stored, atol=1e-6)


def _items(snapshot: Snapshot) -> Iterator[Finding]:
    """Check that every item belongs to its content, and that its runs and vectors are complete and of unit length."""
    for item, record in snapshot.items():
        digest = record.digest
        if snapshot.item_of(digest) != item:
            yield Finding(
                f"item {item}: its content belongs to another item", _drop_item(item, snapshot.owners(digest))
            )
            continue
        flaw = next(filter(None, (_flaw(snapshot, item, run.first, run.count) for run in record.runs)), None)
        if flaw:
            yield Finding(f"item {item}: {flaw}", _drop_item(item, snapshot.owners(digest)))


def _flaw(snapshot: Snapshot, item: int, first: int, count: int) -> str | None:
    try:
        head = snapshot.run_head(first)
        vectors = snapshot.raw_vectors(first)
    except (KeyError, ValueError):
        return f"the vectors of the run that starts with segment {first} are missing or incomplete"
    if head is None or (head[0], head[2]) != (item, count):
        return f"the segments of the run that starts with segment {first} are missing or belong to another item"
    if len(vectors) != count:
        return f"the run that starts with segment {first} has {count} segments but {len(vectors)} vectors"
    norms = np.linalg.norm(vectors.astype(np.float32), axis=1)
    if not np.all(np.abs(norms - 1) < NORM_ERROR):
        return f"a vector of the run that starts with segment {first} is not of unit length"
    return None


def _contents(snapshot: Snapshot) -> Iterator[Finding]:
    """Check that every content leads to an item."""
    for digest, item in snapshot.contents():
        if snapshot.item_record(item) is None:
            repair = _in_sequence(
                deferred(WriteTransaction.drop_content, digest), *map(_unlink, snapshot.owners(digest))
            )
            yield Finding(f"content {digest.hex()[:12]}: item {item} is missing", repair)


def _orphans(snapshot: Snapshot) -> Iterator[Finding]:
    """Check that every run and block of vectors belongs to an item."""
    owned = {run.first for _, record in snapshot.items() for run in record.runs}
    for first in {*snapshot.run_firsts(), *snapshot.vector_firsts()} - owned:
        yield Finding(f"segment {first}: belongs to no item", deferred(WriteTransaction.drop_run, first))


def _owners(snapshot: Snapshot) -> Iterator[Finding]:
    """Check that the tables of owners and of paths agree."""
    expected: dict[bytes, set[bytes]] = {}
    for key, record in snapshot.path_keys():
        if record.digest != NO_CONTENT:
            expected.setdefault(record.digest, set()).add(key)
    present: dict[bytes, set[bytes]] = {}
    for digest, key in snapshot.owner_keys():
        present.setdefault(digest, set()).add(key)
    for digest in expected.keys() | present.keys():
        right = expected.get(digest, set())
        if right != present.get(digest, set()):
            message = f"content {digest.hex()[:12]}: has {len(right)} paths, but the table of owners differs"
            yield Finding(message, deferred(WriteTransaction.set_owners, digest, right))


def _paths(snapshot: Snapshot) -> Iterator[Finding]:
    """Check that every path has an item, or a reason why it has none."""
    for record in snapshot.paths():
        if record.digest == NO_CONTENT or snapshot.quarantined(record.digest) is not None:
            continue
        if snapshot.item_of(record.digest) is None:
            yield Finding(f"{record.path}: its item is missing", _unlink(record))


def _tags(snapshot: Snapshot) -> Iterator[Finding]:
    """Check that the items and classifiers of all tags exist, and that their rows are complete."""
    known = snapshot.taggers()
    sizes = {number: tagger.answers for number, tagger in known.items()}
    present = set()
    for key in snapshot.tag_keys():
        number, item = key
        row = None if item is None else snapshot.tag_row(number, item)
        if number not in known:
            yield Finding(
                f"tags {number}: left over from a removed classifier", deferred(WriteTransaction.drop_tags, *key)
            )
        elif item is None:
            present.add(number)
        elif snapshot.item_record(item) is None or row is None or len(row) != sizes[number]:
            yield Finding(
                f"tags {number} of item {item}: incomplete, or the item does not exist",
                deferred(WriteTransaction.drop_tags, *key),
            )
    for number in known.keys() - present:
        repair = deferred(WriteTransaction.drop_tagger, number)
        yield Finding(f"tags {number}: the classifier is missing", repair)


def _unlink(record: PathRecord) -> Change:
    return deferred(WriteTransaction.unlink, record.path)


def _drop_item(item: int, owners: list[PathRecord]) -> Change:
    return _in_sequence(deferred(WriteTransaction.drop_item, item), *map(_unlink, owners))


def _in_sequence(*steps: Change) -> Change:
    def change(txn: WriteTransaction) -> None:
        for step in steps:
            step(txn)

    return change
