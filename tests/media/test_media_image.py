from __future__ import annotations

import numpy as np
import pytest
from decoding_helpers import open_decoding, pieces, spans
from media_makers import CORNERS, encoded, quarters
from PIL import Image

from bindsearch.errors import MediaTooLarge, UnreadableMedia
from bindsearch.media import Limits, decode, identify
from bindsearch.media.image import _report_damage
from bindsearch.types import Modality, Windowing


def only_image(path, **options):
    (piece,) = pieces(path, **options)
    assert piece.modality == Modality.IMAGE
    assert piece.content.mode == "RGB"
    return piece.content


def near(pixel, colour, tolerance=12):
    return all(abs(one - other) <= tolerance for one, other in zip(pixel, colour, strict=True))


def save(path, picture, form, **options):
    path.write_bytes(encoded(picture, form, **options))
    return path


@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("a.jpg", "JPEG"),
        ("a.PNG", "PNG"),
        ("a.gif", "GIF"),
        ("a.webp", "WEBP"),
        ("a.tiff", "TIFF"),
        ("a.bmp", "BMP"),
        ("a.heic", "HEIF"),
        ("a.avif", "AVIF"),
        ("a.tga", "TGA"),
        ("a.ppm", "PPM"),
        ("a.jp2", "JPEG2000"),
        ("a.qoi", "QOI"),
    ],
)
def test_every_format_decodes_to_the_encoded_image(tmp_path, name, form):
    picture = only_image(save(tmp_path / name, quarters(), form))
    assert picture.size == (64, 48)
    for place, colour in zip(((8, 8), (56, 8), (8, 40), (56, 40)), CORNERS.values(), strict=True):
        assert near(picture.getpixel(place), colour)


@pytest.mark.parametrize(
    ("orientation", "corner"),
    [
        (1, (0, 0)),
        (2, (1, 0)),
        (3, (1, 1)),
        (4, (0, 1)),
        (5, (0, 0)),
        (6, (1, 0)),
        (7, (1, 1)),
        (8, (0, 1)),
    ],
)
@pytest.mark.parametrize(("name", "form"), [("a.jpg", "JPEG"), ("a.png", "PNG"), ("a.tif", "TIFF"), ("a.webp", "WEBP")])
def test_exif_orientation_is_applied(tmp_path, orientation, corner, name, form):
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture = only_image(save(tmp_path / name, quarters(), form, exif=exif))
    assert picture.size == ((48, 64) if orientation > 4 else (64, 48))
    place = tuple(side - 9 if far else 8 for side, far in zip(picture.size, corner, strict=True))
    assert near(picture.getpixel(place), CORNERS["red"])


def test_transparent_images_are_put_on_white(tmp_path):
    clear = Image.new("RGBA", (20, 20), (0, 0, 0, 0))
    clear.paste((200, 0, 0, 255), (0, 0, 10, 20))
    for name, picture in {
        "rgba.png": clear,
        "la.png": clear.convert("LA"),
        "palette.png": clear.convert("RGBA").quantize(8),
    }.items():
        found = only_image(save(tmp_path / name, picture, "PNG"))
        assert found.getpixel((15, 10)) == (255, 255, 255)
        assert found.getpixel((5, 10))[2] < 80


def test_16_bit_grey_is_scaled_and_not_clipped(tmp_path):
    deep = np.array([[0, 16_384, 32_768, 65_535]], dtype=np.uint16)
    for name, form in (("a.png", "PNG"), ("a.tif", "TIFF")):
        found = only_image(save(tmp_path / name, Image.fromarray(deep), form))
        assert [found.getpixel((x, 0))[0] for x in range(4)] == [0, 64, 128, 255]


def test_float_images_are_scaled_by_their_range(tmp_path):
    fractions = np.array([[0, 0.5, 1, np.nan]], dtype=np.float32)
    found = only_image(save(tmp_path / "a.tif", Image.fromarray(fractions), "TIFF"))
    assert [found.getpixel((x, 0))[0] for x in range(4)] == [0, 128, 255, 0]
    found = only_image(save(tmp_path / "b.tif", Image.fromarray(np.array([[-10, 0, 10]], dtype=np.float32)), "TIFF"))
    assert [found.getpixel((x, 0))[0] for x in range(3)] == [0, 128, 255]


def test_cmyk_is_converted_to_rgb(tmp_path):
    found = only_image(save(tmp_path / "a.jpg", Image.new("CMYK", (16, 16), (0, 255, 255, 0)), "JPEG"))
    assert near(found.getpixel((8, 8)), (255, 0, 0))


@pytest.mark.parametrize(("name", "form"), [("a.jpg", "JPEG"), ("a.png", "PNG")])
def test_large_images_are_reduced_in_proportion(tmp_path, name, form):
    path = save(tmp_path / name, quarters((1200, 800)), form)
    picture = only_image(path, windowing=Windowing(image_side=100))
    assert picture.size == (150, 100)
    assert near(picture.getpixel((10, 10)), CORNERS["red"])
    assert only_image(path, windowing=Windowing(image_side=2000)).size == (1200, 800)


@pytest.mark.parametrize(("name", "form"), [("a.gif", "GIF"), ("a.png", "PNG"), ("a.webp", "WEBP"), ("a.avif", "AVIF")])
def test_animations_give_a_frame_per_slot(tmp_path, name, form):
    colours = [(220, 0, 0), (0, 220, 0), (0, 0, 220), (220, 220, 0), (0, 220, 220)]
    frames = [Image.new("RGB", (32, 32), colour) for colour in colours]
    path = save(tmp_path / name, frames[0], form, save_all=True, append_images=frames[1:], duration=1000)
    with open_decoding(path) as decoding:
        found = list(decoding)
    assert spans(found) == [(0, 2), (2, 4), (4, 5)]
    assert decoding.duration == 5
    for piece, colour in zip(found, colours[::2], strict=True):
        assert piece.modality == Modality.IMAGE
        assert near(piece.content.getpixel((16, 16)), colour, 20)


def test_a_frame_shown_for_several_slots_is_one_piece(tmp_path):
    frames = [Image.new("RGB", (32, 32), colour) for colour in ("red", "blue")]
    path = save(tmp_path / "a.gif", frames[0], "GIF", save_all=True, append_images=frames[1:], duration=[7000, 500])
    assert spans(pieces(path)) == [(0, 7.5)]


def test_each_page_of_a_document_is_a_piece(tmp_path):
    colours = [(220, 0, 0), (0, 220, 0), (0, 0, 220)]
    pages = [Image.new("RGB", (32, 32), colour) for colour in colours]
    path = save(tmp_path / "a.tif", pages[0], "TIFF", save_all=True, append_images=pages[1:])
    assert [piece.content.getpixel((5, 5)) for piece in pieces(path)] == colours
    kind = identify(path)
    assert kind is not None
    with (
        decode(path, kind, Windowing(), wanted=frozenset(Modality), limits=Limits(max_pages=2)) as decoding,
        pytest.raises(MediaTooLarge, match="3 pages; the limit is 2"),
    ):
        list(decoding)


def test_too_many_pixels_are_refused_before_decoding(tmp_path):
    path = save(tmp_path / "a.png", Image.new("1", (20_000, 15_000)), "PNG")
    with (
        open_decoding(path) as decoding,
        pytest.raises(MediaTooLarge, match="20000 x 15000 pixels; the limit is 200,000,000"),
    ):
        list(decoding)


@pytest.mark.parametrize("form", ["JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP", "HEIF", "AVIF", "TGA"])
def test_truncated_images_are_refused(tmp_path, form):
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 255, (96, 96, 3), dtype=np.uint8))
    whole = encoded(noise, form)
    suffix = {"JPEG": "jpg", "HEIF": "heic"}.get(form, form.lower())
    path = tmp_path / f"a.{suffix}"
    path.write_bytes(whole)
    assert only_image(path).size == (96, 96)
    path.write_bytes(whole[: len(whole) * 3 // 4])
    with pytest.raises(UnreadableMedia, match=r"^damaged( or truncated)?: (the picture|it) .*"):
        pieces(path)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (OSError("image file is truncated"), "damaged or truncated: the picture ends too early (decoder: image file"),
        (SyntaxError("broken PNG file"), "damaged: the picture cannot be decoded (decoder: broken PNG file)"),
        (KeyError(7), "damaged: the picture cannot be decoded (decoder: KeyError: 7)"),
        (EOFError(), "damaged: the picture cannot be decoded (decoder: EOFError)"),
    ],
)
def test_a_plain_message_precedes_that_of_the_decoder(error, message):
    with pytest.raises(UnreadableMedia) as caught, _report_damage():
        raise error
    assert str(caught.value).startswith(message)


def test_decoding_twice_gives_the_same_pixels(tmp_path):
    path = save(tmp_path / "a.jpg", quarters((900, 700)), "JPEG")
    assert only_image(path).tobytes() == only_image(path).tobytes()
