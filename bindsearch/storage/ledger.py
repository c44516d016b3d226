"""The ledger: the truth about paths, items, segments and vectors, in LMDB.

Tables (numbers big-endian, so that keys sort as the numbers do):

    paths       path key -> size, mtime, digest of the content, metadata       what lies where
    owners      digest -> path keys (several)                                  the same, from the content's side
    contents    digest -> item                                                 identity
    items       item -> what it is, and its runs                               one content
    runs        first segment -> item, modality, spans                         consecutive segments of one modality
    vectors     first segment -> (n, dim) float16                              their vectors
    texts       segment -> its beginning                                       of passages of text
    former      digest -> metadata                                             of the last path of gone contents
    quarantine  digest -> reason                                               contents that cannot be read
    log         position -> item came to life or went away                     what indexes follow
    tags        classifier -> itself; classifier, item -> probabilities        what items were tagged with
    meta        counters, roots, concepts, which tags there are

An item is live while a path owns its digest. It keeps its vectors when the last path goes, so that a file that
comes back costs no decoding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TypeVar

from bindsearch.storage.lmdb_env import FIRST_MAP, LmdbEnvironment
from bindsearch.storage.snapshot import Snapshot
from bindsearch.storage.write_transaction import WriteTransaction

Result = TypeVar("Result")
Value = TypeVar("Value")

PRUNED = 10_000
"""Entries of the log that are dropped in one transaction."""
BATCH = 256
"""Changes in one transaction, where they are many."""

TABLES = {
    "paths": False,
    "owners": True,
    "contents": False,
    "items": False,
    "runs": False,
    "vectors": False,
    "texts": False,
    "former": False,
    "quarantine": False,
    "log": False,
    "tags": False,
    "meta": False,
}


class Ledger:
    """The ledger of one library."""

    def __init__(self, storage: LmdbEnvironment, dim: int) -> None:
        self.storage = storage
        self._dim = dim

    @classmethod
    def open(cls, folder: Path, *, dim: int, create: bool = False, first_map: int = FIRST_MAP) -> Ledger:
        """Open the ledger in a folder. Raises `LibraryNotFound`, `CorruptLibrary`."""
        return cls(LmdbEnvironment.at(folder, TABLES, create=create, first_map=first_map), dim)

    def close(self) -> None:
        """Let go of the files."""
        self.storage.release()

    @contextmanager
    def read(self) -> Iterator[Snapshot]:
        """See the ledger as it is at this moment, whatever is written meanwhile."""
        with self.storage.read() as transaction:
            yield Snapshot(transaction, self._dim)

    def write(self, txn: Callable[[WriteTransaction], Result]) -> Result:
        """Run `txn(WriteTransaction)` in one transaction; see `LmdbEnvironment.write`."""
        return self.storage.write(lambda transaction: txn(WriteTransaction(transaction, self._dim)))

    def prune_log(self, upto: int) -> None:
        """Drop the log up to a position that all indexes on disk have reached, in transactions of bounded size."""
        with self.read() as snapshot:
            start = snapshot.log_start()
        for _ in range(start, upto, PRUNED):
            self.write(lambda txn: txn.prune_log(upto, most=PRUNED))

    def write_each(self, change: Callable[[WriteTransaction, Value], object], values: Sequence[Value]) -> None:
        """Call `change(txn, value)` for each value, in transactions of bounded size.

        `change` may be a method: `ledger.write_each(WriteTransaction.unlink, paths)`.
        """
        for start in range(0, len(values), BATCH):
            self.write(partial(_change_each, change, values[start : start + BATCH]))


def _change_each(
    change: Callable[[WriteTransaction, Value], object], values: Sequence[Value], txn: WriteTransaction
) -> None:
    for value in values:
        change(txn, value)
