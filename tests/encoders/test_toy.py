"""How the toy space places everyday colours, sounds and words."""

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

IMAGES = {
    "red": media.plain_image("red"),
    "orange": media.plain_image("orange"),
    "yellow": media.plain_image("yellow"),
    "green": media.plain_image((30, 120, 40)),
    "blue": media.plain_image((20, 80, 180)),
    "violet": media.plain_image((120, 0, 255)),
    "grey": media.plain_image("grey"),
    "speckled": media.noise_image(),
    "black": media.plain_image((6, 7, 14)),
    "white": media.plain_image((246, 248, 252)),
    "chequered": media.chequered_image(),
}
SOUNDS = {
    "low": media.tone(80),
    "middle": media.tone(500),
    "high": media.tone(4000),
    "hiss": media.noise(),
    "silence": media.silence(),
    "beeps": media.beeps(),
}


def embed(piece: Piece) -> Vectors:
    vector = ENCODER.encode(piece.modality, [ENCODER.prepare(piece)])[0]
    return vector / np.linalg.norm(vector)


def nearest(query: Vectors, pieces: dict[str, Piece]) -> str:
    return max(pieces, key=lambda name: float(query @ embed(pieces[name])))


def similarity(text: str, other: str) -> float:
    return float(embed(media.text(text)) @ embed(media.text(other)))


@pytest.mark.parametrize(
    ("words", "image"),
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
def test_words_find_the_image(words: str, image: str) -> None:
    assert nearest(embed(media.text(words)), IMAGES) == image


@pytest.mark.parametrize(
    ("words", "sound"),
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
def test_words_find_the_sound(words: str, sound: str) -> None:
    assert nearest(embed(media.text(words)), SOUNDS) == sound


@pytest.mark.parametrize(
    ("image", "sound"),
    [
        ("red", "low"),
        ("green", "middle"),
        ("violet", "high"),
        ("speckled", "hiss"),
        ("black", "silence"),
        ("chequered", "beeps"),
    ],
)
def test_images_and_sounds_find_each_other(image: str, sound: str) -> None:
    assert nearest(embed(IMAGES[image]), SOUNDS) == sound
    assert nearest(embed(SOUNDS[sound]), IMAGES) == image


@pytest.mark.parametrize("hertz", [60, 90, 120])
def test_low_tones_rumble_and_high_tones_whistle(hertz: float) -> None:
    words = {name: media.text(name) for name in ("a low rumble", "high whistle", "hiss", "silence", "beeping alarm")}
    assert nearest(embed(media.tone(hertz)), words) == "a low rumble"
    assert nearest(embed(media.tone(3000 + 20 * hertz)), words) == "high whistle"


def test_vectors_can_be_added_and_subtracted() -> None:
    low, high, beeping = (embed(media.text(words)) for words in ("low", "high", "beeping"))
    thump, squeak = (
        media.sound(0.4 * np.sin(2 * np.pi * hertz * media.SECONDS) * (media.SECONDS * 4 % 1 < 0.5))
        for hertz in (80, 4000)
    )
    pulsing = {"thump": thump, "squeak": squeak, **SOUNDS}
    pulse = embed(media.text("pulse"))
    assert nearest(low + pulse, pulsing) == "thump"
    assert nearest(high + pulse, pulsing) == "squeak"
    assert nearest(embed(media.text("low beeping")) - low, SOUNDS) == nearest(beeping, SOUNDS) == "beeps"
    assert nearest(embed(media.text("violet")) - high + low, IMAGES) == "red"


def test_unrelated_pieces_score_about_zero() -> None:
    colours = [embed(media.text(name)) for name in ("red", "yellow", "green", "blue")]
    scores = [float(colour @ embed(IMAGES[name])) for colour in colours for name in ("grey", "chequered", "speckled")]
    assert max(scores) < 0.1
    vectors = np.stack([embed(piece) for piece in (*IMAGES.values(), *SOUNDS.values())])
    pairs = (vectors @ vectors.T)[np.triu_indices(len(vectors), 1)]
    assert abs(float(pairs.mean())) < 0.1


def test_texts_match_by_words_outside_the_vocabulary() -> None:
    assert similarity("the invoice", "an INVOICE.") == pytest.approx(1, abs=1e-6)
    assert similarity("invoice of march", "the march invoice") > 0.95
    assert similarity("invoice", "bicycle invoice") > 0.5 > similarity("invoice", "violin")
    unknown = embed(media.text("invoice"))
    assert [float(unknown @ embed(piece)) for piece in IMAGES.values()] == pytest.approx([0] * len(IMAGES), abs=1e-6)


def test_known_words_weigh_by_their_share_of_the_text() -> None:
    red = embed(IMAGES["red"])
    short, long = (
        embed(media.text(words)) for words in ("red bicycle", "red bicycle with seven gears, mudguards, dynamo")
    )
    assert embed(media.text("red")) @ red > short @ red > long @ red > 0.1


@pytest.mark.parametrize(
    ("word", "expected"),
    [("birds", "bird"), ("waves", "wave"), ("dogs", "dog"), ("grass", "grass"), ("bus", "bus"), ("boss", "boss")],
)
def test_plurals_become_singular(word: str, expected: str) -> None:
    assert singular(word) == expected


def test_prompt_templates_do_not_change_a_label() -> None:
    for templates in TEMPLATES.values():
        for template in templates:
            assert similarity(template.format("thunder"), "thunder") == pytest.approx(1, abs=1e-6), template


@pytest.mark.parametrize(
    "piece",
    [
        media.silence(0),
        media.silence(1),
        media.sound(np.ones(1)),
        media.sound(-np.ones(32_000)),
        media.plain_image("black"),
        media.text(""),
        Piece(Modality.IMAGE, media.plain_image("red").content.resize((1, 1))),
        Piece(Modality.IMAGE, media.plain_image("white").content.resize((900, 1))),
    ],
    ids=["no sound", "a sample", "a click", "direct current", "black", "no text", "a pixel", "a line"],
)
def test_smallest_pieces_get_finite_vectors(piece: Piece) -> None:
    assert np.isfinite(embed(piece)).all()


def test_short_sound_is_near_the_long_one() -> None:
    long = media.tone(700)
    short = media.sound(long.content[:5000])
    assert embed(long) @ embed(short) > 0.9


def test_loud_and_quiet_sounds_are_distinguished() -> None:
    levels = {name: media.noise(level=level) for name, level in (("loud", 0.5), ("quiet", 0.004))}
    assert nearest(embed(media.text("loud")), levels) == "loud"
    assert nearest(embed(media.text("quiet")), levels) == "quiet"


def test_layout_ranks_images_with_equal_attributes() -> None:
    left, right = (np.zeros((120, 160, 3), dtype=np.uint8) for _ in range(2))
    left[:, :80], right[:, 80:] = 255, 255
    first, other, same = (Piece(Modality.IMAGE, pixels) for pixels in map(Image.fromarray, (left, right, left)))
    assert embed(first) @ embed(same) - embed(first) @ embed(other) > 0.1


def test_vocabulary_has_no_duplicate_words() -> None:
    words = [word for line in TABLE.splitlines() if line and line[0] != "#" for word in line.partition("|")[2].split()]
    assert len(words) == len(set(words)) == len(VOCABULARY) > 250


def test_fingerprint_depends_on_the_recipe() -> None:
    assert toy.fingerprint_of(toy.RECIPE) == ENCODER.spec.fingerprint
    assert (
        toy.fingerprint_of((*toy.RECIPE[:-2], TABLE.replace("bee", "wasp"), toy.RECIPE[-1])) != ENCODER.spec.fingerprint
    )
