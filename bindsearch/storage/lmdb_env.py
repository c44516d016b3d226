"""The LMDB environment under the ledger: shared in a process, growing by itself, its errors in our words."""

from __future__ import annotations

import errno
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import lmdb

from bindsearch.errors import CorruptLibrary, LibraryBusy, LibraryError, LibraryFull, LibraryNotFound

Result = TypeVar("Result")

FIRST_MAP = 1 << 26
LARGEST_STEP = 1 << 32
READERS = 1024
NO_ROOM = 1 << 24
"""Bytes below which a failing write means that the disk is full."""


class MapLock:
    """Lets many threads hold the map, or one change its size while nobody does.

    Who wants to change it goes before those that come later; a thread that holds the map already may hold it twice.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._holders = 0
        self._changing = 0
        self._mine = threading.local()

    def enter(self) -> None:
        """Hold the map: it keeps its size until `leave`."""
        held = getattr(self._mine, "held", 0)
        with self._changed:
            self._changed.wait_for(lambda: held or not self._changing)
            self._holders += 1
        self._mine.held = held + 1

    def leave(self) -> None:
        """Let go of the map."""
        self._mine.held -= 1
        with self._changed:
            self._holders -= 1
            self._changed.notify_all()

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Wait until nobody holds the map, and keep others out. Not for a thread that holds it itself."""
        if getattr(self._mine, "held", 0):
            raise RuntimeError("a thread that reads the ledger cannot write to it before it is done")
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

    LMDB allows an environment to be open once in a process, so `LmdbEnvironment.at` gives everybody in the process the
    same one and closes it after the last `release`.
    """

    _open: dict[tuple[int, Path], LmdbEnvironment] = {}  # noqa: RUF012 - the process's own table, keyed by process id
    _opening = threading.Lock()

    def __init__(self, folder: Path, tables: dict[str, bool], first_map: int) -> None:
        self.folder = folder
        self._key = (os.getpid(), folder)
        self._users = 0
        self._gate = MapLock()
        self._tables = tables
        self._closed = False
        self._first_map = first_map
        self._writes = not (folder / "data.mdb").exists()
        self._open_it()
        self._env.reader_check()

    @classmethod
    def at(
        cls, folder: Path, tables: dict[str, bool], *, create: bool = False, first_map: int = FIRST_MAP
    ) -> LmdbEnvironment:
        """Open an environment, or join the one that is open in this process.

        `tables` says for each name whether a key may have several values.
        Raises `LibraryNotFound`, `CorruptLibrary`, `LibraryError`.
        """
        if create:
            folder.mkdir(parents=True, exist_ok=True)
        elif not (folder / "data.mdb").exists():
            raise LibraryNotFound(f"there is no ledger in {folder.parent}")
        folder = folder.resolve()
        with cls._opening:
            key = (os.getpid(), folder)
            storage = cls._open.get(key)
            if storage is None:
                storage = cls._open[key] = cls(folder, tables, first_map)
            if create and len(storage._dbs) < len(tables):  # a process was killed before it had created them all
                storage._become_writer()
            storage._users += 1
            return storage

    def release(self) -> None:
        """Close the environment if nobody else in this process uses it."""
        with self._opening:
            self._users -= 1
            if self._users == 0 and self._open.pop(self._key, None) is self:
                self._closed = True
                self._env.close()

    @contextmanager
    def read(self) -> Iterator[Transaction]:
        """See the tables as they are at this moment, whatever is written meanwhile.

        A thread must not `write` inside: the map could not grow while it waits for itself.
        """
        handle = self._begin(write=False)
        try:
            yield Transaction(handle, self._dbs)
        except lmdb.Error as error:
            raise self._unreadable(error) from error
        finally:
            handle.abort()
            self._gate.leave()

    def write(self, txn: Callable[[Transaction], Result]) -> Result:
        """Run `txn` in one transaction that happens whole or not at all.

        It runs again from the start when the map had to grow, so it must not touch anything but its transaction.
        Raises `LibraryFull` when the disk has no room; then nothing of the change has happened.
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
            self._gate.leave()

    def bytes_used(self) -> int:
        """Bytes of the data file on disk."""
        return (self.folder / "data.mdb").stat().st_size

    def _begin(self, *, write: bool) -> Any:
        while True:
            if write and not self._writes:
                self._become_writer()
            self._gate.enter()
            try:
                return self._env.begin(write=write, buffers=True)
            except lmdb.MapResizedError:
                self._gate.leave()
                self._adopt_size()
            except lmdb.Error as error:
                self._gate.leave()
                raise self._unreadable(error) from error

    def _unreadable(self, error: lmdb.Error) -> LibraryError:
        if self._closed:
            return LibraryError(f"the library {self.folder.parent} was closed: open it again")
        if self._unlocked:
            return LibraryBusy(
                f"{self.folder.parent} was written to while it was read, and its lock file cannot be used by you: "
                "try again when the other process is done, or get leave to write ledger/lock.mdb"
            )
        return CorruptLibrary(f"the ledger in {self.folder.parent} cannot be read: {error}")

    def _grow(self) -> None:
        with self._gate.alone():
            size = self._env.info()["map_size"]
            self._env.set_mapsize(size + min(size, LARGEST_STEP))

    def _adopt_size(self) -> None:
        with self._gate.alone():
            self._env.set_mapsize(0)

    def _become_writer(self) -> None:
        with self._gate.alone():
            if not self._writes:
                self._env.close()
                self._writes = True
                self._open_it()

    def _open_it(self) -> None:
        """Open the environment and its tables.

        As a reader at first: who opens tables to write waits for the writer of this moment, who may take long.
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
        """Distinguish a disk that takes no more from a ledger that is damaged: half a page is an input/output error."""
        free = shutil.disk_usage(self.folder).free
        signs = (os.strerror(errno.EFBIG), os.strerror(errno.EIO), os.strerror(errno.EDQUOT))
        if isinstance(error, lmdb.DiskError) or any(sign in str(error) for sign in signs) or free < NO_ROOM:
            return LibraryFull(
                f"the disk that holds {self.folder.parent} takes no more ({free / 1e6:.0f} MB free; {error}): what was "
                "indexed so far is safe; make room and run the same command again"
            )
        return CorruptLibrary(f"the ledger in {self.folder.parent} cannot be written: {error}")


class Transaction:
    """Reads, and in `LmdbEnvironment.write` writes, the tables of one moment."""

    def __init__(self, handle: Any, dbs: dict[str, Any]) -> None:
        self._handle = handle
        self._dbs = dbs

    def get(self, table: str, key: bytes) -> bytes | None:
        """Return the value of a key (the first, if it has several)."""
        found = self._handle.get(key, db=self._dbs[table])
        return None if found is None else bytes(found)

    def view(self, table: str, key: bytes) -> memoryview | None:
        """Return the value of a key without copying it; valid only inside the transaction."""
        found = self._handle.get(key, db=self._dbs[table])
        return None if found is None else memoryview(found)

    def put(self, table: str, key: bytes, value: bytes, *, append: bool = False) -> None:
        """Set the value of a key, or add one to it in a table of several. `append` says that keys only grow."""
        self._handle.put(key, value, db=self._dbs[table], append=append)

    def drop(self, table: str, key: bytes, value: bytes = b"") -> bool:
        """Remove a key, or one of its values. Return whether it was there."""
        return bool(self._handle.delete(key, value, db=self._dbs[table]))

    def values(self, table: str, key: bytes) -> list[bytes]:
        """Return all values of one key, in order."""
        with self._handle.cursor(db=self._dbs[table]) as cursor:
            return [bytes(value) for value in cursor.iternext_dup()] if cursor.set_key(key) else []

    def scan(self, table: str, start: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        """Return all pairs from a key on, in order of keys."""
        with self._handle.cursor(db=self._dbs[table]) as cursor:
            if cursor.set_range(start):
                for key, value in cursor.iternext():
                    yield bytes(key), bytes(value)

    def keys(self, table: str) -> Iterator[bytes]:
        """Return all keys, in order."""
        with self._handle.cursor(db=self._dbs[table]) as cursor:
            for key in cursor.iternext(keys=True, values=False):
                yield bytes(key)

    def floor(self, table: str, key: bytes) -> tuple[bytes, memoryview] | None:
        """Return the pair with the largest key that is not above `key`; valid only inside the transaction."""
        with self._handle.cursor(db=self._dbs[table]) as cursor:
            found = cursor.set_range(key)
            if not (found and bytes(cursor.key()) == key):
                found = cursor.prev() if found else cursor.last()
            return (bytes(cursor.key()), memoryview(cursor.value())) if found else None

    def has(self, table: str) -> bool:
        """Whether there is a table: an older library that cannot be written to lacks the newer ones."""
        return table in self._dbs

    def count(self, table: str) -> int:
        """Return the number of pairs in a table."""
        return int(self._handle.stat(self._dbs[table])["entries"])


def _open_environment(folder: Path, first_map: int, tables: int, *, writes: bool) -> tuple[Any, bool]:
    """Open LMDB; tell whether it had to be without a lock, which only a library that cannot be written to allows."""
    writable = os.access(folder / "data.mdb" if (folder / "data.mdb").exists() else folder, os.W_OK)
    options: dict[str, Any] = {
        "map_size": max(first_map, _file_size(folder / "data.mdb")),
        "max_dbs": tables,
        "max_readers": READERS,
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
    """Refuse a file that was cut: reading its missing pages would kill the process."""
    promised = (env.info()["last_pgno"] + 1) * env.stat()["psize"]
    if _file_size(folder / "data.mdb") < promised:
        env.close()
        raise CorruptLibrary(
            f"the ledger in {folder.parent} is cut short: of {promised:,} bytes it has "
            f"{_file_size(folder / 'data.mdb'):,}; restore it from a copy, or delete the library and index again"
        )


def _file_size(file: Path) -> int:
    return file.stat().st_size if file.exists() else 0
