"""The ledger: the truth about paths, items, segments and vectors, in LMDB.

Tables (numbers big-endian, so that keys sort as the numbers do):

    paths       path key -> size, mtime, digest, metadata, refusal        the content of each path, or why it is refused
    owners      digest -> path keys (several values)                      the inverse: which paths hold a content
    contents    digest -> item                                            which item a content is
    items       item -> record with its runs                              one content
    runs        first segment -> item, modality, spans                    consecutive segments of one modality
    vectors     first segment -> (n, dim) float16                         the vectors of a run
    texts       segment -> beginning of the passage                       only of text segments
    former      digest -> metadata                                        of the last path of a dormant item
    quarantine  digest -> reason                                          contents that cannot be read
    log         position -> item, live or not, runs                       the changes that indexes follow
    tags        classifier -> its bytes; classifier, item -> row          probabilities of tags
    meta        counters, indexed folders, concepts, tagger records

An item is live while at least one path holds its content, otherwise dormant. A dormant item keeps its vectors, so a
file that comes back is not decoded again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TypeVar

from bindsearch.storage.lmdb_env import FIRST_MAP_BYTES, LmdbEnvironment
from bindsearch.storage.snapshot import Snapshot
from bindsearch.storage.write_transaction import WriteTransaction

Result = TypeVar("Result")
Value = TypeVar("Value")

MAX_PRUNED_ENTRIES = 10_000
"""Log entries to drop in one transaction."""
MAX_BATCH_CHANGES = 256
"""Changes that `write_each` makes in one transaction."""

TABLES: Mapping[str, bool] = {
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
"""Table -> whether a key may have several values."""


class Ledger:
    """The ledger of one library."""

    def __init__(self, environment: LmdbEnvironment, dim: int) -> None:
        self.environment = environment
        self._dim = dim

    @classmethod
    def open(cls, folder: Path, *, dim: int, create: bool = False, first_map: int = FIRST_MAP_BYTES) -> Ledger:
        """Open the ledger in a folder. Raises `LibraryNotFound`, `CorruptLibrary`."""
        return cls(LmdbEnvironment.at(folder, TABLES, create=create, first_map=first_map), dim)

    def close(self) -> None:
        """Close the files, unless another `Ledger` of this process uses them."""
        self.environment.release()

    @contextmanager
    def read(self) -> Iterator[Snapshot]:
        """Yield a snapshot: the ledger as it is now, whatever is written meanwhile."""
        with self.environment.read() as transaction:
            yield Snapshot(transaction, self._dim)

    def write(self, txn: Callable[[WriteTransaction], Result]) -> Result:
        """Run `txn(WriteTransaction)` in one transaction; see `LmdbEnvironment.write`."""
        return self.environment.write(lambda transaction: txn(WriteTransaction(transaction, self._dim)))

    def prune_log(self, upto: int) -> None:
        """Drop the log entries up to a position that all saved indexes have reached, in bounded transactions."""
        with self.read() as snapshot:
            start = snapshot.log_start()
        for _ in range(start, upto, MAX_PRUNED_ENTRIES):
            self.write(lambda txn: txn.prune_log(upto, limit=MAX_PRUNED_ENTRIES))

    def write_each(self, change: Callable[[WriteTransaction, Value], object], values: Sequence[Value]) -> None:
        """Call `change(txn, value)` for each value, in bounded transactions.

        `change` may be a method: `ledger.write_each(WriteTransaction.unlink, paths)`.
        """
        for start in range(0, len(values), MAX_BATCH_CHANGES):
            self.write(partial(_change_each, change, values[start : start + MAX_BATCH_CHANGES]))


def _change_each(
    change: Callable[[WriteTransaction, Value], object], values: Sequence[Value], txn: WriteTransaction
) -> None:
    for value in values:
        change(txn, value)
