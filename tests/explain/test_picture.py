"""The drawings of explanations, for hits of every modality."""

from __future__ import annotations

import os
import shutil

import numpy as np
import pytest
from media.media_makers import sine, video
from media_files import passage, picture, sound, tone
from PIL import Image

import bindsearch
from bindsearch.errors import BadQuery, UnreadableMedia, UnsupportedMedia
from bindsearch.explain import picture as layout
from bindsearch.explain.drawing import HIGHLIGHT_COLOUR

HIGH = slice(6, 8)
"""Seconds of the high tone in the sounds."""


@pytest.fixture(scope="module")
def media(tmp_path_factory):
    folder = tmp_path_factory.mktemp("media")
    quarters = Image.new("RGB", (400, 300), "blue")
    quarters.paste("red", (260, 0, 400, 120))
    quarters.save(folder / "corner.png")
    for name in ("green", "yellow", "white"):
        picture(folder / f"{name}.png", name)
    low = tone(80.0, 20.0)
    low[HIGH.start * 16_000 : HIGH.stop * 16_000] = tone(4000.0, 2.0)
    sound(folder / "short.wav", low)
    sound(folder / "long.wav", np.concatenate([tone(80.0, 40.0), low, tone(80.0, 40.0)]))
    video(
        folder / "film.mp4",
        [(20, 20, 200), (20, 160, 20), (220, 20, 20), (20, 20, 200)],
        audio=[sine(8.0, rate=48_000, hertz=120.0)],
    )
    frames = [Image.new("RGB", (60, 60), colour) for colour in ("blue", "red", "green")]
    frames[0].save(folder / "moving.gif", save_all=True, append_images=frames[1:], duration=2000)
    passage(folder / "note.txt", "Nothing much. The ruby was red. The end.")
    return folder


@pytest.fixture(scope="module")
def library(media, tmp_path_factory):
    with bindsearch.open(tmp_path_factory.mktemp("library") / "a.library") as opened:
        opened.index(media)
        yield opened


def hit_of(library, name, query):
    hits = library.search(query, k=100, why=True)
    return next(hit for hit in hits if hit.path.name == name)


def columns_in(drawn: Image.Image, colour) -> list[int]:
    """Columns in which at least a tenth of the rows have a colour."""
    near = np.abs(np.asarray(drawn, dtype=int) - colour).sum(axis=2) < 20
    return np.flatnonzero(near.mean(axis=0) > 0.1).tolist()


def x_of(seconds: float, length: float) -> float:
    return layout.LEFT + seconds / length * (layout.WIDTH - layout.LEFT - layout.RIGHT)


def test_image_highlights_the_matching_corner(library):
    drawn = np.asarray(library.picture(hit_of(library, "corner.png", "red")), dtype=float)
    height, width, _ = drawn.shape
    assert width / height == pytest.approx(4 / 3, rel=0.01)
    light = drawn.max(axis=2)
    corner = light[: height // 4, int(width * 0.75) :].mean()
    assert corner > 1.8 * light[height // 2 :, : width // 2].mean()


def test_animation_shows_the_frame_of_the_hit(library):
    hit = hit_of(library, "moving.gif", "red")
    assert (hit.start, hit.end) == (2.0, 4.0)
    red, green, blue = np.asarray(library.picture(hit), dtype=float).mean(axis=(0, 1))
    assert red > 2 * max(green, blue)


def test_sound_marks_the_seconds_of_the_hit(library):
    hit = hit_of(library, "short.wav", "a high whistle")
    assert (hit.start, hit.end) == (HIGH.start, HIGH.stop)
    drawn = library.picture(hit)
    marks = columns_in(drawn, HIGHLIGHT_COLOUR)
    assert min(marks) == pytest.approx(x_of(HIGH.start, 20.0), abs=3)
    assert max(marks) == pytest.approx(x_of(HIGH.stop, 20.0), abs=3)


def test_spectrogram_shows_the_tone_at_its_seconds(library):
    strip = np.asarray(library.picture(hit_of(library, "short.wav", "a high whistle")), dtype=float)
    strip = strip[layout.TOP : layout.TOP + layout.STRIP // 3]  # the upper third: high pitches
    inside, outside = (
        strip[:, int(x_of(start, 20.0)) + 8 : int(x_of(end, 20.0)) - 8].max(axis=(0, 2)).mean()
        for start, end in ((HIGH.start, HIGH.stop), (12, 18))
    )
    assert inside > 2 * outside


def test_long_sound_is_also_enlarged(library):
    short, long = (library.picture(hit_of(library, name, "a high whistle")) for name in ("short.wav", "long.wav"))
    assert short.width == long.width == layout.WIDTH
    assert long.height > 2 * short.height - layout.TOP
    below = long.crop((0, long.height - short.height, long.width, long.height))
    marks = columns_in(below, HIGHLIGHT_COLOUR)
    assert (max(marks) - min(marks)) == pytest.approx(
        x_of(2.0, layout.ZOOM_SECONDS) - x_of(0.0, layout.ZOOM_SECONDS), abs=4
    )


def test_video_shows_the_best_frame_and_both_curves(library):
    hit = hit_of(library, "film.mp4", "red")
    assert (hit.segment.modality, hit.start) == ("video", 4.0)
    drawn = library.picture(hit)
    frame = np.asarray(drawn.crop((500, 100, 700, 300)), dtype=float).mean(axis=(0, 1))
    assert frame[0] > 2 * max(frame[1:])
    film = drawn.crop((0, 600, drawn.width, drawn.height))
    marks = columns_in(film, HIGHLIGHT_COLOUR)
    assert min(marks) == pytest.approx(x_of(4.0, 8.0), abs=3)
    assert max(marks) == pytest.approx(x_of(6.0, 8.0), abs=3)
    sounding = library.picture(hit_of(library, "film.mp4", "a low rumble"))
    assert sounding.size == drawn.size


def test_text_has_a_key_phrase(library):
    why = hit_of(library, "note.txt", "ruby").why
    assert why.key_phrase.sentence == "The ruby was red."
    assert "ruby" in why.key_phrase.words
    assert why.as_json()["key_phrase"]["words"] == list(why.key_phrase.words)


def test_hits_that_cannot_be_drawn_are_refused(library, media, tmp_path):
    with pytest.raises(UnsupportedMedia, match="is a text"):
        library.picture(hit_of(library, "note.txt", "ruby"))
    with pytest.raises(BadQuery, match="search with why=True"):
        library.picture(library.search("red", k=1)[0])
    mine = shutil.copytree(media, tmp_path / "media")
    with bindsearch.open(tmp_path / "b.library") as other:
        other.index(mine)
        hit = hit_of(other, "green.png", "green")
        os.utime(mine / "green.png", (1, 1))
        with pytest.raises(UnreadableMedia, match="changed since it was indexed"):
            other.picture(hit)
        (mine / "green.png").unlink()
        with pytest.raises(UnreadableMedia, match="does not exist any more"):
            other.picture(hit)
        other.forget(mine)
        with pytest.raises(BadQuery, match="search again"):
            other.picture(hit)
