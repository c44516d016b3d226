from __future__ import annotations

import contextlib
import random
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from decoding_helpers import pieces
from media_makers import encoded, files_of_all_formats, quarters, sine, sound, video, wav

from bindsearch.errors import MediaError, UnreadableMedia

ROOT = Path(__file__).resolve().parents[2]


def noisy_tone(seconds=4.0):
    tone = sine(seconds, rate=48_000) + 0.2 * np.random.default_rng(0).standard_normal(round(seconds * 48_000))
    return [tone.astype(np.float32)]


CODECS = [
    ("a.wav", "pcm_s16le"),
    ("a.aiff", "pcm_s16be"),
    ("a.au", "pcm_s16be"),
    ("a.caf", "pcm_s16le"),
    ("a.w64", "pcm_s16le"),
    ("a.flac", "flac"),
    ("a.mp3", "libmp3lame"),
    ("a.opus", "libopus"),
    ("a.oga", "flac"),
    ("a.m4a", "aac"),
    ("a.mka", "libopus"),
    ("a.wv", "wavpack"),
    ("a.tta", "tta"),
]


@pytest.mark.parametrize(("name", "codec"), CODECS)
def test_truncated_sounds_are_refused(tmp_path, name, codec):
    path = sound(tmp_path / name, noisy_tone(), codec=codec)
    whole = path.read_bytes()
    for share in (0.5, 0.9):
        path.write_bytes(whole[: round(len(whole) * share)])
        with pytest.raises(UnreadableMedia):
            pieces(path)


@pytest.mark.parametrize(
    ("name", "codec"),
    [
        ("a.flac", "flac"),
        ("a.mp3", "libmp3lame"),
        ("a.opus", "libopus"),
        ("a.oga", "flac"),
        ("a.m4a", "aac"),
        ("a.aac", "aac"),
        ("a.ac3", "ac3"),
        ("a.wv", "wavpack"),
        ("a.tta", "tta"),
        ("flac.mka", "flac"),
    ],
)
def test_sounds_damaged_in_the_middle_are_refused(tmp_path, name, codec):
    path = sound(tmp_path / name, noisy_tone(), codec=codec)
    data = bytearray(path.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 2000] = random.Random(1).randbytes(2000)
    path.write_bytes(data)
    with pytest.raises(UnreadableMedia, match="damaged"):
        pieces(path)


def test_damage_is_reported_with_its_time(tmp_path):
    path = sound(tmp_path / "a.mp3", noisy_tone(), codec="libmp3lame")
    data = bytearray(path.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 2000] = random.Random(1).randbytes(2000)
    path.write_bytes(data)
    message = r"^damaged at (1\.9|2\.0) s: its sound cannot be decoded \(FFmpeg: Invalid"
    with pytest.raises(UnreadableMedia, match=message) as caught:
        pieces(path)
    assert caught.value.__cause__ is not None


def test_missing_bytes_of_sound_are_reported(tmp_path):
    path = wav(tmp_path / "a.wav", [sine(2)])
    path.write_bytes(path.read_bytes()[:-20_000])
    with pytest.raises(UnreadableMedia, match=r"^truncated: 20,000 bytes of its sound are missing$"):
        pieces(path)


def test_a_sound_without_samples_is_refused(tmp_path):
    with pytest.raises(UnreadableMedia, match="holds no sound"):
        pieces(wav(tmp_path / "a.wav", [np.zeros(0, dtype=np.float32)]))


def test_invalid_sample_values_are_refused(tmp_path):
    tone = sine(1, rate=48_000)
    tone[24_000] = np.nan
    with pytest.raises(UnreadableMedia, match=r"^damaged at 0\.[0-9] s: invalid sample values$"):
        pieces(sound(tmp_path / "a.wav", [tone], codec="pcm_f32le"))


def test_an_endless_index_is_refused(tmp_path):
    path = video(tmp_path / "a.mp4", [(200, 0, 0)])
    path.write_bytes(path.read_bytes() + encoded(quarters(), "HEIF"))
    with pytest.raises(UnreadableMedia):
        pieces(path)


def test_decoding_prints_nothing_on_stderr(tmp_path, capfd):
    paths = files_of_all_formats(tmp_path)
    paths.append(tmp_path / "tags.jpg")
    paths[-1].write_bytes(encoded(quarters(), "JPEG").replace(b"JFIF", b"Exif"))
    capfd.readouterr()
    rng = random.Random(0)
    with warnings.catch_warnings(record=True) as caught_warnings:
        warnings.simplefilter("always")
        for path in paths:
            whole = path.read_bytes()
            for _ in range(4):
                data = bytearray(whole)
                for _ in range(8):
                    data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
                path.write_bytes(data)
                with contextlib.suppress(MediaError):
                    pieces(path)
    assert [str(warning.message) for warning in caught_warnings] == []
    assert capfd.readouterr() == ("", "")


def test_a_short_run_of_the_fuzzer_passes(tmp_path):
    """No crash, no hang, no excessive memory, no output, and no errors but those of the package."""
    done = subprocess.run(
        [sys.executable, "tests/stress/fuzz_media.py", "--count", "400", "--seed", "7", "--keep", str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert sum(int(part.split()[0]) for part in done.stdout.splitlines()[-1].split(", ")) == 400
