"""The vector of a file depends neither on the form of the input nor on the rest of the batch."""

from __future__ import annotations

import wave

import numpy as np
import pytest
from encoder_families import FAMILIES
from media_files import picture, sound, tone
from PIL import Image

import bindsearch
from bindsearch.errors import UnsupportedMedia
from bindsearch.spaces.space import Space
from bindsearch.types import Modality

RNG = np.random.default_rng(3)


@pytest.fixture(scope="module", params=FAMILIES, ids=lambda family: family.name.partition(":")[0])
def space(request):
    return Space(request.param.make())


def skip_unless_supported(space, modality):
    if modality not in space.spec.modalities:
        pytest.skip(f"{space.spec.name} does not support {modality}")


def assert_same(rows, vector):
    assert np.abs(rows - vector).max() < 1e-5


# Forms of input ---------------------------------------------------------------------------------------------------


def test_image_as_path_bytes_pillow_and_array_is_the_same(space, tmp_path):
    skip_unless_supported(space, Modality.IMAGE)
    pixels = RNG.integers(0, 256, (300, 1300, 3), dtype=np.uint8)
    path = tmp_path / "a.png"
    Image.fromarray(pixels).save(path)
    with Image.open(path) as opened:
        forms = [path, str(path), path.read_bytes(), opened, Image.fromarray(pixels), pixels, next(space.pieces(path))]
        rows = space.embed(forms)
    assert_same(rows, space.embed([path])[0])


def test_opened_image_is_rotated_and_put_on_white_as_its_file(space, tmp_path):
    skip_unless_supported(space, Modality.IMAGE)
    path = tmp_path / "a.png"
    image = Image.new("RGBA", (60, 40), (200, 0, 0, 128))
    image.paste((0, 0, 255, 255), (0, 0, 20, 20))
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(path, exif=exif)
    with Image.open(path) as opened:
        assert_same(space.embed([opened]), space.embed([path])[0])


def test_sound_as_path_bytes_and_array_is_the_same(space, tmp_path):
    skip_unless_supported(space, Modality.AUDIO)
    rate = space.spec.windowing.sample_rate
    path = sound(tmp_path / "a.wav", tone(440.0, 4.5), rate=rate)
    with wave.open(str(path)) as file:
        samples = np.frombuffer(file.readframes(file.getnframes()), np.int16) / 32768
    assert_same(space.embed([path, path.read_bytes(), samples.astype(np.float32), samples]), space.embed([path])[0])


def test_image_vector_does_not_depend_on_batch_or_order(space, tmp_path):
    skip_unless_supported(space, Modality.IMAGE)
    paths = [picture(tmp_path / f"{name}.png", name) for name in ("red", "teal", "white", "navy", "gold")]
    paths += [tmp_path / "pages.tiff"]
    pages = [Image.new("RGB", (50, 50), name) for name in ("red", "lime", "blue")]
    pages[0].save(paths[-1], save_all=True, append_images=pages[1:])
    together = space.embed(paths * 9)
    assert_same(together, np.tile(np.concatenate([space.embed([path]) for path in paths]), (9, 1)))
    assert_same(space.embed(paths[::-1])[::-1], together[: len(paths)])


def test_text_vector_does_not_depend_on_the_batch(space):
    texts = [f"text {number}" for number in range(70)]
    alone = np.concatenate([Space(space.encoder).embed([text], modality="text") for text in texts])
    assert_same(Space(space.encoder).embed(texts, modality="text"), alone)


def test_file_with_several_pieces_gets_their_mean(space, tmp_path):
    skip_unless_supported(space, Modality.IMAGE)
    path = tmp_path / "pages.tiff"
    pages = [Image.new("RGB", (50, 50), name) for name in ("red", "lime", "blue")]
    pages[0].save(path, save_all=True, append_images=pages[1:])
    mean = np.stack([row for _, _, row in space.segments(path)]).mean(axis=0)
    assert_same(space.embed([pages[0], path])[1:], mean / np.linalg.norm(mean))


@pytest.mark.parametrize(
    "array", [np.zeros((4, 4)), np.zeros((4, 4, 3)), np.zeros(4, np.int16), np.zeros((4, 4, 4), np.uint8)]
)
def test_array_that_is_no_media_is_rejected(array):
    with pytest.raises(UnsupportedMedia, match="neither a picture"):
        bindsearch.space("toy").embed([array])


def test_bytes_that_are_no_media_are_rejected():
    with pytest.raises(UnsupportedMedia):
        bindsearch.space("toy").embed([b"PK\x03\x04"])
    with pytest.raises(UnsupportedMedia, match="audio"):
        bindsearch.space("toy").embed([np.zeros((4, 4, 3), np.uint8)], modality="audio")
