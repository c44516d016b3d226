from __future__ import annotations

import os
from pathlib import Path

import pytest

from bindsearch.media import ScanError, ScannedFile, walk


def write(path: Path, data: bytes = b"x") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def found(*paths: Path, **options) -> list[Path]:
    entries = list(walk(paths, **options))
    assert all(isinstance(entry, ScannedFile) for entry in entries), entries
    return [entry.path for entry in entries]


def test_files_come_depth_first_in_byte_order(tmp_path):
    names = ["a/z.txt", "a.txt", "b/a/1.txt", "b/B.txt", "b/a.txt", "é.txt", "Z.txt"]
    for name in names:
        write(tmp_path / name)
    expected = ["Z.txt", "a/z.txt", "a.txt", "b/B.txt", "b/a/1.txt", "b/a.txt", "é.txt"]
    assert [str(path.relative_to(tmp_path)) for path in found(tmp_path)] == expected


def test_size_and_modification_time_are_returned(tmp_path):
    path = write(tmp_path / "a.txt", b"12345")
    os.utime(path, ns=(1, 1_234_567_890_123_456_789))
    assert list(walk([tmp_path])) == [ScannedFile(path, 5, 1_234_567_890_123_456_789)]


def test_a_given_file_is_returned_once(tmp_path):
    path = write(tmp_path / "a.txt")
    other = write(tmp_path / "b.txt")
    assert found(path, path, tmp_path, tmp_path) == [path, other]


def test_relative_paths_become_absolute(tmp_path, monkeypatch):
    path = write(tmp_path / "a" / "b.txt")
    monkeypatch.chdir(tmp_path)
    assert found(Path("a")) == [path]
    assert found(Path("a/../a")) == [path]


def test_hidden_names_are_left_out_unless_given(tmp_path):
    inside = write(tmp_path / ".hidden" / "a.txt")
    write(tmp_path / ".a.txt")
    assert found(tmp_path) == []
    assert found(tmp_path / ".hidden") == [inside]


def test_libraries_are_left_out(tmp_path):
    write(tmp_path / "media.library" / "library.json")
    write(tmp_path / "media.library" / "ledger" / "data.mdb")
    other = write(tmp_path / "other" / "library.json")
    assert found(tmp_path) == [other]


def test_skipped_paths_are_left_out(tmp_path):
    keep = write(tmp_path / "keep" / "a.txt")
    write(tmp_path / "drop" / "a.txt")
    assert found(tmp_path, skip=lambda path: path.name == "drop") == [keep]


def test_links_are_followed_and_loops_end(tmp_path):
    real = write(tmp_path / "outside" / "a.txt")
    root = tmp_path / "root"
    root.mkdir()
    (root / "file.txt").symlink_to(real)
    (root / "folder").symlink_to(real.parent, target_is_directory=True)
    (root / "folder2").symlink_to(real.parent, target_is_directory=True)
    (root / "loop").symlink_to(root, target_is_directory=True)
    (real.parent / "back").symlink_to(root, target_is_directory=True)
    assert found(root) == [root / "file.txt", root / "folder" / "a.txt"]


def test_broken_links_are_marked(tmp_path):
    path = write(tmp_path / "z.txt")
    (tmp_path / "a").symlink_to(tmp_path / "gone")
    (tmp_path / "b").symlink_to(tmp_path / "b")
    entries = list(walk([tmp_path]))
    assert [(entry.path, entry.broken_link) for entry in entries] == [
        (tmp_path / "a", True),
        (tmp_path / "b", True),
        (path, False),
    ]
    assert list(walk([tmp_path / "b"])) == [ScanError(tmp_path / "b", os.strerror(40))]


def test_a_missing_path_is_a_scan_error(tmp_path):
    assert list(walk([tmp_path / "gone"])) == [ScanError(tmp_path / "gone", os.strerror(2))]


def test_pipes_and_sockets_are_ignored(tmp_path):
    os.mkfifo(tmp_path / "a.wav")
    path = write(tmp_path / "b.txt")
    assert found(tmp_path) == [path]
    assert found(tmp_path / "a.wav") == []


def test_an_unreadable_folder_is_a_scan_error(tmp_path):
    if os.geteuid() == 0:
        pytest.skip("root can read every folder")
    closed = tmp_path / "closed"
    closed.mkdir(mode=0)
    path = write(tmp_path / "open.txt")
    assert next(walk([tmp_path])) == ScanError(closed, os.strerror(13))
    assert found(path) == [path]


def test_names_need_not_be_utf8(tmp_path):
    raw = os.fsencode(tmp_path) + b"/\xff\xfe.txt"
    with open(raw, "wb") as file:
        file.write(b"x")
    (path,) = found(tmp_path)
    assert os.fsencode(path) == raw


@pytest.fixture
def deep_folder(tmp_path):
    """1,200 nested folders; removed here, because the clean-up of pytest recurses."""
    folder = tmp_path
    for _ in range(1200):
        folder = folder / "d"
        folder.mkdir()
    write(folder / "deep.txt")
    yield tmp_path
    for depth in range(1200, 0, -1):
        folder = tmp_path.joinpath(*["d"] * depth)
        (folder / "deep.txt").unlink(missing_ok=True)
        folder.rmdir()


def test_folders_may_nest_deeper_than_the_recursion_limit(deep_folder):
    after = write(deep_folder / "z.txt")
    assert found(deep_folder) == [deep_folder.joinpath(*["d"] * 1200, "deep.txt"), after]
