from __future__ import annotations

import pytest

from bindsearch.core.files import folder_size, remove_folder, replacing, write_text_atomically


def test_a_replaced_file_has_the_new_content_and_no_draft_is_left(tmp_path):
    file = tmp_path / "note.txt"
    write_text_atomically(file, "old")
    write_text_atomically(file, "näw\n")
    assert file.read_bytes() == "näw\n".encode()
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize("shared", [False, True])
def test_a_failure_leaves_the_previous_content_and_no_draft(tmp_path, shared):
    file = tmp_path / "data"
    file.write_bytes(b"old")

    def write_half() -> None:
        with replacing(file, shared=shared) as draft, draft.open("wb") as out:
            out.write(b"ha")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_half()
    assert file.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [file]


def test_an_error_names_the_file_rather_than_its_draft(tmp_path):
    file = tmp_path / "missing" / "data"
    with pytest.raises(FileNotFoundError) as caught:
        write_text_atomically(file, "text")
    assert caught.value.filename == str(file)


def test_a_draft_that_a_killed_process_left_is_overwritten(tmp_path):
    (tmp_path / "data.new").write_bytes(b"half of something long")
    write_text_atomically(tmp_path / "data", "new")
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("data", "new")]


def test_processes_that_share_a_file_use_different_drafts(tmp_path):
    with replacing(tmp_path / "data", shared=True) as shared:
        shared.write_bytes(b"")
        assert shared != tmp_path / "data.new"


def test_removing_a_folder_returns_the_bytes_freed(tmp_path):
    folder = tmp_path / "a"
    (folder / "b").mkdir(parents=True)
    (folder / "b" / "c").write_bytes(bytes(1000))
    (folder / "d").write_bytes(bytes(24))
    assert folder_size(folder) == 1024
    assert remove_folder(folder) == 1024
    assert list(tmp_path.iterdir()) == []
