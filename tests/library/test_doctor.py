from __future__ import annotations

import os

import numpy as np
import pytest
from media_files import picture

from bindsearch.core.file_state import Stamp
from bindsearch.library.doctor import Drift
from bindsearch.storage.records import ItemRecord, PathRecord, key_of


def raw_write(library, txn) -> None:
    """Change tables directly, without the checks of the ledger."""
    library._editions.now().ledger.environment.write(txn)


def first_item(library) -> tuple[int, ItemRecord]:
    with library._editions.now().ledger.read() as snapshot:
        return next(iter(snapshot.items()))


def drop_vectors(library) -> str:
    first = first_item(library)[1].runs[0].first
    raw_write(library, lambda txn: txn.drop("vectors", key_of(first)))
    return "vectors"


def truncate_vectors(library) -> str:
    first = first_item(library)[1].runs[0].first
    raw_write(library, lambda txn: txn.put("vectors", key_of(first), b"torn"))
    return "missing or incomplete"


def scale_vectors(library) -> str:
    first = first_item(library)[1].runs[0].first
    with library._editions.now().ledger.read() as snapshot:
        rows = np.array(snapshot.raw_vectors(first))
    raw_write(library, lambda txn: txn.put("vectors", key_of(first), (rows * 2).astype(np.float16).tobytes()))
    return "unit length"


def drop_run(library) -> str:
    first = first_item(library)[1].runs[0].first
    raw_write(library, lambda txn: txn.drop("runs", key_of(first)))
    return "segments"


def drop_item(library) -> str:
    item, _ = first_item(library)
    raw_write(library, lambda txn: txn.drop("items", key_of(item)))
    return "missing"


def drop_content(library) -> str:
    _, record = first_item(library)
    raw_write(library, lambda txn: txn.drop("contents", record.digest))
    return "content"


def drop_owner(library) -> str:
    _, record = first_item(library)
    raw_write(library, lambda txn: txn.drop("owners", record.digest))
    return "paths"


def add_orphaned_vectors(library) -> str:
    raw_write(library, lambda txn: txn.put("vectors", key_of(10**6), bytes(192)))
    return "no item"


def add_path_without_item(library) -> str:
    record = PathRecord(library.path / "ghost.png", Stamp(1, 1), b"\1" * 32)
    library._editions.now().ledger.write(lambda txn: txn.link(record))
    return "ghost.png"


def remove_from_index(library) -> str:
    with library._editions.now().ledger.read() as snapshot:
        index = library._editions.now().index_store.follow(snapshot)["image"]
    index.remove(index.ids()[:1])
    return "image index"


def swap_index_vectors(library) -> str:
    with library._editions.now().ledger.read() as snapshot:
        index = library._editions.now().index_store.follow(snapshot)["image"]
    ids = index.ids()
    rows = index.vectors(ids)
    index.remove(ids)
    index.add(ids, rows[::-1].copy())
    return "differ"


def change_file_but_not_its_stamp(library) -> str:
    path = next(iter(library.items())).paths[0]
    before = path.stat()
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    return "but not its size and modification time"


FAULTS = [
    drop_vectors,
    truncate_vectors,
    scale_vectors,
    drop_run,
    drop_item,
    drop_content,
    drop_owner,
    add_orphaned_vectors,
    add_path_without_item,
    remove_from_index,
    swap_index_vectors,
    change_file_but_not_its_stamp,
]


@pytest.mark.parametrize("plant", FAULTS, ids=lambda fault: fault.__name__)
def test_planted_fault_is_found_and_repaired(library, media, plant):
    assert library.doctor() == []
    expected = plant(library)
    findings = library.doctor()
    assert any(expected in finding for finding in findings), findings
    library.doctor(repair=True)
    picture(media / "pictures" / "blue.png", "blue")
    library.index(media)
    assert library.doctor() == []
    assert library.status().items == 9
    assert len(library.search("red", k=20)) == 9


def test_intact_library_needs_no_repair(library):
    before = [(item, library.vectors(item).tobytes()) for item in library.items()]
    assert library.doctor(repair=True) == []
    assert [(item, library.vectors(item).tobytes()) for item in library.items()] == before


def test_files_are_not_read_without_read_files(library):
    change_file_but_not_its_stamp(library)
    assert library.doctor(read_files=False) == []


def test_damaged_record_is_found_and_repaired(library, media):
    item, _ = first_item(library)
    raw_write(library, lambda txn: txn.put("items", key_of(item), b"{junk"))
    assert any("record is damaged" in line for line in library.doctor())
    library.doctor(repair=True)
    library.index(media)
    assert library.doctor() == []
    assert library.status().items == 9


def test_changed_and_deleted_files_are_counted_not_faults(library, media):
    assert library.drift() == Drift(0, 0)
    picture(media / "pictures" / "blue.png", "green", size=70)
    (media / "sounds" / "sea.txt").unlink()
    (media / "pictures" / "nothing.png").symlink_to(media / "nowhere")
    assert library.doctor() == []
    assert library.drift() == Drift(changed=1, gone=1)
    library.index()
    assert library.drift() == Drift(0, 0)
