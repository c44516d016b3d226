from __future__ import annotations

import os
import random
from pathlib import Path

import pytest
from media_makers import encoded, files_of_all_formats, quarters, sine, sound, video, wav

from bindsearch.errors import UnreadableMedia
from bindsearch.media import MediaKind, decode, identify
from bindsearch.types import Modality, Windowing


@pytest.fixture(scope="module")
def files_of_every_format(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return files_of_all_formats(tmp_path_factory.mktemp("kinds"))


VIDEO_SUFFIXES = {".mp4", ".webm", ".mkv", ".avi", ".mov", ".m2ts", ".mpg", ".flv", ".wmv"}
AUDIO_SUFFIXES = set(".wav .flac .mp3 .ogg .oga .opus .m4a .aac .aiff .au .caf .w64 .ac3 .tta .wv .mka".split())
TEXT_SUFFIXES = {".txt", ".md", ".srt", ".vtt", ".html"}


def test_every_format_is_identified(files_of_every_format):
    for path in files_of_every_format:
        kind = identify(path)
        assert kind is not None, path
        groups = ((VIDEO_SUFFIXES, Modality.VIDEO), (AUDIO_SUFFIXES, Modality.AUDIO), (TEXT_SUFFIXES, Modality.TEXT))
        expected = next((modality for suffixes, modality in groups if path.suffix in suffixes), Modality.IMAGE)
        assert kind.modality == expected, path


def test_content_decides_without_a_known_suffix(files_of_every_format, tmp_path):
    needs_its_name = {".tga", ".pcx", ".ppm", *TEXT_SUFFIXES}
    for path in files_of_every_format:
        for suffix in (".bin", ""):
            nameless = tmp_path / f"x{suffix}"
            nameless.write_bytes(path.read_bytes())
            expected = None if path.suffix in needs_its_name else identify(path)
            assert identify(nameless) == expected, path


def test_content_decides_within_a_family(tmp_path):
    (tmp_path / "a.JPG").write_bytes(encoded(quarters(), "PNG"))
    assert identify(tmp_path / "a.JPG") == MediaKind(Modality.IMAGE, "PNG")
    wav(tmp_path / "a.mp3", [sine(1)])
    assert identify(tmp_path / "a.mp3") == MediaKind(Modality.AUDIO, "wav")
    sound(tmp_path / "a.mp4", [sine(1, rate=48_000)], codec="aac").rename(tmp_path / "a.mkv")
    assert identify(tmp_path / "a.mkv") == MediaKind(Modality.AUDIO, "mp4")
    video(tmp_path / "v.mp4", [(200, 0, 0)]).rename(tmp_path / "v.m4a")
    assert identify(tmp_path / "v.m4a") == MediaKind(Modality.VIDEO, "mp4")


def content(what: str, folder: Path) -> bytes:
    match what:
        case "sound":
            return wav(folder / "sound.wav", [sine(1)]).read_bytes()
        case "picture":
            return encoded(quarters(), "PNG")
        case "video":
            return video(folder / "video.mp4", [(200, 0, 0)]).read_bytes()
        case "text":
            return b"The sea was calm.\n"
        case "noise":
            return random.Random(0).randbytes(5000)
        case _:
            return b""


@pytest.mark.parametrize(
    ("name", "what", "words"),
    [
        ("a.jpg", "text", "named .jpg, but it holds text"),
        ("a.PNG", "sound", r"named .PNG, but it holds sound \(wav\): rename it"),
        ("a.png", "video", r"named .png, but it holds video \(mp4\): rename it"),
        ("a.wav", "picture", r"named .wav, but it holds a picture \(PNG\): rename it"),
        ("a.mp4", "text", "named .mp4, but it holds text"),
        ("a.txt", "picture", r"named .txt, but it holds a picture \(PNG\): rename it"),
        ("a.md", "noise", "named .md, but it holds no text that can be recognised"),
        ("a.jpeg", "noise", "named .jpeg, but it holds no picture that can be recognised"),
        ("a.flac", "noise", "named .flac, but it holds no sound that can be recognised"),
        ("a.mp4", "nothing", "the file is empty"),
        ("a.txt", "nothing", "the file is empty"),
    ],
)
def test_a_name_that_content_contradicts_is_refused(tmp_path, name, what, words):
    (tmp_path / name).write_bytes(content(what, tmp_path))
    with pytest.raises(UnreadableMedia, match=f"^{words}$"):
        identify(tmp_path / name)


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.zip", b"PK\3\4" + bytes(100)),
        ("a.py", b"print('hello')\n"),
        ("a.ts", b"export const x: number = 1;\n"),
        ("a.json", b"{}"),
        ("a.pdf", b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n"),
        ("a.eps", b"%!PS-Adobe-3.0 EPSF-3.0\n"),
        ("a.bin", random.Random(1).randbytes(5000)),
        ("a", b""),
        ("a.m3u8", b"#EXTM3U\n#EXTINF:1,\na.wav\n"),
        ("a.nef", b"II*\0" + bytes(100)),
    ],
)
def test_unsupported_files_are_ignored(tmp_path, name, data):
    (tmp_path / name).write_bytes(data)
    assert identify(tmp_path / name) is None


@pytest.mark.parametrize(
    "playlist",
    [
        "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{}\n#EXT-X-ENDLIST\n",
        "ffconcat version 1.0\nfile {}\n",
        "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio 5004 RTP/AVP 0\n",
        '<?xml version="1.0"?><MPD><Period><BaseURL>{}</BaseURL></Period></MPD>',
    ],
)
@pytest.mark.parametrize("name", ["list.mp4", "list.wav", "list.mkv"])
def test_a_playlist_cannot_open_another_file(tmp_path, playlist, name):
    neighbour = wav(tmp_path / "neighbour.wav", [sine(1)])
    for target in (neighbour.name, str(neighbour), neighbour.as_uri()):
        (tmp_path / name).write_text(playlist.format(target))
        with pytest.raises(UnreadableMedia, match=f"^named {Path(name).suffix}, but it holds text$"):
            identify(tmp_path / name)


@pytest.mark.parametrize("form", ["hls", "concat", "sdp", "dash", "image2", "tty", "lavfi", "rtsp", "s16le"])
def test_other_demuxers_cannot_be_requested(tmp_path, form):
    wav(tmp_path / "neighbour.wav", [sine(1)])
    path = tmp_path / "list.bin"
    path.write_text("#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nneighbour.wav\n#EXT-X-ENDLIST\n")
    with pytest.raises(UnreadableMedia, match=r"cannot be opened as sound or video \(FFmpeg: "):
        list(decode(path, MediaKind(Modality.AUDIO, form), Windowing(), wanted=frozenset(Modality)))


def test_a_binary_playlist_opens_no_other_file(tmp_path):
    neighbour = wav(tmp_path / "neighbour.wav", [sine(1)])
    path = tmp_path / "list.mp4"
    path.write_bytes(b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#\0\n#EXTINF:1,\n" + os.fsencode(neighbour) + b"\n")
    with pytest.raises(UnreadableMedia, match="no video that can be recognised"):
        identify(path)


def test_files_that_cannot_be_opened_raise_os_errors(tmp_path):
    with pytest.raises(FileNotFoundError):
        identify(tmp_path / "gone.jpg")
    with pytest.raises(IsADirectoryError):
        identify(tmp_path)


def test_a_pipe_does_not_block(tmp_path):
    os.mkfifo(tmp_path / "a.wav")
    with pytest.raises(UnreadableMedia, match="not a regular file"):
        identify(tmp_path / "a.wav")
