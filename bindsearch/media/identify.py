"""Identifies what a file holds: by its content, which must not contradict the suffix of its name."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

from bindsearch.errors import UnreadableMedia
from bindsearch.media.container import main_audio, main_video, open_container
from bindsearch.media.formats import (
    CAMERA_RAW,
    CONTAINER_MODALITIES,
    DEFAULT_LIMITS,
    MODALITY_NAMES,
    MediaKind,
    claimed_modality,
    open_file,
    same_family,
)
from bindsearch.media.sniff import HEAD_BYTES, looks_like_text, sniff
from bindsearch.media.truncation import check_complete
from bindsearch.types import Modality

_TEXT_FORMATS = {".srt": "srt", ".vtt": "vtt", ".html": "html", ".htm": "html", ".md": "md", ".markdown": "md"}
_AUDIO_ONLY_FORMATS = frozenset("wav w64 aiff au caf flac mp3 aac ac3 amr ape wv tta mpc mpc8 dsf voc".split())
"""Formats that can hold nothing but sound, so that they need not be opened to know."""


def identify(path: Path) -> MediaKind | None:
    """Return what a file holds; None for a file that is not supported, by neither its name nor its content.

    Raises `UnreadableMedia` if the content contradicts the name, and `OSError`.
    """
    claim = claimed_modality(path)
    if path.suffix.lower() in CAMERA_RAW:
        return None
    with open_file(path) as file:
        head = file.read(HEAD_BYTES)
        if claim == Modality.TEXT and head and looks_like_text(head):
            return MediaKind(Modality.TEXT, _TEXT_FORMATS.get(path.suffix.lower(), "txt"))
        kind = sniff(head) or (_kind_by_opening(file, path, claim) if claim and head else None)
        if claim and (kind is None or not same_family(claim, kind.modality)):
            raise UnreadableMedia(_contradiction(path.suffix, claim, head, kind))
        if kind and kind.modality in CONTAINER_MODALITIES and kind.format not in _AUDIO_ONLY_FORMATS:
            return _video_or_audio(file, kind)
        return kind


def _contradiction(suffix: str, claim: Modality, head: bytes, kind: MediaKind | None) -> str:
    """Return a message that says how a file's content contradicts its suffix."""
    if not head:
        return "the file is empty"
    if kind is not None:
        return f"named {suffix}, but it holds {MODALITY_NAMES[kind.modality]} ({kind.format}): rename it"
    if looks_like_text(head):
        return f"named {suffix}, but it holds text"
    return f"named {suffix}, but it holds no {MODALITY_NAMES[claim].removeprefix('a ')} that can be recognised"


def _kind_by_opening(file: BinaryIO, path: Path, claim: Modality) -> MediaKind | None:
    """Identify a file without a distinctive signature by opening it as what its name claims."""
    if claim == Modality.IMAGE:
        from bindsearch.media.image import format_of

        name = format_of(file, path.suffix.lower())
        return MediaKind(Modality.IMAGE, name) if name else None
    if claim == Modality.TEXT:
        return None
    try:
        with open_container(file, None, DEFAULT_LIMITS) as container:
            return MediaKind(claim, container.format.name.split(",")[0])
    except UnreadableMedia:
        return None


def _video_or_audio(file: BinaryIO, kind: MediaKind) -> MediaKind:
    try:
        with open_container(file, kind.format, DEFAULT_LIMITS) as container:
            if main_video(container):
                return MediaKind(Modality.VIDEO, kind.format)
            if main_audio(container):
                return MediaKind(Modality.AUDIO, kind.format)
        raise UnreadableMedia("holds neither sound nor moving pictures that can be decoded")
    except UnreadableMedia:
        check_complete(file, kind.format)  # "truncated" is a better reason than the errors that follow from it
        raise
