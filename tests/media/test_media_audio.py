from __future__ import annotations

import subprocess
import sys
import wave
from pathlib import Path

import numpy as np
import pytest
from decoding_helpers import loudest_hertz, open_decoding, pieces, spans
from media_makers import sine, sound, video, wav

from bindsearch.media import identify
from bindsearch.media.windows import Resampler, WindowCutter
from bindsearch.types import Modality, Windowing


def test_windows_cover_a_recording_up_to_its_end(tmp_path):
    path = wav(tmp_path / "a.wav", [sine(5.3)])
    with open_decoding(path) as decoding:
        found = list(decoding)
    assert spans(found) == [(0, 2), (2, 4), (3.3, 5.3)]
    assert (decoding.duration, decoding.covered) == (5.3, 1.0)
    whole = np.round(sine(5.3) * 32767) / 32768
    np.testing.assert_allclose(found[1].content, whole[32_000:64_000], atol=1e-6)
    np.testing.assert_allclose(found[2].content, whole[-32_000:], atol=1e-6)


def test_windows_that_fit_exactly_need_no_extra_window(tmp_path):
    assert spans(pieces(wav(tmp_path / "a.wav", [sine(4)]))) == [(0, 2), (2, 4)]


def test_windows_overlap_if_the_hop_is_shorter(tmp_path):
    found = pieces(wav(tmp_path / "a.wav", [sine(3.5)]), Windowing(window=2, hop=1))
    assert spans(found) == [(0, 2), (1, 3), (1.5, 3.5)]


def test_windows_with_gaps_report_their_coverage(tmp_path):
    with open_decoding(wav(tmp_path / "a.wav", [sine(8)]), Windowing(window=1, hop=4)) as decoding:
        assert spans(list(decoding)) == [(0, 1), (4, 5), (7, 8)]
    assert decoding.covered == pytest.approx(3 / 8)


@pytest.mark.parametrize("chunk", [1, 7, 100, 1000])
def test_windows_do_not_depend_on_chunk_sizes(chunk):
    stream = np.arange(333, dtype=np.float32)
    windows = WindowCutter(50, 30)
    windows_found = [pair for start in range(0, 333, chunk) for pair in windows.push(stream[start : start + chunk])]
    windows_found += windows.finish()
    assert [start for start, _ in windows_found] == [*range(0, 300, 30)[:10], 283]
    for start, samples in windows_found:
        np.testing.assert_array_equal(samples, stream[start : start + 50])


@pytest.mark.parametrize("samples", [1, 368])
def test_a_recording_shorter_than_a_window_is_one_piece(tmp_path, samples):
    (piece,) = pieces(wav(tmp_path / "a.wav", [sine(1)[:samples]]))
    assert (piece.span.start, piece.span.end) == (0, samples / 16_000)
    assert len(piece.content) == samples


def test_silence_is_decoded(tmp_path):
    (piece,) = pieces(wav(tmp_path / "a.wav", [np.zeros(16_000, dtype=np.float32)]))
    assert not piece.content.any()
    assert len(piece.content) == 16_000


@pytest.mark.parametrize("rate", [8000, 11_025, 22_050, 44_100, 48_000, 96_000])
def test_a_tone_keeps_its_pitch_loudness_and_length(tmp_path, rate):
    path = wav(tmp_path / "a.wav", [sine(2, rate=rate, hertz=1000)], rate=rate)
    (piece,) = pieces(path)
    assert len(piece.content) == 32_000
    assert loudest_hertz(piece.content) == pytest.approx(1000, abs=1)
    assert np.abs(piece.content[1000:-1000]).max() == pytest.approx(0.5, abs=0.01)


def test_stereo_becomes_the_mean_of_its_channels(tmp_path):
    left, right = sine(2, rate=44_100, hertz=300), sine(2, rate=44_100, hertz=2000)
    (both,) = pieces(wav(tmp_path / "stereo.wav", [left, right], rate=44_100))
    (mono,) = pieces(wav(tmp_path / "mono.wav", [(left + right) / 2], rate=44_100))
    np.testing.assert_allclose(both.content, mono.content, atol=1e-4)


def test_the_lfe_channel_is_part_of_the_downmix(tmp_path):
    silence = np.zeros(96_000, dtype=np.float32)
    low = sine(2, rate=48_000, hertz=60)
    path = sound(tmp_path / "a.flac", [silence, silence, silence, low, silence, silence], codec="flac")
    (piece,) = pieces(path)
    assert loudest_hertz(piece.content) == pytest.approx(60, abs=1)
    assert np.abs(piece.content).max() == pytest.approx(0.5 / 6, abs=0.005)


@pytest.mark.parametrize(
    ("name", "codec"),
    [
        ("a.flac", "flac"),
        ("a.mp3", "libmp3lame"),
        ("a.opus", "libopus"),
        ("a.oga", "flac"),
        ("a.m4a", "aac"),
        ("a.m4a", "alac"),
        ("a.aac", "aac"),
        ("a.aiff", "pcm_s16be"),
        ("a.caf", "pcm_s24le"),
        ("a.au", "pcm_s16be"),
        ("a.w64", "pcm_f32le"),
        ("a.wav", "pcm_u8"),
        ("a.wav", "pcm_s24le"),
        ("a.wav", "pcm_f64le"),
        ("a.wav", "pcm_alaw"),
        ("a.wv", "wavpack"),
        ("a.tta", "tta"),
        ("a.mka", "libopus"),
        ("a.ac3", "ac3"),
    ],
)
def test_every_codec_decodes_to_the_encoded_tone(tmp_path, name, codec):
    tone = sine(2.5, rate=48_000, hertz=440)
    path = sound(tmp_path / name, [tone, tone], codec=codec)
    found = pieces(path)
    assert {piece.modality for piece in found} == {Modality.AUDIO}
    assert found[-1].span.end == pytest.approx(2.5, abs=0.05)
    assert loudest_hertz(found[0].content) == pytest.approx(440, abs=1)
    assert np.abs(found[0].content[4000:-4000]).max() == pytest.approx(0.5, abs=0.03)


def test_the_sample_rate_may_change_within_a_stream():
    resampler = Resampler(16_000)
    parts = [resampler.push(sine(1, rate=44_100), 44_100), resampler.push(sine(1, rate=8000), 8000)]
    parts += [resampler.push(sine(1), 16_000), resampler.flush()]
    whole = np.concatenate(parts)
    assert len(whole) == 48_000
    for start in range(0, 48_000, 16_000):
        assert loudest_hertz(whole[start : start + 16_000]) == pytest.approx(440, abs=1)


def test_chained_streams_are_one_recording(tmp_path):
    first = sound(tmp_path / "1.oga", [sine(1, rate=48_000)], codec="flac", container="ogg")
    second = sound(tmp_path / "2.oga", [sine(1, rate=48_000, hertz=880)] * 2, codec="flac", container="ogg")
    chained = tmp_path / "a.oga"
    chained.write_bytes(first.read_bytes() + second.read_bytes())
    (piece,) = pieces(chained)
    assert piece.span.end == pytest.approx(2, abs=0.01)
    assert loudest_hertz(piece.content[:16_000]) == pytest.approx(440, abs=1)
    assert loudest_hertz(piece.content[16_000:]) == pytest.approx(880, abs=1)


def test_a_streamed_wav_without_a_size_is_complete(tmp_path):
    path = wav(tmp_path / "a.wav", [sine(3)])
    data = bytearray(path.read_bytes())
    for size in (b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x00\xf0\xff\x7f"):
        data[40:44] = size
        path.write_bytes(data)
        assert spans(pieces(path)) == [(0, 2), (1, 3)]


def test_data_after_the_end_is_ignored(tmp_path):
    tone = sine(2, rate=48_000)
    for name, codec in (("a.mp3", "libmp3lame"), ("a.wv", "wavpack"), ("a.flac", "flac"), ("a.opus", "libopus")):
        path = sound(tmp_path / name, [tone, tone], codec=codec)
        path.write_bytes(path.read_bytes() + b"TAG" + b"title".ljust(125, b"\0"))
        assert spans(pieces(path)) == [(0, 2)]


@pytest.mark.parametrize(("name", "codec"), [("a.mp3", "libmp3lame"), ("a.aac", "aac")])
def test_data_before_the_first_frame_is_ignored(tmp_path, name, codec):
    path = sound(tmp_path / name, [sine(2, rate=48_000)], codec=codec)
    path.write_bytes(bytes(range(1, 200)) * 4 + path.read_bytes())
    assert pieces(path)[-1].span.end == pytest.approx(2, abs=0.1)


def test_cover_art_is_not_a_video(tmp_path):
    import av
    from media_makers import encode_sound, encoded, quarters

    path = tmp_path / "a.mp3"
    with av.open(str(path), "w") as output:
        track = output.add_stream("libmp3lame", rate=48_000, layout="mono")
        cover = output.add_stream("png", rate=1)
        cover.width, cover.height, cover.pix_fmt = 64, 48, "rgb24"
        cover.disposition = av.stream.Disposition.attached_pic
        packet = av.Packet(encoded(quarters(), "PNG"))
        packet.stream, packet.pts, packet.dts = cover, 0, 0
        output.start_encoding()
        output.mux(packet)
        encode_sound(output, track, [sine(2, rate=48_000)])
    kind = identify(path)
    assert kind is not None
    assert kind.modality == Modality.AUDIO
    assert [piece.modality for piece in pieces(path)] == [Modality.AUDIO]


def test_a_video_container_may_hold_only_sound(tmp_path):
    path = sound(tmp_path / "a.mp4", [sine(2, rate=48_000)], codec="aac")
    kind = identify(path)
    assert kind is not None
    assert kind.modality == Modality.AUDIO


def test_unwanted_sound_is_not_decoded(tmp_path):
    assert pieces(wav(tmp_path / "a.wav", [sine(2)]), wanted=frozenset({Modality.IMAGE})) == []
    path = video(tmp_path / "a.mp4", [(200, 0, 0)], audio=[sine(2, rate=48_000)])
    assert {piece.modality for piece in pieces(path, wanted=frozenset({Modality.VIDEO}))} == {Modality.VIDEO}


def test_memory_does_not_grow_with_the_recording(tmp_path):
    path = tmp_path / "long.wav"
    with wave.open(str(path), "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(44_100)
        minute = np.random.default_rng(0).integers(-9000, 9000, 60 * 44_100 * 2).astype("<i2").tobytes()
        for _ in range(10):
            file.writeframes(minute)
    program = """
import resource, sys
from pathlib import Path
from decoding_helpers import open_decoding
peaks, windows = [], 0
with open_decoding(Path(sys.argv[1])) as decoding:
    for piece in decoding:
        windows += 1
        peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
print(windows, peaks[-1] - peaks[10])
"""
    done = subprocess.run(
        [sys.executable, "-c", program, str(path)],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parent,
    )
    windows, growth = map(int, done.stdout.split())
    assert windows == 300
    assert growth < 16_000  # kilobytes; the decoded recording would be 38,400 as float samples
