"""Tags: the probabilities that a classifier gives every item, stored in the ledger for filters.

A tag is a label with a probability. The classifier is stored with the tags, so that it also tags what is indexed
later. Tags belong to one space: a migration computes them again from the words of their labels, and drops those that
depend on examples or tuning, which another space cannot reproduce.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bindsearch.core.file_state import NO_CONTENT
from bindsearch.core.lock import writing
from bindsearch.core.paths import absolute
from bindsearch.core.progress import Progress
from bindsearch.core.suggest import did_you_mean
from bindsearch.errors import BadQuery
from bindsearch.query.tag_conditions import DEFAULT_TAG_PROBABILITY
from bindsearch.storage.ledger import Ledger
from bindsearch.storage.records import PathRecord, TaggerRecord
from bindsearch.storage.snapshot import Snapshot
from bindsearch.storage.write_transaction import WriteTransaction
from bindsearch.types import Modality, Vectors
from bindsearch.zeroshot import Classifier, MediaVectors
from bindsearch.zeroshot.saving import deserialise, serialise

if TYPE_CHECKING:
    from bindsearch.library.edition import OpenEdition

MAX_TRANSACTION_ITEMS = 256
"""Items that are tagged in one transaction."""
ProgressCallback = Callable[[Progress], None]


@dataclass(frozen=True, slots=True)
class Tag:
    """A label that items are tagged with."""

    label: str
    items: int
    """Live items for which it is more probable than not."""
    tagged: int
    """Live items that were tagged, whatever the probability."""
    made: str
    """When its classifier was stored."""

    def as_json(self) -> dict[str, Any]:
        """Return plain values, ready for `json.dumps`."""
        return asdict(self)


class Tags(Mapping[str, Tag]):
    """The tags of a library, by label."""

    def __init__(self, folder: Path, now: Callable[[], OpenEdition]) -> None:
        self._folder = folder
        self._now = now

    def __getitem__(self, label: str) -> Tag:
        with self._now().ledger.read() as snapshot:
            number, _ = snapshot.tag_columns()[label]
            return _counted(snapshot, number)[label]

    def __iter__(self) -> Iterator[str]:
        with self._now().ledger.read() as snapshot:
            return iter(snapshot.tag_columns())

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def counted(self) -> list[Tag]:
        """Return all tags, with one scan per classifier."""
        with self._now().ledger.read() as snapshot:
            return [tag for number in snapshot.taggers() for tag in _counted(snapshot, number).values()]

    def of(self, path: str | os.PathLike[str]) -> dict[str, float]:
        """Return the probability of each tag for a file of the library, highest first. Raises `BadQuery`."""
        path = absolute([path])[0]
        with self._now().ledger.read() as snapshot:
            record = snapshot.path(path)
            item = None if record is None or record.digest == NO_CONTENT else snapshot.item_of(record.digest)
            if item is None:
                raise BadQuery(f"{path} {_why_no_tags(snapshot, record)}")
            tags = _tags_of(snapshot, item)
        return dict(sorted(tags.items(), key=lambda pair: (-pair[1], pair[0])))

    def add(self, classifier: Classifier, *, progress: ProgressCallback | None = None) -> list[str]:
        """Tag every item, now and when it is indexed later, with the labels of a classifier; return the labels.

        Tags of another classifier with the same label are replaced. Raises `LibraryBusy`, `SpaceMismatch`.
        """
        with writing(self._folder):
            edition = self._now()
            edition.edition.check(classifier.spec, self._folder)
            number = add_tagger(edition.ledger, classifier)
            labels = list(classifier.labels)
            for other in remove_labels(edition.ledger, labels, except_tagger=number):
                drop_rows(edition.ledger, other)
            tag_new_items(edition, progress=progress, numbers={number})
        return labels

    def remove(self, labels: Iterable[str] | None = None) -> list[str]:
        """Remove some tags, or all; return their labels. Raises `BadQuery` for an unknown label, `LibraryBusy`."""
        with writing(self._folder):
            edition = self._now()
            known = list(self)
            wanted = known if labels is None else list(dict.fromkeys(labels))
            for label in wanted:
                if label not in known:
                    suggestion = did_you_mean(label, known)
                    raise BadQuery(f"there is no tag {label}{suggestion}; `bindsearch tag` lists the tags")
            for number in remove_labels(edition.ledger, wanted):
                drop_rows(edition.ledger, number)
        return wanted


def _why_no_tags(snapshot: Snapshot, record: PathRecord | None) -> str:
    """Return why a file without an item has no tags."""
    refusal = record and (record.refused or snapshot.quarantined(record.digest))
    if refusal:
        return f"cannot be read: {refusal}"
    if record is not None:
        return "cannot have tags: its format is not supported"
    return "is not in the library: run `bindsearch index` on it or its folder"


def _counted(snapshot: Snapshot, number: int) -> dict[str, Tag]:
    """Return the tags of one classifier, counted over live items."""
    tagger = snapshot.taggers()[number]
    likely, tagged = np.zeros(tagger.answers, dtype=np.int64), 0
    for item, row in snapshot.tag_rows(number):
        if _is_live(snapshot, item):
            likely += row >= DEFAULT_TAG_PROBABILITY
            tagged += 1
    return {label: Tag(label, int(likely[column]), tagged, tagger.made) for label, column in tagger.columns.items()}


def _is_live(snapshot: Snapshot, item: int) -> bool:
    record = snapshot.item_record(item)
    return record is not None and snapshot.is_live(record.digest)


def _tags_of(snapshot: Snapshot, item: int) -> dict[str, float]:
    found = {}
    for label, (number, column) in snapshot.tag_columns().items():
        row = snapshot.tag_row(number, item)
        if row is not None:
            found[label] = float(row[column])
    return found


# -- below, the caller holds the writer lock


def add_tagger(ledger: Ledger, classifier: Classifier, *, labels: Iterable[str] | None = None) -> int:
    """Store a classifier that has tagged nothing yet, for some of its labels or all; return its number."""
    wanted = set(classifier.labels if labels is None else labels)
    tagger = TaggerRecord(
        columns={label: column for column, label in enumerate(classifier.answers) if label in wanted},
        answers=len(classifier.answers),
        made=datetime.now().astimezone().isoformat(timespec="seconds"),
        words=_words(classifier),
    )
    raw = serialise(classifier)
    return ledger.write(lambda txn: txn.put_tagger(tagger, raw))


def remove_labels(ledger: Ledger, labels: Iterable[str], *, except_tagger: int | None = None) -> list[int]:
    """Remove labels from all classifiers; return the numbers of the classifiers that have none left."""
    gone = set(labels)
    with ledger.read() as snapshot:
        known = snapshot.taggers()
    changed = [
        (
            number,
            replace(tagger, columns={label: column for label, column in tagger.columns.items() if label not in gone}),
        )
        for number, tagger in known.items()
        if number != except_tagger and not gone.isdisjoint(tagger.columns)
    ]
    ledger.write_each(lambda txn, pair: txn.set_tagger(*pair), changed)
    return [number for number, tagger in changed if not tagger.columns]


def drop_rows(ledger: Ledger, number: int) -> None:
    """Drop the rows of a classifier and its stored bytes."""
    with ledger.read() as snapshot:
        tagged = [item for item, _ in snapshot.tag_rows(number)]
    ledger.write_each(lambda txn, item: txn.drop_tags(number, item), [*tagged, None])


def tag_new_items(
    edition: OpenEdition, *, progress: ProgressCallback | None = None, numbers: Iterable[int] | None = None
) -> int:
    """Tag the items that were added since the last time; return their number. It can be killed and run again.

    Raises what loading the space raises, if there is anything to tag.
    """
    with edition.ledger.read() as snapshot:
        known = snapshot.taggers()
        newest = snapshot.last_item()
    behind = {number: tagger for number, tagger in known.items() if tagger.upto < newest}
    if numbers is not None:
        behind = {number: tagger for number, tagger in behind.items() if number in set(numbers)}
    return sum(_tag_with(edition, number, tagger, progress) for number, tagger in behind.items())


def _tag_with(edition: OpenEdition, number: int, tagger: TaggerRecord, progress: ProgressCallback | None) -> int:
    with edition.ledger.read() as snapshot:
        raw, total = snapshot.tagger(number), snapshot.item_count()
    classifier = deserialise(raw, edition.space, name="the classifier of a tag")
    done = 0
    while items := _media_after(edition, tagger.upto):
        tagged = [
            # one by one: a product of another shape may round differently, and the same file must get the same tags
            (item, classifier.probabilities([media])[0].astype(np.float32))
            for item, media in items
            if media is not None
        ]
        tagger = replace(tagger, upto=items[-1][0])
        _commit(edition.ledger, number, tagger, tagged)
        done += len(tagged)
        if progress is not None:
            progress(Progress(done, total, 0, None))
    return done


def _commit(ledger: Ledger, number: int, tagger: TaggerRecord, tagged: list[tuple[int, Vectors]]) -> None:
    """Write the tags of some items, and the last item that was tagged, in one transaction."""

    def change_all(txn: WriteTransaction) -> None:
        for item, probabilities in tagged:
            txn.put_tags(number, item, probabilities)
        txn.set_tagger(number, tagger)

    ledger.write(change_all)


def _media_after(edition: OpenEdition, item: int) -> list[tuple[int, MediaVectors | None]]:
    """Return the items after a number with their media vectors; None for an item without vectors."""
    found: list[tuple[int, MediaVectors | None]] = []
    with edition.ledger.read() as snapshot:
        for number, record in islice(snapshot.items_after(item), MAX_TRANSACTION_ITEMS):
            kinds = [run.modality for run in record.runs for _ in range(run.count)]
            found.append((number, MediaVectors.of(kinds, edition.rows(snapshot, number)) if kinds else None))
    return found


# -- migration to another space


@dataclass(frozen=True, slots=True)
class TransferredTags:
    """What became of the tags in a migration."""

    recomputed: tuple[str, ...] = ()
    """Computed again, from the words of their labels."""
    dropped: tuple[str, ...] = ()
    """Dropped: they depend on examples or tuning in the old space, or the new one has no text encoder."""


def transfer_tags(source: OpenEdition, target: OpenEdition) -> TransferredTags:
    """Transfer the tags of one edition to another, computed in its own space; classifiers of the same words are kept.

    Tags from examples in the target's space are kept, too, unless the source has the same label.
    """
    with source.ledger.read() as old, target.ledger.read() as new:
        source_taggers, target_taggers = list(old.taggers().values()), new.taggers()
    recomputed: list[str] = []
    dropped: list[str] = []
    kept = {number for number, tagger in target_taggers.items() if tagger.words is None}
    has_text = Modality.TEXT in target.space.spec.modalities
    for tagger in source_taggers:
        labels = list(tagger.columns)
        same = next((number for number, own in target_taggers.items() if _same(own, tagger)), None)
        if tagger.words is None or not has_text:
            dropped += labels
        elif same is None:
            recomputed += labels
            number = add_tagger(target.ledger, _classifier_of(tagger.words, target), labels=labels)
            kept -= {*remove_labels(target.ledger, labels, except_tagger=number)}
        else:
            kept |= {same}
    for number in target_taggers.keys() - kept:
        remove_tagger(target.ledger, number)
    tag_new_items(target)
    return TransferredTags(tuple(recomputed), tuple(dropped))


def remove_tagger(ledger: Ledger, number: int) -> None:
    """Remove a classifier and all its tags."""
    ledger.write(lambda txn: txn.drop_tagger(number))
    drop_rows(ledger, number)


def _same(own: TaggerRecord, other: TaggerRecord) -> bool:
    return own.words == other.words and own.words is not None and own.columns == other.columns


def _words(classifier: Classifier) -> dict[str, Any] | None:
    """Return the words that a classifier can be rebuilt from; None if it needs more than words."""
    if classifier.example_caches or classifier.centre or classifier.prompts.weights:
        return None
    return {
        "labels": list(classifier.labels),
        "background": list(classifier.background),
        "templates": {str(modality): list(some) for modality, some in classifier.prompts.templates.items()},
    }


def _classifier_of(words: Mapping[str, Any], edition: OpenEdition) -> Classifier:
    none = words["background"] or False
    return Classifier(edition.space, words["labels"], templates=words["templates"], none=none)
