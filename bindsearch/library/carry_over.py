"""Carry what does not depend on the space from one edition to another: paths, metadata, concepts, indexed folders."""

from __future__ import annotations

from dataclasses import replace

from bindsearch.core.file_state import NO_CONTENT, UNSEEN
from bindsearch.library.edition import OpenEdition
from bindsearch.storage.records import ConceptRecord, PathRecord
from bindsearch.storage.snapshot import Snapshot
from bindsearch.storage.write_transaction import WriteTransaction


def carry_over(source: OpenEdition, target: OpenEdition, *, overrule: bool) -> None:
    """Bring paths, metadata, indexed folders and concepts of the target up to date with the source.

    With `overrule`, the source decides which content a path has. A path whose content the target lacks is recorded by
    name only, so that the next `index` reads it.
    """
    with source.ledger.read() as old, target.ledger.read() as new:
        links = [link for record in old.paths() if (link := _changed_link(record, new, overrule=overrule)) is not None]
        gone = [record.path for record in new.paths() if old.path(record.path) is None]
        former = [(digest, data) for digest, data in old.former() if new.former_metadata(digest) != data]
        folders = old.indexed_folders()
        same_folders = new.indexed_folders() == folders
        saved, known = old.concepts(), new.concepts()
        concepts = [(name, concept) for name, concept in saved.items() if not _same_parts(concept, known.get(name))]
        dropped = sorted(known.keys() - saved.keys())
    target.ledger.write_each(WriteTransaction.link, links)
    target.ledger.write_each(WriteTransaction.unlink, gone)
    target.ledger.write_each(lambda txn, pair: txn.put_former(*pair), former)
    target.ledger.write_each(lambda txn, pair: txn.put_concept(*pair), concepts)
    target.ledger.write_each(WriteTransaction.drop_concept, dropped)
    if not same_folders:
        target.ledger.write(lambda txn: txn.set_indexed_folders(folders))


def _same_parts(concept: ConceptRecord, other: ConceptRecord | None) -> bool:
    """Whether two records of a concept have the same parts; their vectors may be of different spaces."""
    return other is not None and concept.parts == other.parts


def _changed_link(record: PathRecord, new: Snapshot, *, overrule: bool) -> PathRecord | None:
    """Return the record that the target needs for a path of the source; None if it has it already."""
    current = new.path(record.path)
    if current is None or current.stamp == UNSEEN:
        unseen = replace(record, stamp=UNSEEN, digest=NO_CONTENT, refused="")
        link = record if _knows(new, record.digest) else unseen
    elif overrule and _knows(new, record.digest):
        link = record
    else:
        link = replace(current, metadata=record.metadata)
    return None if link == current else link


def _knows(snapshot: Snapshot, digest: bytes) -> bool:
    """Whether a content is an item or in quarantine."""
    return digest != NO_CONTENT and (snapshot.item_of(digest) is not None or snapshot.quarantined(digest) is not None)
