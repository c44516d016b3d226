"""Pictures: whatever Pillow and libheif decode, upright, opaque, RGB, and no larger than asked for."""

from __future__ import annotations

import ctypes
import errno
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from typing import BinaryIO

from PIL import Image, ImageFile, _imaging

from bindsearch.errors import MediaError, MediaTooLarge, UnreadableMedia
from bindsearch.media.formats import Limits
from bindsearch.media.pixels import opaque, reduced, resizable, shorter_side_at, upright
from bindsearch.media.task import DecodeTask, MediaFacts
from bindsearch.types import Modality, Piece, Span

logging.getLogger("PIL").addHandler(logging.NullHandler())  # without a handler, its errors go to standard error

_BY_NAME_ONLY = {".tga": "TGA", ".pcx": "PCX", ".ico": "ICO"}
"""Formats whose first bytes say too little: only the suffix can suggest them."""
_BY_OPENING = ("PPM", "BMP", "DIB", "JPEG2000", "DDS", "PSD", "ICNS", "HEIF")
_ANIMATED = frozenset({"GIF", "PNG", "WEBP", "AVIF"})
_UNDECODABLE = "damaged: the picture cannot be decoded"
_STILL_FRAME = 0.1
"""Seconds that a frame lasts whose file says none, as browsers have it."""
_REDUCED_PAGE = 1
"""Bit of TIFF's NewSubfileType: the page is a smaller copy of another."""
_NEW_SUBFILE_TYPE = 254


def format_of(file: BinaryIO, suffix: str) -> str | None:
    """Find the format of a picture that has no certain beginning, None if there is none."""
    suggested = _BY_NAME_ONLY.get(suffix)
    for name in (suggested,) if suggested else _BY_OPENING:
        try:
            _open(file, name)
        except UnreadableMedia:
            continue
        return name
    return None


def decode_image(task: DecodeTask, told: MediaFacts) -> Iterator[Piece]:
    """Decode a picture, the frames of an animation, or the pages of a document.

    Raises `UnreadableMedia`, `MediaTooLarge`.
    """
    if Modality.IMAGE not in task.wanted:
        return
    with _damage():
        opened = _open(task.file, task.kind.format)
        frames = getattr(opened, "n_frames", 1)
        if task.kind.format in _ANIMATED and frames > 1:
            yield from _animation(opened, frames, task, told)
        elif task.kind.format == "TIFF" and frames > 1:
            yield from _pages(opened, frames, task)
        else:
            yield Piece(Modality.IMAGE, _picture(opened, task))


def _animation(opened: ImageFile.ImageFile, frames: int, task: DecodeTask, told: MediaFacts) -> Iterator[Piece]:
    """Return the frame that shows at the start of each slot; one that stays for several slots is one piece."""
    every = task.windowing.frame_every
    shown: Image.Image | None = None
    start, now, slot = 0.0, 0.0, 0
    for _ in _each(opened, frames, task.limits):
        opened.load()
        ends = round(now + (float(opened.info.get("duration") or 0) / 1000 or _STILL_FRAME), 6)
        if slot * every < ends - 1e-9:
            if shown is not None:
                yield Piece(Modality.IMAGE, shown, Span(start, slot * every))
            shown, start = _picture(opened, task), slot * every
            slot = int((ends - 1e-9) // every) + 1
        now = ends
    if shown is not None:
        yield Piece(Modality.IMAGE, shown, Span(start, now))
    told.duration = now


def _pages(opened: ImageFile.ImageFile, frames: int, task: DecodeTask) -> Iterator[Piece]:
    if frames > task.limits.max_pages:
        raise MediaTooLarge(f"too large: {frames:,} pages; the limit is {task.limits.max_pages:,}")
    for number in _each(opened, frames, task.limits):
        kind = opened.tag_v2.get(_NEW_SUBFILE_TYPE, 0)  # type: ignore[attr-defined]
        if number == 0 or not kind & _REDUCED_PAGE:
            yield Piece(Modality.IMAGE, _picture(opened, task))


def _each(opened: ImageFile.ImageFile, frames: int, limits: Limits) -> Iterator[int]:
    """Bring frame after frame to the front, as far as the limits allow."""
    pixels = 0
    for number in range(frames):
        opened.seek(number)
        _check_size(opened, limits)
        pixels += opened.width * opened.height
        if pixels > limits.max_sequence_pixels:
            most = limits.max_sequence_pixels
            raise MediaTooLarge(f"too large: its {frames:,} frames have more than {most:,} pixels together")
        yield number


def _picture(opened: ImageFile.ImageFile, task: DecodeTask) -> Image.Image:
    """Decode the frame in front into an image of its own."""
    _check_size(opened, task.limits)
    side = task.windowing.image_side
    if task.kind.format == "JPEG":
        opened.draft(None, shorter_side_at(opened.size, side))
    opened.load()
    picture = opaque(upright(reduced(resizable(opened), side), opened))
    return picture.copy() if picture is opened else picture


def _check_size(opened: ImageFile.ImageFile, limits: Limits) -> None:
    width, height = opened.size
    if width * height > limits.max_pixels:
        raise MediaTooLarge(f"too large: {width} x {height} pixels; the limit is {limits.max_pixels:,}")


def _open(file: BinaryIO, name: str) -> ImageFile.ImageFile:
    """Read the header with the plugin of this name.

    Not by `Image.open`, which would try plugins that start other programs, and has a limit of its own for the
    whole process.
    """
    file.seek(0)
    with _damage():
        if name == "HEIF":
            from pillow_heif.as_plugin import HeifImageFile

            heif: ImageFile.ImageFile = HeifImageFile(file)  # type: ignore[no-untyped-call]
            return heif
        Image.init()
        factory, accept = Image.OPEN[name]
        if accept and accept(file.read(16)) is not True:
            raise UnreadableMedia(f"damaged: it does not begin as {name} does")
        file.seek(0)
        return factory(file, "")


@contextmanager
def _damage() -> Iterator[None]:
    """Map whatever a plugin trips over to `UnreadableMedia`; errors of the file system pass through.

    EINVAL is none of theirs: it is what seeking to where a damaged offset points gives.
    """
    _hush()
    try:
        yield
    except (MediaError, GeneratorExit):
        raise
    except Image.DecompressionBombError as error:
        raise MediaTooLarge(f"too large: it has more pixels than can be decoded (decoder: {error})") from error
    except MemoryError as error:
        raise MediaTooLarge("decoding it takes more memory than there is") from error
    except Exception as error:  # parsers of damaged headers raise nearly every type there is
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
            raise
        raise UnreadableMedia(_in_words(error)) from error


def _in_words(error: Exception) -> str:
    """Say plainly what is wrong with a picture, and behind it what its plugin says."""
    kind, words = type(error).__name__, str(error)
    said = words if words and isinstance(error, OSError | SyntaxError | ValueError) else f"{kind}: {words}".rstrip(": ")
    what = "damaged or truncated: the picture ends too early" if "truncated" in said.lower() else _UNDECODABLE
    return f"{what} (decoder: {said})"


def _hush() -> None:
    """Keep the remarks of Pillow's modules from standard error.

    By one lasting filter and not by `catch_warnings`, which would undo the filters of other threads.
    """
    _hush_libtiff()
    for category in (UserWarning, RuntimeWarning):
        if not any(entry[0] == "ignore" and entry[2] is category and _is_pil(entry[3]) for entry in warnings.filters):
            warnings.filterwarnings("ignore", category=category, module=_PIL)


@cache
def _hush_libtiff() -> None:
    """Keep libtiff, which Pillow leaves talking, from standard error; where it is not a shared library it stays so."""
    with suppress(AttributeError, OSError):
        libraries = ctypes.CDLL(_imaging.__file__)
        for setter in (libraries.TIFFSetErrorHandler, libraries.TIFFSetWarningHandler):
            setter.argtypes, setter.restype = [ctypes.c_void_p], ctypes.c_void_p
            setter(None)


_PIL = r"PIL\.|pillow_heif\."


def _is_pil(module: object) -> bool:
    return getattr(module, "pattern", None) == _PIL
