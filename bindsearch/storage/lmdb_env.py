"""The LMDB environment of the ledger: shared within a process, with a map that grows and errors of our own."""

from __future__ import annotations

import errno
import os
import shutil
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import lmdb

from bindsearch.errors import CorruptLibrary, LibraryBusy, LibraryError, LibraryFull, LibraryNotFound

Result = TypeVar("Result")

FIRST_MAP_BYTES = 1 << 26
MAX_GROWTH_BYTES = 1 << 32
MAX_READERS = 1024
MIN_FREE_BYTES = 1 << 24
"""With less free space, a failed write means that the disk is full."""


class MapLock:
    """A re-entrant shared lock on the size of the map: many threads hold it, or one resizes while none does.

    A waiting resize blocks new holders, but not a thread that holds the lock already.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._holders = 0
        self._changing = 0
        self._mine = threading.local()

    def enter(self) -> None:
        """Acquire the lock: the map keeps its size until `leave`."""
        held = getattr(self._mine, "held", 0)
        with self._changed:
            self._changed.wait_for(lambda: held or not self._changing)
            self._holders += 1
        self._mine.held = held + 1

    def leave(self) -> None:
        """Release the lock."""
        self._mine.held -= 1
        with self._changed:
            self._holders -= 1
            self._changed.notify_all()

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Wait until no thread holds the lock and keep others out. Raises `RuntimeError` for a thread that holds it."""
        if getattr(self._mine, "held", 0):
            raise RuntimeError("a thread cannot write to the ledger while it reads from it")
        with self._changed:
            self._changing += 1
            try:
                self._changed.wait_for(lambda: self._holders == 0)
                yield
            finally:
                self._changing -= 1
                self._changed.notify_all()


class LmdbEnvironment:
    """One LMDB environment with named tables.

    LMDB lets a process open an environment only once, so `LmdbEnvironment.at` returns the same one to all callers and
    the last `release` closes it.
    """

    _open: dict[tuple[int, Path], LmdbEnvironment] = {}  # noqa: RUF012 - the process's own table, keyed by process id
    _opening = threading.Lock()

    def __init__(self, folder: Path, tables: Mapping[str, bool], first_map: int) -> None:
        self.folder = folder
        self._key = (os.getpid(), folder)
        self._users = 0
        self._map_lock = MapLock()
        self._tables = tables
        self._closed = False
        self._first_map = first_map
        self._writes = not (folder / "data.mdb").exists()
        self._open_tables()
        self._env.reader_check()

    @classmethod
    def at(
        cls, folder: Path, tables: Mapping[str, bool], *, create: bool = False, first_map: int = FIRST_MAP_BYTES
    ) -> LmdbEnvironment:
        """Open an environment, or share the one that is open in this process.

        `tables` maps each name to whether a key may have several values.
        Raises `LibraryNotFound`, `CorruptLibrary`, `LibraryError`.
        """
        if create:
            folder.mkdir(parents=True, exist_ok=True)
        elif not (folder / "data.mdb").exists():
            raise LibraryNotFound(f"there is no ledger in {folder.parent}")
        folder = folder.resolve()
        with cls._opening:
            key = (os.getpid(), folder)
            environment = cls._open.get(key)
            if environment is None:
                environment = cls._open[key] = cls(folder, tables, first_map)
            if create and len(environment._dbs) < len(tables):  # a process was killed before it had created them all
                environment._become_writer()
            environment._users += 1
            return environment

    def release(self) -> None:
        """Close the environment if no other caller in this process uses it."""
        with self._opening:
            self._users -= 1
            if self._users == 0 and self._open.pop(self._key, None) is self:
                self._closed = True
                self._env.close()

    @contextmanager
    def read(self) -> Iterator[Transaction]:
        """Yield a read transaction: the tables as they are now, whatever is written meanwhile.

        A thread must not `write` inside the block, because the map cannot grow while a reader holds it.
        """
        handle = self._begin(write=False)
        try:
            yield Transaction(handle, self._dbs)
        except lmdb.Error as error:
            raise self._unreadable(error) from error
        finally:
            handle.abort()
            self._map_lock.leave()

    def write(self, txn: Callable[[Transaction], Result]) -> Result:
        """Run `txn` in one transaction, which is committed as a whole or not at all.

        `txn` runs again from the start if the map has to grow, so it must change nothing but its transaction. Raises
        `LibraryFull` if the disk is full; then nothing is changed.
        """
        while True:
            try:
                return self._attempt(txn)
            except lmdb.MapFullError:
                self._grow()
            except lmdb.ReadonlyError as error:
                raise LibraryError(f"{self.folder.parent} cannot be written to: {error}") from error
            except lmdb.Error as error:
                raise self._full_or_corrupt(error) from error

    def _attempt(self, txn: Callable[[Transaction], Result]) -> Result:
        handle = self._begin(write=True)
        try:
            result = txn(Transaction(handle, self._dbs))
            handle.commit()
            return result
        except BaseException:
            handle.abort()
            raise
        finally:
            self._map_lock.leave()

    def bytes_used(self) -> int:
        """Return the size of the data file on disk."""
        return (self.folder / "data.mdb").stat().st_size

    def _begin(self, *, write: bool) -> Any:
        while True:
            if write and not self._writes:
                self._become_writer()
            self._map_lock.enter()
            try:
                return self._env.begin(write=write, buffers=True)
            except lmdb.MapResizedError:
                self._map_lock.leave()
                self._adopt_size()
            except lmdb.Error as error:
                self._map_lock.leave()
                raise self._unreadable(error) from error

    def _unreadable(self, error: lmdb.Error) -> LibraryError:
        if self._closed:
            return LibraryError(f"the library {self.folder.parent} was closed: open it again")
        if self._unlocked:
            return LibraryBusy(
                f"{self.folder.parent} was written while it was read, and you have no permission to use its lock file: "
                "try again when the other process has ended, or get permission to write ledger/lock.mdb"
            )
        return CorruptLibrary(f"the ledger in {self.folder.parent} cannot be read: {error}")

    def _grow(self) -> None:
        with self._map_lock.alone():
            size = self._env.info()["map_size"]
            self._env.set_mapsize(size + min(size, MAX_GROWTH_BYTES))

    def _adopt_size(self) -> None:
        with self._map_lock.alone():
            self._env.set_mapsize(0)

    def _become_writer(self) -> None:
        with self._map_lock.alone():
            if not self._writes:
                self._env.close()
                self._writes = True
                self._open_tables()

    def _open_tables(self) -> None:
        """Open the environment and its tables.

        Read-only until the first write, because opening tables for writing waits for the current writer.
        """
        self._env, self._unlocked = _open_environment(
            self.folder, self._first_map, len(self._tables), writes=self._writes
        )
        self._dbs: dict[str, Any] = {}
        for name, several in self._tables.items():
            try:
                self._dbs[name] = self._env.open_db(name.encode(), dupsort=several)
            except lmdb.ReadonlyError:
                continue
            except lmdb.Error as error:
                raise CorruptLibrary(f"the ledger in {self.folder.parent} cannot be read: {error}") from error

    def _full_or_corrupt(self, error: lmdb.Error) -> LibraryError:
        """Distinguish a full disk from a damaged ledger. A partly written page appears as an input/output error."""
        free = shutil.disk_usage(self.folder).free
        signs = (os.strerror(errno.EFBIG), os.strerror(errno.EIO), os.strerror(errno.EDQUOT))
        if isinstance(error, lmdb.DiskError) or any(sign in str(error) for sign in signs) or free < MIN_FREE_BYTES:
            return LibraryFull(
                f"the disk that holds {self.folder.parent} takes no more data ({free / 1e6:.0f} MB free; {error}): "
                "what was indexed so far is safe; free some space and run the same command again"
            )
        return CorruptLibrary(f"the ledger in {self.folder.parent} cannot be written: {error}")


class Transaction:
    """Reads the tables as they were at one moment; inside `LmdbEnvironment.write`, also writes them."""

    def __init__(self, handle: Any, dbs: dict[str, Any]) -> None:
        self._handle = handle
        self._dbs = dbs

    def get(self, table: str, key: bytes) -> bytes | None:
        """Return the value of a key, the first one if it has several; None if there is no such key."""
        found = self._handle.get(key, db=self._dbs[table])
        return None if found is None else bytes(found)

    def view(self, table: str, key: bytes) -> memoryview | None:
        """Return the value of a key without a copy, valid only inside the transaction; None if there is no such key."""
        found = self._handle.get(key, db=self._dbs[table])
        return None if found is None else memoryview(found)

    def put(self, table: str, key: bytes, value: bytes, *, append: bool = False) -> None:
        """Set the value of a key, or add one in a table with several. `append` promises that it is the largest key."""
        self._handle.put(key, value, db=self._dbs[table], append=append)

    def drop(self, table: str, key: bytes, value: bytes = b"") -> bool:
        """Remove a key, or one of its values; return whether it existed."""
        return bool(self._handle.delete(key, value, db=self._dbs[table]))

    def values(self, table: str, key: bytes) -> list[bytes]:
        """Return all values of a key, sorted."""
        with self._handle.cursor(db=self._dbs[table]) as cursor:
            return [bytes(value) for value in cursor.iternext_dup()] if cursor.set_key(key) else []

    def scan(self, table: str, start: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        """Return all pairs from a key on, sorted by key."""
        with self._handle.cursor(db=self._dbs[table]) as cursor:
            if cursor.set_range(start):
                for key, value in cursor.iternext():
                    yield bytes(key), bytes(value)

    def keys(self, table: str) -> Iterator[bytes]:
        """Return all keys, sorted."""
        with self._handle.cursor(db=self._dbs[table]) as cursor:
            for key in cursor.iternext(keys=True, values=False):
                yield bytes(key)

    def floor(self, table: str, key: bytes) -> tuple[bytes, memoryview] | None:
        """Return the pair with the largest key up to `key`, valid only inside the transaction."""
        with self._handle.cursor(db=self._dbs[table]) as cursor:
            found = cursor.set_range(key)
            if not (found and bytes(cursor.key()) == key):
                found = cursor.prev() if found else cursor.last()
            return (bytes(cursor.key()), memoryview(cursor.value())) if found else None

    def has(self, table: str) -> bool:
        """Whether a table exists. An older library that is not writable lacks the newer tables."""
        return table in self._dbs

    def count(self, table: str) -> int:
        """Return the number of pairs in a table."""
        return int(self._handle.stat(self._dbs[table])["entries"])


def _open_environment(folder: Path, first_map: int, tables: int, *, writes: bool) -> tuple[Any, bool]:
    """Open LMDB; return also whether it was opened without a lock, as only a read-only library allows."""
    writable = os.access(folder / "data.mdb" if (folder / "data.mdb").exists() else folder, os.W_OK)
    options: dict[str, Any] = {
        "map_size": max(first_map, _file_size(folder / "data.mdb")),
        "max_dbs": tables,
        "max_readers": MAX_READERS,
    }
    try:
        try:
            env = lmdb.open(str(folder), readonly=not (writes and writable), **options)
            unlocked = False
        except lmdb.Error:
            if writable:
                raise
            env = lmdb.open(str(folder), readonly=True, lock=False, **options)
            unlocked = True
    except lmdb.Error as error:
        raise CorruptLibrary(f"the ledger in {folder.parent} cannot be opened: {error}") from error
    _check_length(env, folder)
    return env, unlocked


def _check_length(env: Any, folder: Path) -> None:
    """Raise `CorruptLibrary` for a truncated file: reading its missing pages would kill the process."""
    promised = (env.info()["last_pgno"] + 1) * env.stat()["psize"]
    if _file_size(folder / "data.mdb") < promised:
        env.close()
        raise CorruptLibrary(
            f"the ledger in {folder.parent} is truncated: it has {_file_size(folder / 'data.mdb'):,} of {promised:,} "
            "bytes; restore it from a backup, or delete the library and index again"
        )


def _file_size(file: Path) -> int:
    return file.stat().st_size if file.exists() else 0
