from __future__ import annotations

from pathlib import Path

import pytest

from bindsearch.errors import BadQuery
from bindsearch.training.manifest import Pair, read


def write_manifest(folder: Path, text: str) -> Path:
    for name in ("dog.jpg", "bark.wav", "film.mp4", "dogs/b.jpg", "dogs/a.jpg", "dogs/.hidden"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).touch()
    manifest = folder / "pairs.csv"
    manifest.write_text(text, encoding="utf-8")
    return manifest


def test_files_folders_and_videos_are_read(tmp_path):
    text = "image,sound,video,concept,split\ndog.jpg,bark.wav,,dog,dev\ndogs,bark.wav,,,\n,,film.mp4,,train\n"
    still, folder, film = read(write_manifest(tmp_path, text))
    assert still == Pair((tmp_path / "dog.jpg",), (tmp_path / "bark.wav",), "dog", "dev")
    assert folder.images == (tmp_path / "dogs/a.jpg", tmp_path / "dogs/b.jpg")
    assert film.is_video
    assert film.sounds == (tmp_path / "film.mp4",)
    assert not still.is_video


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("image,sund\n", "unknown column sund"),
        ("image,sound\n", "has no pairs"),
        ("image,sound\ndog.jpg,\n", "line 2: a row needs an image and a sound, or a video"),
        ("image,sound\ncat.jpg,bark.wav\n", "cat.jpg does not exist"),
        ("image,sound,split\ndog.jpg,bark.wav,test\n", "train or dev, not 'test'"),
    ],
)
def test_an_invalid_line_is_reported_by_number(tmp_path, text, message):
    with pytest.raises(BadQuery, match=message):
        read(write_manifest(tmp_path, text))


def test_recordings_are_split_by_hash_without_a_split_column():
    def held_out(recording: str, sound: str) -> bool:
        return Pair((), (), recording=recording).held_out(Path(sound))

    assert len({held_out("one take", f"part {number}.wav") for number in range(50)}) == 1
    share = sum(held_out(f"take {number}", "x.wav") for number in range(2000)) / 2000
    assert 0.1 < share < 0.15


def test_a_given_split_takes_precedence():
    assert Pair((), (), split="dev", recording="any").held_out(Path("a.wav"))
    assert not any(Pair((), (), split="train").held_out(Path(f"{number}.wav")) for number in range(50))
