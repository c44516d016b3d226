"""Tags: what a classifier says of every item, kept in the ledger where filters find it.

A tag is a label with a probability. The classifier is kept beside the tags, so that what is indexed later is tagged by
it as well. Tags are of one space: a migration works them out anew from the words of their labels, and drops those that
hang on examples or tuning, which another space does not know.
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

TOGETHER = 256
"""Items that are tagged in one transaction."""
ProgressCallback = Callable[[Progress], None]


@dataclass(frozen=True, slots=True)
class Tag:
    """A label that items are tagged with."""

    label: str
    items: int
    """Live items for which it is more probable than not."""
    tagged: int
    """Live items that it is known of, probable or not."""
    made: str
    """When its classifier was kept."""

    def as_json(self) -> dict[str, Any]:
        """Plain values, ready for `json.dumps`."""
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
        """Return all tags, looking once at what items have."""
        with self._now().ledger.read() as snapshot:
            return [tag for number in snapshot.taggers() for tag in _counted(snapshot, number).values()]

    def of(self, path: str | os.PathLike[str]) -> dict[str, float]:
        """Return how probable each tag is for a file of the library, likeliest first. Raises `BadQuery`."""
        place = absolute([path])[0]
        with self._now().ledger.read() as snapshot:
            record = snapshot.path(place)
            item = None if record is None or record.digest == NO_CONTENT else snapshot.item_of(record.digest)
            if item is None:
                raise BadQuery(f"{place} {_why_no_tags(snapshot, record)}")
            told = _tags_of(snapshot, item)
        return dict(sorted(told.items(), key=lambda pair: (-pair[1], pair[0])))

    def add(self, classifier: Classifier, *, progress: ProgressCallback | None = None) -> list[str]:
        """Tag every item with the labels of a classifier, and what is indexed from now on; give the labels.

        A tag of the same label that another classifier says is replaced. Raises `LibraryBusy`, `SpaceMismatch`.
        """
        with writing(self._folder):
            edition = self._now()
            edition.edition.check(classifier.spec, self._folder)
            number = keep(edition.ledger, classifier)
            labels = list(classifier.labels)
            for other in forget(edition.ledger, labels, but=number):
                clear(edition.ledger, other)
            follow(edition, progress=progress, numbers={number})
        return labels

    def remove(self, labels: Iterable[str] | None = None) -> list[str]:
        """Remove some tags, or all; give their labels. Raises `BadQuery` for one that there is not, `LibraryBusy`."""
        with writing(self._folder):
            edition = self._now()
            known = list(self)
            wanted = known if labels is None else list(dict.fromkeys(labels))
            for label in wanted:
                if label not in known:
                    meant = did_you_mean(label, known)
                    raise BadQuery(f"no tag is called {label}{meant}; `bindsearch tag` lists the tags")
            for number in forget(edition.ledger, wanted):
                clear(edition.ledger, number)
        return wanted


def _why_no_tags(snapshot: Snapshot, record: PathRecord | None) -> str:
    """Say of a file without an item why it has none."""
    refusal = record and (record.refused or snapshot.quarantined(record.digest))
    if refusal:
        return f"cannot be read: {refusal}"
    if record is not None:
        return "is none of the kinds that bindsearch reads"
    return "is not in the library: `bindsearch index` it, or the folder it lies in"


def _counted(snapshot: Snapshot, number: int) -> dict[str, Tag]:
    """Count what one classifier says of live items."""
    tagger = snapshot.taggers()[number]
    likely, tagged = np.zeros(tagger.answers, dtype=np.int64), 0
    for item, row in snapshot.tag_rows(number):
        if _is_live(snapshot, item):
            likely += row >= DEFAULT_TAG_PROBABILITY
            tagged += 1
    return {label: Tag(label, int(likely[at]), tagged, tagger.made) for label, at in tagger.columns.items()}


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


# What a writer does ------------------------------------------------------------------------------------------------


def keep(ledger: Ledger, classifier: Classifier, *, labels: Iterable[str] | None = None) -> int:
    """Keep a classifier that has tagged nothing yet, for some of its labels or all; give its number."""
    wanted = set(classifier.labels if labels is None else labels)
    tagger = TaggerRecord(
        columns={label: column for column, label in enumerate(classifier.answers) if label in wanted},
        answers=len(classifier.answers),
        made=datetime.now().astimezone().isoformat(timespec="seconds"),
        words=_words(classifier),
    )
    raw = serialise(classifier)
    return ledger.write(lambda txn: txn.put_tagger(tagger, raw))


def forget(ledger: Ledger, labels: Iterable[str], *, but: int | None = None) -> list[int]:
    """Take labels from the classifiers that say them; give the numbers of those that have none left."""
    gone = set(labels)
    with ledger.read() as snapshot:
        known = snapshot.taggers()
    changed = [
        (number, replace(tagger, columns={label: at for label, at in tagger.columns.items() if label not in gone}))
        for number, tagger in known.items()
        if number != but and not gone.isdisjoint(tagger.columns)
    ]
    ledger.write_each(lambda txn, pair: txn.set_tagger(*pair), changed)
    return [number for number, tagger in changed if not tagger.columns]


def clear(ledger: Ledger, number: int) -> None:
    """Drop all that a classifier has said, and itself."""
    with ledger.read() as snapshot:
        tagged = [item for item, _ in snapshot.tag_rows(number)]
    ledger.write_each(lambda txn, item: txn.drop_tags(number, item), [*tagged, None])


def follow(
    edition: OpenEdition, *, progress: ProgressCallback | None = None, numbers: Iterable[int] | None = None
) -> int:
    """Tag the items that came since the last time; give their number. It can be killed anywhere, and run again.

    Raises what loading the space raises, where there is anything to tag.
    """
    with edition.ledger.read() as snapshot:
        known = snapshot.taggers()
        newest = snapshot.last_item()
    late = {number: tagger for number, tagger in known.items() if tagger.upto < newest}
    if numbers is not None:
        late = {number: tagger for number, tagger in late.items() if number in set(numbers)}
    return sum(_tagged_by(edition, number, tagger, progress) for number, tagger in late.items())


def _tagged_by(edition: OpenEdition, number: int, tagger: TaggerRecord, progress: ProgressCallback | None) -> int:
    with edition.ledger.read() as snapshot:
        raw, total = snapshot.tagger(number), snapshot.item_count()
    classifier = deserialise(raw, edition.space, name="a classifier that tags")
    done = 0
    while items := _seen_after(edition, tagger.upto):
        tagged = [
            # one by one: a product of another shape may round otherwise, and the same file must get the same tags
            (item, classifier.probabilities([seen])[0].astype(np.float32))
            for item, seen in items
            if seen is not None
        ]
        tagger = replace(tagger, upto=items[-1][0])
        _commit(edition.ledger, number, tagger, tagged)
        done += len(tagged)
        if progress is not None:
            progress(Progress(done, total, 0, None))
    return done


def _commit(ledger: Ledger, number: int, tagger: TaggerRecord, tagged: list[tuple[int, Vectors]]) -> None:
    """Write the tags of some items, and how far one has come, in one transaction."""

    def change_all(txn: WriteTransaction) -> None:
        for item, probabilities in tagged:
            txn.put_tags(number, item, probabilities)
        txn.set_tagger(number, tagger)

    ledger.write(change_all)


def _seen_after(edition: OpenEdition, item: int) -> list[tuple[int, MediaVectors | None]]:
    """Return the next items as a classifier sees them; None for one without vectors."""
    found: list[tuple[int, MediaVectors | None]] = []
    with edition.ledger.read() as snapshot:
        for number, record in islice(snapshot.items_after(item), TOGETHER):
            kinds = [run.modality for run in record.runs for _ in range(run.count)]
            found.append((number, MediaVectors.of(kinds, edition.rows(snapshot, number)) if kinds else None))
    return found


# To another space --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class TransferredTags:
    """What became of the tags when a library went to another space."""

    again: tuple[str, ...] = ()
    """Worked out anew, from the words of their labels."""
    dropped: tuple[str, ...] = ()
    """Dropped: they hang on examples or tuning in the old space, or the new one knows no words."""


def transfer_tags(source: OpenEdition, target: OpenEdition) -> TransferredTags:
    """Return an edition the tags of another, in its own space. What it says of the same words already, it keeps.

    Tags that are made of examples in the target's space stay there, too, unless the source has the label from others.
    """
    with source.ledger.read() as old, target.ledger.read() as new:
        theirs, ours = list(old.taggers().values()), new.taggers()
    again: list[str] = []
    dropped: list[str] = []
    kept = {number for number, tagger in ours.items() if tagger.words is None}
    reads = Modality.TEXT in target.space.spec.modalities
    for tagger in theirs:
        labels = list(tagger.columns)
        same = next((number for number, own in ours.items() if _same(own, tagger)), None)
        if tagger.words is None or not reads:
            dropped += labels
        elif same is None:
            again += labels
            number = keep(target.ledger, _made(tagger.words, target), labels=labels)
            kept -= {*forget(target.ledger, labels, but=number)}
        else:
            kept |= {same}
    for number in ours.keys() - kept:
        forget_whole(target.ledger, number)
    follow(target)
    return TransferredTags(tuple(again), tuple(dropped))


def forget_whole(ledger: Ledger, number: int) -> None:
    """Forget a classifier and all its tags."""
    ledger.write(lambda txn: txn.drop_tagger(number))
    clear(ledger, number)


def _same(own: TaggerRecord, other: TaggerRecord) -> bool:
    return own.words == other.words and own.words is not None and own.columns == other.columns


def _words(classifier: Classifier) -> dict[str, Any] | None:
    """Return the words that a classifier is made of; None where it is made of more than words."""
    if classifier.example_caches or classifier.centre or classifier.prompts.weights:
        return None
    return {
        "labels": list(classifier.labels),
        "background": list(classifier.background),
        "templates": {str(modality): list(some) for modality, some in classifier.prompts.templates.items()},
    }


def _made(words: Mapping[str, Any], edition: OpenEdition) -> Classifier:
    none = words["background"] or False
    return Classifier(edition.space, words["labels"], templates=words["templates"], none=none)
