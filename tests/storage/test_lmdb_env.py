from __future__ import annotations

import resource
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from bindsearch.storage.lmdb_env import LmdbEnvironment

TABLES = {"a": False}
TINY_MAP = 1 << 16


def fill(storage: LmdbEnvironment, numbers: range) -> None:
    for number in numbers:
        storage.write(lambda txn, number=number: txn.put("a", number.to_bytes(8, "big"), bytes(4000)))


@pytest.fixture
def storage(tmp_path):
    opened = LmdbEnvironment.at(tmp_path / "ledger", TABLES, create=True, first_map=TINY_MAP)
    yield opened
    opened.release()


def test_the_map_grows_while_other_threads_read(storage):
    fill(storage, range(10))
    done = threading.Event()
    counts: list[int] = []

    def read() -> None:
        while not done.wait(0.001):
            with storage.read() as snapshot:
                counts.append(snapshot.count("a"))

    threads = [threading.Thread(target=read) for _ in range(3)]
    for thread in threads:
        thread.start()
    fill(storage, range(10, 200))
    done.set()
    for thread in threads:
        thread.join()
    with storage.read() as snapshot:
        assert snapshot.count("a") == 200
    assert min(counts) >= 10


def test_a_map_that_another_process_grew_is_adopted(storage):
    program = (
        "import sys; from pathlib import Path; from bindsearch.storage.lmdb_env import LmdbEnvironment\n"
        "storage = LmdbEnvironment.at(Path(sys.argv[1]), {'a': False})\n"
        "for number in range(200):\n"
        "    storage.write(lambda txn: txn.put('a', number.to_bytes(8, 'big'), bytes(4000)))\n"
    )
    fill(storage, range(1))
    subprocess.run([sys.executable, "-c", program, str(storage.folder)], check=True)
    with storage.read() as snapshot:
        assert snapshot.count("a") == 200
    fill(storage, range(200, 210))
    with storage.read() as snapshot:
        assert snapshot.count("a") == 210


def test_the_environment_of_a_folder_is_shared(tmp_path, storage):
    again = LmdbEnvironment.at(tmp_path / "ledger" / ".." / "ledger", TABLES)
    assert again is storage
    again.release()
    fill(storage, range(1))


@pytest.mark.skipif(sys.platform == "win32", reason="no limit on the size of files")
def test_a_full_disk_raises_library_full_and_loses_nothing(tmp_path):
    """A limit on the size of files simulates a full disk: a write beyond it fails like one to a full disk."""
    program = (
        "import sys; from pathlib import Path; from bindsearch.storage.lmdb_env import LmdbEnvironment\n"
        "from bindsearch.errors import LibraryError\n"
        "storage = LmdbEnvironment.at(Path(sys.argv[1]), {'a': False}, create=True)\n"
        "try:\n"
        "    for number in range(1000):\n"
        "        storage.write(lambda txn: txn.put('a', number.to_bytes(8, 'big'), bytes(4000)))\n"
        "except LibraryError as error:\n"
        "    print(number, type(error).__name__, error)\n"
    )

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))

    command = [sys.executable, "-c", program, str(tmp_path / "full")]
    done = subprocess.run(command, preexec_fn=limit, capture_output=True, text=True, check=True)
    number, name, *_ = done.stdout.split()
    assert name == "LibraryFull"
    assert "takes no more data" in done.stdout
    assert "free some space" in done.stdout
    storage = LmdbEnvironment.at(Path(tmp_path / "full"), TABLES)
    with storage.read() as snapshot:
        assert snapshot.count("a") == int(number)
    storage.release()


def test_readers_can_open_during_a_long_write(tmp_path):
    folder = tmp_path / "ledger"
    opened = LmdbEnvironment.at(folder, TABLES, create=True, first_map=TINY_MAP)
    fill(opened, range(3))
    opened.release()
    program = (
        "import sys; from pathlib import Path; from bindsearch.storage.lmdb_env import LmdbEnvironment\n"
        "def change(txn):\n"
        "    txn.put('a', bytes(8), b'new')\n"
        "    print('writing', flush=True)\n"
        "    sys.stdin.read()\n"
        "LmdbEnvironment.at(Path(sys.argv[1]), {'a': False}).write(change)\n"
    )
    command = [sys.executable, "-c", program, str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as writer:
        assert writer.stdout.readline() == b"writing\n"
        found: list[int] = []

        def count_rows() -> None:
            reader = LmdbEnvironment.at(folder, TABLES)
            with reader.read() as snapshot:
                found.append(snapshot.count("a"))
            reader.release()

        thread = threading.Thread(target=count_rows, daemon=True)
        thread.start()
        thread.join(30)
        assert found == [3]
    reader = LmdbEnvironment.at(folder, TABLES)
    fill(reader, range(3, 5))  # an environment that was opened for reading can write
    with reader.read() as snapshot:
        assert bytes(snapshot.get("a", bytes(8))) == b"new"
        assert snapshot.count("a") == 5
    reader.release()


def test_writing_inside_a_read_raises_an_error(tmp_path):
    other = LmdbEnvironment.at(tmp_path / "other", TABLES, create=True)
    other.release()
    other = LmdbEnvironment.at(tmp_path / "other", TABLES)
    with other.read(), pytest.raises(RuntimeError, match="cannot write to the ledger while it reads from it"):
        fill(other, range(1))
    fill(other, range(1))
    other.release()
