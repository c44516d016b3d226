"""Deciding what a file is: by its content, with its name as the claim that content must not contradict."""

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
_ONE_THING = frozenset("wav w64 aiff au caf flac mp3 aac ac3 amr ape wv tta mpc mpc8 dsf voc".split())
"""Formats that hold sound and nothing else: no need to open them to know."""


def identify(path: Path) -> MediaKind | None:
    """Identify what a file holds; None for a file that is not ours, neither by its name nor by its content.

    Raises `UnreadableMedia` when the name claims a kind that the content is not, and `OSError`.
    """
    claim = claimed_modality(path)
    if path.suffix.lower() in CAMERA_RAW:
        return None
    with open_file(path) as file:
        head = file.read(HEAD_BYTES)
        if claim == Modality.TEXT and head and looks_like_text(head):
            return MediaKind(Modality.TEXT, _TEXT_FORMATS.get(path.suffix.lower(), "txt"))
        kind = sniff(head) or (_by_opening(file, path, claim) if claim and head else None)
        if claim and (kind is None or not same_family(claim, kind.modality)):
            raise UnreadableMedia(_contradiction(path.suffix, claim, head, kind))
        if kind and kind.modality in CONTAINER_MODALITIES and kind.format not in _ONE_THING:
            return _seen_or_heard(file, kind)
        return kind


def _contradiction(suffix: str, claim: Modality, head: bytes, kind: MediaKind | None) -> str:
    """Say how a file's content is not what its suffix claims."""
    if not head:
        return "the file is empty"
    if kind is not None:
        return f"named {suffix}, but it holds {MODALITY_NAMES[kind.modality]} ({kind.format}): rename it"
    if looks_like_text(head):
        return f"named {suffix}, but it holds text"
    return f"named {suffix}, but it holds no {MODALITY_NAMES[claim].removeprefix('a ')} that can be recognised"


def _by_opening(file: BinaryIO, path: Path, claim: Modality) -> MediaKind | None:
    """Recognise what has no certain beginning, as its name suggests."""
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


def _seen_or_heard(file: BinaryIO, kind: MediaKind) -> MediaKind:
    try:
        with open_container(file, kind.format, DEFAULT_LIMITS) as container:
            if main_video(container):
                return MediaKind(Modality.VIDEO, kind.format)
            if main_audio(container):
                return MediaKind(Modality.AUDIO, kind.format)
        raise UnreadableMedia("holds neither sound nor moving pictures that can be decoded")
    except UnreadableMedia:
        check_complete(file, kind.format)  # a missing end says more than its consequences
        raise
