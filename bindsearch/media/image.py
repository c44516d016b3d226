"""Decodes what Pillow and libheif can read into upright, opaque RGB images of at most the requested size."""

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
from bindsearch.media.pixels import apply_orientation, downscale, fit_shorter_side, on_white, to_resizable_mode
from bindsearch.media.task import DecodeTask, MediaFacts
from bindsearch.types import Modality, Piece, Span

logging.getLogger("PIL").addHandler(logging.NullHandler())  # without a handler, its errors would go to stderr

_FORMAT_OF_SUFFIX = {".tga": "TGA", ".pcx": "PCX", ".ico": "ICO"}
"""Formats without a distinctive signature, which only the suffix can suggest."""
_FORMATS_TO_TRY = ("PPM", "BMP", "DIB", "JPEG2000", "DDS", "PSD", "ICNS", "HEIF")
_ANIMATED_FORMATS = frozenset({"GIF", "PNG", "WEBP", "AVIF"})
_UNDECODABLE = "damaged: the picture cannot be decoded"
_DEFAULT_FRAME_SECONDS = 0.1
"""Duration of a frame for which the file declares none, as in browsers."""
_ROUNDING_SECONDS = 1e-9
"""A frame that ends less than this after a slot begins does not count as shown in it."""
_REDUCED_COPY = 1
"""Bit of TIFF's NewSubfileType: the page is a smaller copy of another page."""
_NEW_SUBFILE_TYPE = 254


def format_of(file: BinaryIO, suffix: str) -> str | None:
    """Return the format of an image without a distinctive signature; None if no plugin opens it."""
    suggested = _FORMAT_OF_SUFFIX.get(suffix)
    for name in (suggested,) if suggested else _FORMATS_TO_TRY:
        try:
            _open(file, name)
        except UnreadableMedia:
            continue
        return name
    return None


def decode_image(task: DecodeTask, facts: MediaFacts) -> Iterator[Piece]:
    """Decode an image, the frames of an animation, or the pages of a document.

    Raises `UnreadableMedia`, `MediaTooLarge`.
    """
    if Modality.IMAGE not in task.wanted:
        return
    with _report_damage():
        image = _open(task.file, task.kind.format)
        frames = getattr(image, "n_frames", 1)
        if task.kind.format in _ANIMATED_FORMATS and frames > 1:
            yield from _animation(image, frames, task, facts)
        elif task.kind.format == "TIFF" and frames > 1:
            yield from _pages(image, frames, task)
        else:
            yield Piece(Modality.IMAGE, _decode_frame(image, task))


def _animation(image: ImageFile.ImageFile, frames: int, task: DecodeTask, facts: MediaFacts) -> Iterator[Piece]:
    """Yield the frame that is shown at the start of each slot; one that is shown for several slots is one piece.

    Slots are `frame_every` seconds long.
    """
    every = task.windowing.frame_every
    shown: Image.Image | None = None
    start, now, slot = 0.0, 0.0, 0
    for _ in _frames(image, frames, task.limits):
        image.load()
        end = round(now + (float(image.info.get("duration") or 0) / 1000 or _DEFAULT_FRAME_SECONDS), 6)
        if slot * every < end - _ROUNDING_SECONDS:
            if shown is not None:
                yield Piece(Modality.IMAGE, shown, Span(start, slot * every))
            shown, start = _decode_frame(image, task), slot * every
            slot = int((end - _ROUNDING_SECONDS) // every) + 1
        now = end
    if shown is not None:
        yield Piece(Modality.IMAGE, shown, Span(start, now))
    facts.duration = now


def _pages(image: ImageFile.ImageFile, frames: int, task: DecodeTask) -> Iterator[Piece]:
    if frames > task.limits.max_pages:
        raise MediaTooLarge(f"too large: {frames:,} pages; the limit is {task.limits.max_pages:,}")
    for number in _frames(image, frames, task.limits):
        subfile_type = image.tag_v2.get(_NEW_SUBFILE_TYPE, 0)  # type: ignore[attr-defined]
        if number == 0 or not subfile_type & _REDUCED_COPY:
            yield Piece(Modality.IMAGE, _decode_frame(image, task))


def _frames(image: ImageFile.ImageFile, frames: int, limits: Limits) -> Iterator[int]:
    """Seek to one frame after the other, and yield its number. Raises `MediaTooLarge`."""
    pixels = 0
    for number in range(frames):
        image.seek(number)
        _check_size(image, limits)
        pixels += image.width * image.height
        if pixels > limits.max_sequence_pixels:
            limit = limits.max_sequence_pixels
            raise MediaTooLarge(f"too large: its {frames:,} frames have more than {limit:,} pixels together")
        yield number


def _decode_frame(source: ImageFile.ImageFile, task: DecodeTask) -> Image.Image:
    """Decode the current frame into an image of its own."""
    _check_size(source, task.limits)
    side = task.windowing.image_side
    if task.kind.format == "JPEG":
        source.draft(None, fit_shorter_side(source.size, side))
    source.load()
    resized = downscale(to_resizable_mode(source), side)
    image = on_white(apply_orientation(resized, source))
    return image.copy() if image is source else image


def _check_size(image: ImageFile.ImageFile, limits: Limits) -> None:
    width, height = image.size
    if width * height > limits.max_pixels:
        raise MediaTooLarge(f"too large: {width} x {height} pixels; the limit is {limits.max_pixels:,}")


def _open(file: BinaryIO, name: str) -> ImageFile.ImageFile:
    """Read the header with the plugin of this name.

    `Image.open` is not used: it would try plugins that start other programs, and it has a process-wide limit of
    its own.
    """
    file.seek(0)
    with _report_damage():
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
def _report_damage() -> Iterator[None]:
    """Turn the errors of plugins into `UnreadableMedia`; errors of the file system pass through.

    EINVAL is not an error of the file system: seeking to a damaged offset raises it.
    """
    _silence_warnings()
    try:
        yield
    except (MediaError, GeneratorExit):
        raise
    except Image.DecompressionBombError as error:
        raise MediaTooLarge(f"too large: it has more pixels than can be decoded (decoder: {error})") from error
    except MemoryError as error:
        raise MediaTooLarge("decoding it takes more memory than is available") from error
    except Exception as error:  # parsers of damaged headers raise nearly every type there is
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
            raise
        raise UnreadableMedia(_message(error)) from error


def _message(error: Exception) -> str:
    """Return a plain message about a damaged image, followed by that of the plugin."""
    kind, text = type(error).__name__, str(error)
    reason = text if text and isinstance(error, OSError | SyntaxError | ValueError) else f"{kind}: {text}".rstrip(": ")
    what = "damaged or truncated: the picture ends too early" if "truncated" in reason.lower() else _UNDECODABLE
    return f"{what} (decoder: {reason})"


def _silence_warnings() -> None:
    """Keep the warnings of Pillow's modules from stderr.

    One permanent filter is used instead of `catch_warnings`, which would undo the filters of other threads.
    """
    _silence_libtiff()
    for category in (UserWarning, RuntimeWarning):
        if not any(entry[0] == "ignore" and entry[2] is category and _is_pil(entry[3]) for entry in warnings.filters):
            warnings.filterwarnings("ignore", category=category, module=_PIL)


@cache
def _silence_libtiff() -> None:
    """Keep the messages of libtiff from stderr, if it is a shared library; Pillow does not silence it."""
    with suppress(AttributeError, OSError):
        libraries = ctypes.CDLL(_imaging.__file__)
        for setter in (libraries.TIFFSetErrorHandler, libraries.TIFFSetWarningHandler):
            setter.argtypes, setter.restype = [ctypes.c_void_p], ctypes.c_void_p
            setter(None)


_PIL = r"PIL\.|pillow_heif\."


def _is_pil(module: object) -> bool:
    return getattr(module, "pattern", None) == _PIL
