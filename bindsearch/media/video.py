"""Decodes a video into one frame per slot of its duration, and its sound.

A slot is a stretch of `frame_every` seconds. A group of pictures (GOP) is what follows a key frame, up to the next one:
frames can be decoded only from the start of their group.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import TYPE_CHECKING

from PIL import Image

from bindsearch.errors import UnreadableMedia
from bindsearch.media.audio import AudioTrack
from bindsearch.media.container import LengthMonitor, main_audio, main_video, open_container, report_damage
from bindsearch.media.pixels import fit_shorter_side
from bindsearch.media.task import DecodeTask, MediaFacts
from bindsearch.media.truncation import check_complete
from bindsearch.types import Modality, Piece, Span

if TYPE_CHECKING:
    from av import VideoFrame, VideoStream
    from av.container import InputContainer

    from bindsearch.media.container import Packet

_QUARTER_TURNS = {90: Image.Transpose.ROTATE_90, 180: Image.Transpose.ROTATE_180, 270: Image.Transpose.ROTATE_270}
_UNSPECIFIED_COLORSPACE = 2
"""FFmpeg's number for a colour space that the file does not specify."""
_MIN_HD_LINES = 720
"""From this height, an unspecified colour space is taken to be BT.709."""


def decode_video(task: DecodeTask, facts: MediaFacts) -> Iterator[Piece]:
    """Decode a video: first its sound, in a pass over all packets, then its frames. Raises `UnreadableMedia`."""
    check_complete(task.file, task.kind.format)
    with open_container(task.file, task.kind.format, task.limits) as container:
        video = main_video(container) if Modality.VIDEO in task.wanted else None
        audio = main_audio(container) if Modality.AUDIO in task.wanted else None
        origin = (container.start_time or 0) / 1_000_000
        selection = FrameSelection(task.windowing.frame_every, origin)
        track = AudioTrack(audio, task.windowing, origin=origin) if audio else None
        monitor = LengthMonitor(container, task.kind.format)
        for packet in monitor.watch(container.demux()):
            if track and audio and packet.stream_index == audio.index:
                yield from track.feed(packet)
            elif video and packet.stream_index == video.index:
                selection.add(packet)
        if track:
            yield from track.finish()
        monitor.check()
    facts.duration = max(monitor.end, track.end if track else 0.0)
    facts.covered = 1.0 if video else _sound_share(track, facts.duration)
    if video:
        with open_container(task.file, task.kind.format, task.limits) as container:
            yield from _frames(container, selection, task, facts.duration)


def _sound_share(track: AudioTrack | None, duration: float) -> float:
    return min(1.0, track.decoded_seconds / duration) if track and duration else 0.0


SelectedFrames = dict[int, int]
"""The selected frames of one group of pictures: time -> slot."""


class FrameSelection:
    """Which frames to decode: in every slot the first key frame, or the first frame if it has no key frame."""

    def __init__(self, every: float, origin: float) -> None:
        self.every, self.origin = every, origin
        self._slots: dict[int, tuple[bool, int, int]] = {}
        """Slot -> whether its frame is no key frame, time of the frame, group of the frame."""
        self._group = -1

    def add(self, packet: Packet) -> None:
        """Consider a packet; packets come in the order of the file."""
        self._group += bool(packet.is_keyframe)
        time = timestamp(packet)
        if time is None or packet.time_base is None or self._group < 0 or packet.is_discard:
            return
        slot = max(0, int((float(time * packet.time_base) - self.origin) // self.every))
        candidate = (not packet.is_keyframe, time, self._group)
        self._slots[slot] = min(self._slots.get(slot, candidate), candidate)

    def groups(self) -> dict[int, SelectedFrames]:
        """Return the groups of pictures with selected frames, by their number in the file."""
        groups: dict[int, SelectedFrames] = {}
        for slot, (_, time, group) in self._slots.items():
            groups.setdefault(group, {})[time] = slot
        return groups


def timestamp(packet: Packet | VideoFrame) -> int | None:
    """Return the presentation time of a packet or frame; some containers have only the decoding time."""
    return packet.pts if packet.pts is not None else packet.dts


def _frames(container: InputContainer, selection: FrameSelection, task: DecodeTask, duration: float) -> Iterator[Piece]:
    """Yield the selected frames in order; one that is shown for several slots is one piece."""
    video = main_video(container)
    assert video is not None  # the selection was made from it
    ratio = video.sample_aspect_ratio
    shown: tuple[int, Image.Image] | None = None
    for slot, frame in _decode_selected(container, video, selection):
        if shown is not None and slot <= shown[0]:
            continue
        if shown is not None:
            yield _piece(shown, slot * selection.every, selection)
        shown = slot, to_image(frame, ratio, task.windowing.image_side)
    if shown is None:
        raise UnreadableMedia("holds no picture that can be decoded")
    yield _piece(shown, duration, selection)


def _piece(shown: tuple[int, Image.Image], end: float, selection: FrameSelection) -> Piece:
    slot, image = shown
    start = slot * selection.every
    return Piece(Modality.VIDEO, image, Span(start, max(start, end)))


def _decode_selected(
    container: InputContainer, video: VideoStream, selection: FrameSelection
) -> Iterator[tuple[int, VideoFrame]]:
    """Decode of each group of pictures only the packets up to its last selected frame, and skip other groups."""
    groups, number = selection.groups(), -1
    selected: SelectedFrames | None = None
    missing: set[int] = set()
    for packet in LengthMonitor(container, container.format.name).watch(container.demux(video)):
        if packet.is_keyframe:
            number += 1
            if selected is not None:
                yield from _drain(video, selected)
            selected = groups.get(number)
            missing = set(selected or ())
        if selected is None:
            continue
        with report_damage(f"damaged at {_seconds(packet, selection):.1f} s: its picture cannot be decoded"):
            frames = video.decode(packet) if packet.size else []
        yield from _only_selected(frames, selected)
        missing.discard(timestamp(packet) or 0)
        if not missing or not packet.size:
            yield from _drain(video, selected)
            selected = None


def _drain(video: VideoStream, selected: SelectedFrames) -> Iterator[tuple[int, VideoFrame]]:
    """Yield the selected frames that the decoder still holds, and reset it for another key frame."""
    with report_damage("damaged: its picture cannot be decoded"):
        frames = video.decode(None)
    yield from _only_selected(frames, selected)
    video.codec_context.flush_buffers()


def _only_selected(frames: list[VideoFrame], selected: SelectedFrames) -> Iterator[tuple[int, VideoFrame]]:
    for frame in frames:
        slot = selected.get(timestamp(frame) or 0)
        if slot is not None:
            yield slot, frame


def _seconds(packet: Packet, selection: FrameSelection) -> float:
    time = timestamp(packet)
    return 0.0 if time is None or packet.time_base is None else float(time * packet.time_base) - selection.origin


def to_image(frame: VideoFrame, ratio: Fraction | None, side: int) -> Image.Image:
    """Return a frame as an upright RGB image with square pixels and a shorter side of at most `side`.

    `ratio` is the aspect ratio of the frame's pixels.
    """
    from av.video.reformatter import Colorspace, Interpolation

    width, height = frame.width, frame.height
    if ratio and 0.1 < ratio < 10:
        width = round(width * float(ratio))
    width, height = fit_shorter_side((width, height), side)
    is_unspecified = frame.colorspace == _UNSPECIFIED_COLORSPACE
    image: Image.Image = frame.to_image(  # type: ignore[no-untyped-call]
        width=max(1, width),
        height=max(1, height),
        src_colorspace=Colorspace.ITU709 if is_unspecified and frame.height >= _MIN_HD_LINES else None,
        interpolation=Interpolation.BICUBIC,
    )
    turn = _QUARTER_TURNS.get(round(frame.rotation) % 360)
    return image if turn is None else image.transpose(turn)
