from __future__ import annotations

import resource
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from bindsearch.storage import Storage

TABLES = {"a": False}
TINY_MAP = 1 << 16


def fill(storage: Storage, numbers: range) -> None:
    for number in numbers:
        storage.write(lambda txn, number=number: txn.put("a", number.to_bytes(8, "big"), bytes(4000)))


@pytest.fixture
def storage(tmp_path):
    opened = Storage.at(tmp_path / "ledger", TABLES, create=True, first_map=TINY_MAP)
    yield opened
    opened.release()


def test_the_map_grows_while_other_threads_read(storage):
    fill(storage, range(10))
    done = threading.Event()
    counts: list[int] = []

    def read() -> None:
        while not done.wait(0.001):
            with storage.read() as view:
                counts.append(view.count("a"))

    threads = [threading.Thread(target=read) for _ in range(3)]
    for thread in threads:
        thread.start()
    fill(storage, range(10, 200))
    done.set()
    for thread in threads:
        thread.join()
    with storage.read() as view:
        assert view.count("a") == 200
    assert min(counts) >= 10


def test_a_map_that_another_process_grew_is_adopted(storage):
    program = (
        "import sys; from pathlib import Path; from bindsearch.storage import Storage\n"
        "storage = Storage.at(Path(sys.argv[1]), {'a': False})\n"
        "for number in range(200):\n"
        "    storage.write(lambda txn: txn.put('a', number.to_bytes(8, 'big'), bytes(4000)))\n"
    )
    fill(storage, range(1))
    subprocess.run([sys.executable, "-c", program, str(storage.folder)], check=True)
    with storage.read() as view:
        assert view.count("a") == 200
    fill(storage, range(200, 210))
    with storage.read() as view:
        assert view.count("a") == 210


def test_the_same_folder_is_opened_once_and_closed_by_the_last(tmp_path, storage):
    again = Storage.at(tmp_path / "ledger" / ".." / "ledger", TABLES)
    assert again is storage
    again.release()
    fill(storage, range(1))


@pytest.mark.skipif(sys.platform == "win32", reason="no limit on the size of files")
def test_a_full_disk_is_said_and_nothing_is_half_written(tmp_path):
    """A limit on the size of files stands for the disk: a write beyond it fails as one to a full disk does."""
    program = (
        "import sys; from pathlib import Path; from bindsearch.storage import Storage\n"
        "from bindsearch.errors import LibraryError\n"
        "storage = Storage.at(Path(sys.argv[1]), {'a': False}, create=True)\n"
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
    assert "room" in done.stdout
    storage = Storage.at(Path(tmp_path / "full"), TABLES)
    with storage.read() as view:
        assert view.count("a") == int(number)
    storage.release()
