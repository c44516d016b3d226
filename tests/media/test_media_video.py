from __future__ import annotations

from fractions import Fraction

import av
import numpy as np
import pytest
from decoding_helpers import loudest_hertz, of_modality, open_decoding, pieces, spans
from media_makers import CORNERS, quarters, sine, video
from PIL import Image

from bindsearch.errors import UnreadableMedia
from bindsearch.media import identify
from bindsearch.types import Modality, Windowing

COLOURS = [(220, 20, 20), (20, 200, 20), (20, 20, 220), (200, 200, 20)]


def shown(found):
    return [piece.content.getpixel((20, 20)) for piece in of_modality(found, Modality.VIDEO)]


def near(pixel, colour, tolerance=16):
    return all(abs(one - other) <= tolerance for one, other in zip(pixel, colour, strict=True))


@pytest.mark.parametrize("gop", [5, 20, 30, 1000])
@pytest.mark.parametrize(("name", "codec"), [("a.mp4", "libx264"), ("a.webm", "libvpx"), ("a.avi", "mpeg4")])
def test_every_slot_has_its_own_frame(tmp_path, name, codec, gop):
    path = video(tmp_path / name, COLOURS, codec=codec, gop=gop)
    with open_decoding(path) as decoding:
        found = list(decoding)
    assert spans(found) == [(0, 2), (2, 4), (4, 6), (6, 8)]
    assert decoding.duration == pytest.approx(8, abs=0.01)
    assert decoding.covered == 1
    assert {piece.content.mode for piece in found} == {"RGB"}
    for pixel, colour in zip(shown(found), COLOURS, strict=True):
        assert near(pixel, colour)


def test_a_very_short_video_gives_a_frame(tmp_path):
    (piece,) = pieces(video(tmp_path / "a.mp4", COLOURS[:1], each=0.1))
    assert (piece.span.start, piece.span.end) == (0, pytest.approx(0.1))
    assert near(piece.content.getpixel((20, 20)), COLOURS[0])


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.mov"])
def test_the_sound_of_a_video_has_its_times(tmp_path, name):
    tone = np.concatenate([sine(2, rate=48_000, hertz=440), sine(2, rate=48_000, hertz=880)])
    path = video(tmp_path / name, COLOURS[:2], audio=[tone])
    found = pieces(path)
    assert len(shown(found)) == 2
    first, second = of_modality(found, Modality.AUDIO)[:2]
    assert (first.span.start, first.span.end) == (0, 2)
    assert loudest_hertz(first.content) == pytest.approx(440, abs=2)
    assert loudest_hertz(second.content) == pytest.approx(880, abs=2)


def test_sound_that_starts_later_has_later_times(tmp_path):
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as output:
        pictures = output.add_stream("mpeg4", rate=10)
        pictures.width, pictures.height, pictures.pix_fmt = 64, 48, "yuv420p"
        track = output.add_stream("pcm_s16le", rate=16_000, layout="mono")
        for count in range(60):
            frame = av.VideoFrame.from_image(Image.new("RGB", (64, 48), COLOURS[0]))
            frame.pts, frame.time_base = count, Fraction(1, 10)
            output.mux(pictures.encode(frame))
        output.mux(pictures.encode(None))
        samples = (sine(2) * 32767).astype(np.int16).reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
        frame.sample_rate, frame.time_base, frame.pts = 16_000, Fraction(1, 16_000), 3 * 16_000
        output.mux(track.encode(frame))
        output.mux(track.encode(None))
    (sound,) = of_modality(pieces(path), Modality.AUDIO)
    assert (sound.span.start, sound.span.end) == (3, 5)


def test_irregular_frame_times_are_respected(tmp_path):
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as output:
        stream = output.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1000)
        for milliseconds, colour in ((0, COLOURS[0]), (50, COLOURS[1]), (4500, COLOURS[2]), (9000, COLOURS[3])):
            frame = av.VideoFrame.from_image(Image.new("RGB", (64, 48), colour))
            frame.pts, frame.time_base = milliseconds, Fraction(1, 1000)
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    found = pieces(path)
    assert [span[0] for span in spans(found)] == [0, 4, 8]
    assert [span[1] for span in spans(found)][:2] == [4, 8]
    for pixel, colour in zip(shown(found), (COLOURS[0], COLOURS[2], COLOURS[3]), strict=True):
        assert near(pixel, colour)


def test_anamorphic_frames_get_square_pixels(tmp_path):
    path = tmp_path / "a.mp4"
    with av.open(str(path), "w") as output:
        stream = output.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
        stream.codec_context.sample_aspect_ratio = Fraction(2, 1)
        for count in range(5):
            frame = av.VideoFrame.from_image(quarters((320, 240)))
            frame.pts, frame.time_base = count, Fraction(1, 10)
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    (piece,) = pieces(path, Windowing(image_side=120))
    assert piece.content.size == (320, 120)
    assert near(piece.content.getpixel((20, 20)), CORNERS["red"])
    assert near(piece.content.getpixel((300, 20)), CORNERS["green"])


def set_display_matrix(path, matrix):
    """Write a display matrix into the track header of an MP4."""
    data = bytearray(path.read_bytes())
    place = data.index(b"tkhd") + 4 + 40
    data[place : place + 36] = b"".join(value.to_bytes(4, "big", signed=True) for value in matrix)
    path.write_bytes(data)


def test_the_display_matrix_is_applied(tmp_path):
    path = tmp_path / "a.mp4"
    with av.open(str(path), "w") as output:
        stream = output.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for count in range(5):
            frame = av.VideoFrame.from_image(quarters())
            frame.pts, frame.time_base = count, Fraction(1, 10)
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    one = 1 << 16
    set_display_matrix(
        path, (0, one, 0, -one, 0, 0, 48 * one, 0, 1 << 30)
    )  # as phones write it: show it turned clockwise
    (piece,) = pieces(path)
    assert piece.content.size == (48, 64)
    assert near(piece.content.getpixel((40, 8)), CORNERS["red"])
    assert near(piece.content.getpixel((8, 8)), CORNERS["blue"])


def test_the_sound_of_a_video_can_be_decoded_alone(tmp_path):
    path = video(tmp_path / "a.mp4", COLOURS[:2], audio=[sine(4, rate=48_000)])
    with open_decoding(path, wanted=frozenset({Modality.AUDIO})) as decoding:
        assert {piece.modality for piece in decoding} == {Modality.AUDIO}
    assert decoding.duration == pytest.approx(4, abs=0.05)
    assert decoding.covered == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize(
    ("name", "codec"), [("a.mp4", "libx264"), ("a.mkv", "libx264"), ("a.webm", "libvpx"), ("a.flv", "flv")]
)
def test_truncated_videos_are_refused(tmp_path, name, codec):
    path = video(tmp_path / name, COLOURS, codec=codec, faststart=name == "a.mp4")
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    with pytest.raises(UnreadableMedia, match="truncated"):
        pieces(path)


def test_a_video_without_its_index_is_truncated(tmp_path):
    path = video(tmp_path / "a.mp4", COLOURS)
    data = path.read_bytes()
    path.write_bytes(data[: data.index(b"moov") - 104])
    with pytest.raises(UnreadableMedia, match="truncated: 100 bytes of its content are missing"):
        identify(path)
