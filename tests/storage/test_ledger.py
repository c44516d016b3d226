from __future__ import annotations

import shutil
import tempfile
from hashlib import blake2b
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from bindsearch.core.file_state import Stamp
from bindsearch.errors import LibraryNotFound
from bindsearch.indexing.index_store import IndexStore
from bindsearch.library.doctor import Doctor
from bindsearch.storage.ledger import Ledger
from bindsearch.storage.records import Content, PathRecord, Run
from bindsearch.storage.write_transaction import WriteTransaction
from bindsearch.types import Modality, Span

DIM = 8
ROOT = Path("/media")
NAMES = ["a", "b", "sub/a", "sub/b", "sub/deep/c", "x" * 600, "x" * 599 + "y", "caf\udce9"]
TINY_MAP = 1 << 16


def digest(content: int) -> bytes:
    return blake2b(str(content).encode(), digest_size=32).digest()


def expected_vectors(content: int, count: int) -> np.ndarray:
    rows = np.random.default_rng(content).normal(size=(count, DIM))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float16)


def make_content(content: int) -> Content:
    """Return a content that is derived from a number. Multiples of five have two runs."""
    count = content % 4 + 1
    spans = [Span(start=float(second), end=second + 1.0) for second in range(count)]
    runs = [Run(Modality.AUDIO, spans, expected_vectors(content, count).astype(np.float32))]
    if content % 5 == 0:
        text = expected_vectors(content + 1000, 1).astype(np.float32)
        runs.append(Run(Modality.TEXT, [Span(offset=3, length=content)], text, [f"passage {content}"]))
    return Content(Modality.AUDIO, "wav", content, float(count), 1.0, runs)


def store(txn: WriteTransaction, name: str, content: int, stamp: Stamp) -> None:
    txn.put_item(digest(content), make_content(content))
    txn.link(PathRecord(ROOT / name, stamp, digest(content), {"content": str(content)}))


class Crash(Exception):
    pass


class LedgerAgainstDictionary(RuleBasedStateMachine):
    """After any sequence of changes, ledger and indexes agree with a dictionary of path -> content."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.ledger = Ledger.open(self.folder / "ledger", dim=DIM, create=True, first_map=TINY_MAP)
        self.index_store = IndexStore(self.folder / "index", dim=DIM)
        self.paths: dict[str, int] = {}
        self.stamps: dict[str, Stamp] = {}
        self.known: set[int] = set()
        self.clock = 0

    def teardown(self) -> None:
        self.ledger.close()
        shutil.rmtree(self.folder)

    def stamp(self) -> Stamp:
        self.clock += 1
        return Stamp(self.clock * 7, self.clock)

    @rule(name=st.sampled_from(NAMES), content=st.integers(0, 12))
    def add_or_change(self, name: str, content: int) -> None:
        stamp = self.stamp()
        self.ledger.write(lambda txn: store(txn, name, content, stamp))
        self.paths[name], self.stamps[name] = content, stamp
        self.known.add(content)

    @precondition(lambda self: self.paths)
    @rule(data=st.data(), destination=st.sampled_from(NAMES))
    def move(self, data: st.DataObject, destination: str) -> None:
        source = data.draw(st.sampled_from(sorted(self.paths)))
        content, stamp = self.paths[source], self.stamps[source]

        def change_both(txn: WriteTransaction) -> None:
            txn.unlink(ROOT / source)
            txn.link(PathRecord(ROOT / destination, stamp, digest(content), {"content": str(content)}))

        self.ledger.write(change_both)
        del self.paths[source], self.stamps[source]
        self.paths[destination], self.stamps[destination] = content, stamp

    @precondition(lambda self: self.paths)
    @rule(data=st.data(), destination=st.sampled_from(NAMES))
    def copy(self, data: st.DataObject, destination: str) -> None:
        source = data.draw(st.sampled_from(sorted(self.paths)))
        stamp, content = self.stamp(), self.paths[source]
        record = PathRecord(ROOT / destination, stamp, digest(content), {"content": str(content)})
        self.ledger.write(lambda txn: txn.link(record))
        self.paths[destination], self.stamps[destination] = content, stamp

    @rule(name=st.sampled_from(NAMES))
    def delete(self, name: str) -> None:
        self.ledger.write(lambda txn: txn.unlink(ROOT / name))
        self.paths.pop(name, None)
        self.stamps.pop(name, None)

    @precondition(lambda self: self.paths)
    @rule(data=st.data())
    def forget(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.paths)))
        with self.ledger.read() as snapshot:
            record = snapshot.path(ROOT / name)
        assert record is not None
        self.ledger.write(lambda txn: txn.forget(record))
        content = self.paths.pop(name)
        del self.stamps[name]
        if content not in self.paths.values():
            self.known.discard(content)

    @rule(name=st.sampled_from(NAMES), content=st.integers(0, 12))
    def crash(self, name: str, content: int) -> None:
        """A transaction that fails halfway changes nothing."""

        def fail(txn: WriteTransaction) -> None:
            store(txn, name, content, Stamp(1, 1))
            txn.unlink(ROOT / "a")
            raise Crash

        with pytest.raises(Crash):
            self.ledger.write(fail)

    @rule()
    def reopen(self) -> None:
        self.ledger.close()
        self.ledger = Ledger.open(self.folder / "ledger", dim=DIM)
        self.index_store = IndexStore(self.folder / "index", dim=DIM)

    @rule(everything=st.booleans())
    def save_indexes(self, everything: bool) -> None:
        with self.ledger.read() as snapshot:
            self.index_store.follow(snapshot)
        reached = self.index_store.save(everything=everything)
        self.ledger.prune_log(reached)

    @rule()
    def rebuild_indexes(self) -> None:
        with self.ledger.read() as snapshot:
            self.index_store.rebuild(snapshot)

    @invariant()
    def ledger_agrees_with_the_dictionary(self) -> None:
        with self.ledger.read() as snapshot:
            paths = {record.path: record for record in snapshot.paths()}
            assert {path: int(record.metadata["content"]) for path, record in paths.items()} == {
                ROOT / name: content for name, content in self.paths.items()
            }
            assert all(paths[ROOT / name].stamp == stamp for name, stamp in self.stamps.items())
            stored = {record.digest.hex(): item for item, record in snapshot.items()}
            assert set(stored) == {digest(content).hex() for content in self.known}
            for content in self.known:
                item = snapshot.item(stored[digest(content).hex()])
                assert item is not None
                owners = {ROOT / name for name, other in self.paths.items() if other == content}
                assert set(item.paths) == owners
                self.check_content(snapshot, item, content)

    def check_content(self, snapshot, item, content: int) -> None:
        expected = make_content(content)
        assert [segment.span for segment in item.segments] == [span for run in expected.runs for span in run.spans]
        for stored, run in zip(snapshot.runs_of(item.id), expected.runs, strict=True):
            assert (stored.modality, stored.count) == (run.modality, len(run.spans))
            assert np.array_equal(snapshot.raw_vectors(stored.first), run.vectors.astype(np.float16))

    @invariant()
    def indexes_contain_the_live_segments(self) -> None:
        assert Doctor(self.ledger, self.index_store, read_files=False).check() == []


LedgerAgainstDictionary.TestCase.settings = settings(max_examples=60, stateful_step_count=50, deadline=None)
TestLedgerAgainstDictionary = LedgerAgainstDictionary.TestCase


@pytest.fixture
def ledger(tmp_path):
    opened = Ledger.open(tmp_path / "ledger", dim=DIM, create=True, first_map=TINY_MAP)
    yield opened
    opened.close()


def test_the_map_grows_automatically(ledger):
    for content in range(400):
        ledger.write(lambda txn, content=content: store(txn, f"file-{content}", content, Stamp(1, 1)))
    assert ledger.environment.bytes_used() > TINY_MAP
    with ledger.read() as snapshot:
        assert len(list(snapshot.paths())) == 400


def test_a_snapshot_does_not_contain_later_changes(ledger):
    ledger.write(lambda txn: store(txn, "a", 1, Stamp(1, 1)))
    with ledger.read() as snapshot:
        other = Ledger.open(ledger.environment.folder, dim=DIM)
        other.write(lambda txn: store(txn, "b", 2, Stamp(1, 1)))
        other.close()
        assert [record.path.name for record in snapshot.paths()] == ["a"]
    with ledger.read() as snapshot:
        assert [record.path.name for record in snapshot.paths()] == ["a", "b"]


def test_segment_numbers_are_never_reused(ledger):
    ledger.write(lambda txn: store(txn, "a", 3, Stamp(1, 1)))
    with ledger.read() as snapshot:
        record, first = snapshot.path(ROOT / "a"), next(snapshot.run_firsts())
    ledger.write(lambda txn: txn.forget(record))
    ledger.write(lambda txn: store(txn, "a", 3, Stamp(1, 1)))
    with ledger.read() as snapshot:
        assert next(snapshot.run_firsts()) > first


def test_paths_under_a_folder_exclude_names_that_begin_alike(ledger):
    for name in ("sub/a", "sub2/a", "sub/deep/b", "sub"):
        ledger.write(lambda txn, name=name: store(txn, name, 1, Stamp(1, 1)))
    with ledger.read() as snapshot:
        below = sorted(str(record.path.relative_to(ROOT)) for record in snapshot.paths(ROOT / "sub"))
    assert below == ["sub", "sub/a", "sub/deep/b"]


def test_segments_are_found_in_their_run(ledger):
    for content in (3, 2, 5):
        ledger.write(lambda txn, content=content: store(txn, str(content), content, Stamp(1, 1)))
    with ledger.read() as snapshot:
        for item in [snapshot.item(number) for number, _ in snapshot.items()]:
            for segment in item.segments:
                assert snapshot.segment(segment.id) == segment
                assert snapshot.owner_of(segment.id) == item.id
        assert snapshot.segment(0) is None
        assert snapshot.segment(1000) is None


def test_opening_a_missing_ledger_raises_library_not_found(tmp_path):
    with pytest.raises(LibraryNotFound, match=str(tmp_path)):
        Ledger.open(tmp_path / "ledger", dim=DIM)
