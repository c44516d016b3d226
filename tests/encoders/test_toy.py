"""What the toy space says about everyday colours, sounds and words."""

from __future__ import annotations

import encoder_media as media
import numpy as np
import pytest
from bindsearch.encoders.toy import encoder as toy
from bindsearch.encoders.toy.vocabulary import TABLE, VOCABULARY, singular
from PIL import Image

from bindsearch.spaces.prompt_templates import TEMPLATES
from bindsearch.types import Modality, Piece, Vectors

ENCODER = toy.ToyEncoder()

PICTURES = {
    "red": media.plain("red"),
    "orange": media.plain("orange"),
    "yellow": media.plain("yellow"),
    "green": media.plain((30, 120, 40)),
    "blue": media.plain((20, 80, 180)),
    "violet": media.plain((120, 0, 255)),
    "grey": media.plain("grey"),
    "speckled": media.speckled(),
    "black": media.plain((6, 7, 14)),
    "white": media.plain((246, 248, 252)),
    "chequered": media.chequered(),
}
SOUNDS = {
    "low": media.tone(80),
    "middle": media.tone(500),
    "high": media.tone(4000),
    "hiss": media.hiss(),
    "silence": media.silence(),
    "beeps": media.beeps(),
}


def place(piece: Piece) -> Vectors:
    vector = ENCODER.encode(piece.modality, [ENCODER.prepare(piece)])[0]
    return vector / np.linalg.norm(vector)


def best(query: Vectors, among: dict[str, Piece]) -> str:
    return max(among, key=lambda name: float(query @ place(among[name])))


def likeness(one: str, other: str) -> float:
    return float(place(media.text(one)) @ place(media.text(other)))


@pytest.mark.parametrize(
    ("words", "picture"),
    [
        ("a red apple", "red"),
        ("orange", "orange"),
        ("Yellow sunflowers!", "yellow"),
        ("the green forest", "green"),
        ("the blue sea", "blue"),
        ("violets", "violet"),
        ("grey fog", "grey"),
        ("television static", "speckled"),
        ("a dark night", "black"),
        ("white snow", "white"),
        ("a chessboard", "chequered"),
        ("thunder", "red"),
        ("birds whistling", "violet"),
        ("silence", "black"),
        ("an alarm that beeps", "chequered"),
    ],
)
def test_words_find_the_picture(words: str, picture: str) -> None:
    assert best(place(media.text(words)), PICTURES) == picture


@pytest.mark.parametrize(
    ("words", "heard"),
    [
        ("a low rumble", "low"),
        ("distant thunder", "low"),
        ("bell", "middle"),
        ("high whistle", "high"),
        ("hiss", "hiss"),
        ("wind", "hiss"),
        ("rain", "hiss"),
        ("silence", "silence"),
        ("quiet night", "silence"),
        ("beeping alarm", "beeps"),
        ("red", "low"),
        ("violet", "high"),
        ("chessboard", "beeps"),
    ],
)
def test_words_find_the_sound(words: str, heard: str) -> None:
    assert best(place(media.text(words)), SOUNDS) == heard


@pytest.mark.parametrize(
    ("picture", "heard"),
    [
        ("red", "low"),
        ("green", "middle"),
        ("violet", "high"),
        ("speckled", "hiss"),
        ("black", "silence"),
        ("chequered", "beeps"),
    ],
)
def test_pictures_and_sounds_find_each_other(picture: str, heard: str) -> None:
    assert best(place(PICTURES[picture]), SOUNDS) == heard
    assert best(place(SOUNDS[heard]), PICTURES) == picture


@pytest.mark.parametrize("pitch", [60, 90, 120])
def test_a_low_tone_of_any_pitch_rumbles(pitch: float) -> None:
    words = {name: media.text(name) for name in ("a low rumble", "high whistle", "hiss", "silence", "beeping alarm")}
    assert best(place(media.tone(pitch)), words) == "a low rumble"
    assert best(place(media.tone(3000 + 20 * pitch)), words) == "high whistle"


def test_vectors_can_be_added_and_subtracted() -> None:
    low, high, beeping = (place(media.text(words)) for words in ("low", "high", "beeping"))
    thump, squeak = (
        media.sound(0.4 * np.sin(2 * np.pi * pitch * media.CLOCK) * (media.CLOCK * 4 % 1 < 0.5)) for pitch in (80, 4000)
    )
    beaten = {"thump": thump, "squeak": squeak, **SOUNDS}
    pulse = place(media.text("pulse"))
    assert best(low + pulse, beaten) == "thump"
    assert best(high + pulse, beaten) == "squeak"
    assert best(place(media.text("low beeping")) - low, SOUNDS) == best(beeping, SOUNDS) == "beeps"
    assert best(place(media.text("violet")) - high + low, PICTURES) == "red"


def test_what_has_nothing_in_common_scores_about_zero() -> None:
    colours = [place(media.text(name)) for name in ("red", "yellow", "green", "blue")]
    across = [float(colour @ place(PICTURES[name])) for colour in colours for name in ("grey", "chequered", "speckled")]
    assert max(across) < 0.1
    everything = np.stack([place(piece) for piece in (*PICTURES.values(), *SOUNDS.values())])
    apart = (everything @ everything.T)[np.triu_indices(len(everything), 1)]
    assert abs(float(apart.mean())) < 0.1


def test_texts_meet_in_words_that_the_vocabulary_lacks() -> None:
    assert likeness("the invoice", "an INVOICE.") == pytest.approx(1, abs=1e-6)
    assert likeness("invoice of march", "the march invoice") > 0.95
    assert likeness("invoice", "bicycle invoice") > 0.5 > likeness("invoice", "violin")
    unknown = place(media.text("invoice"))
    assert [float(unknown @ place(piece)) for piece in PICTURES.values()] == pytest.approx(
        [0] * len(PICTURES), abs=1e-6
    )


def test_known_words_count_by_their_share_of_the_text() -> None:
    red = place(PICTURES["red"])
    short, long = (
        place(media.text(words)) for words in ("red bicycle", "red bicycle with seven gears, mudguards, dynamo")
    )
    assert place(media.text("red")) @ red > short @ red > long @ red > 0.1


@pytest.mark.parametrize(
    ("word", "form"),
    [("birds", "bird"), ("waves", "wave"), ("dogs", "dog"), ("grass", "grass"), ("bus", "bus"), ("boss", "boss")],
)
def test_plurals_become_singular(word: str, form: str) -> None:
    assert singular(word) == form


def test_sentences_around_a_label_say_nothing() -> None:
    for sentences in TEMPLATES.values():
        for sentence in sentences:
            assert likeness(sentence.format("thunder"), "thunder") == pytest.approx(1, abs=1e-6), sentence


@pytest.mark.parametrize(
    "piece",
    [
        media.silence(0),
        media.silence(1),
        media.sound(np.ones(1)),
        media.sound(-np.ones(32_000)),
        media.plain("black"),
        media.text(""),
        Piece(Modality.IMAGE, media.plain("red").content.resize((1, 1))),
        Piece(Modality.IMAGE, media.plain("white").content.resize((900, 1))),
    ],
    ids=["no sound", "a sample", "a click", "direct current", "black", "no text", "a pixel", "a line"],
)
def test_the_smallest_pieces_have_a_place(piece: Piece) -> None:
    assert np.isfinite(place(piece)).all()


def test_a_short_piece_sounds_as_a_long_one_does() -> None:
    whole = media.tone(700)
    short = media.sound(whole.content[:5000])
    assert place(whole) @ place(short) > 0.9


def test_louder_and_quieter_are_told_apart() -> None:
    levels = {name: media.hiss(level=level) for name, level in (("loud", 0.5), ("quiet", 0.004))}
    assert best(place(media.text("loud")), levels) == "loud"
    assert best(place(media.text("quiet")), levels) == "quiet"


def test_within_a_modality_the_finer_likeness_decides() -> None:
    left, right = (np.zeros((120, 160, 3), dtype=np.uint8) for _ in range(2))
    left[:, :80], right[:, 80:] = 255, 255
    one, other, same = (Piece(Modality.IMAGE, pixels) for pixels in map(Image.fromarray, (left, right, left)))
    assert place(one) @ place(same) - place(one) @ place(other) > 0.1


def test_the_vocabulary_has_no_word_twice() -> None:
    words = [word for line in TABLE.splitlines() if line and line[0] != "#" for word in line.partition("|")[2].split()]
    assert len(words) == len(set(words)) == len(VOCABULARY) > 250


def test_the_fingerprint_follows_the_recipe() -> None:
    assert toy.fingerprint_of(toy.RECIPE) == ENCODER.spec.fingerprint
    assert (
        toy.fingerprint_of((*toy.RECIPE[:-2], TABLE.replace("bee", "wasp"), toy.RECIPE[-1])) != ENCODER.spec.fingerprint
    )
