"""Video: one frame from every slot of its length, and its sound."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import TYPE_CHECKING

from PIL import Image

from bindsearch.errors import UnreadableMedia
from bindsearch.media.audio import AudioTrack
from bindsearch.media.container import LengthMonitor, damage, main_audio, main_video, open_container
from bindsearch.media.pixels import shorter_side_at
from bindsearch.media.task import DecodeTask, MediaFacts
from bindsearch.media.truncation import check_complete
from bindsearch.types import Modality, Piece, Span

if TYPE_CHECKING:
    from av import VideoFrame, VideoStream
    from av.container import InputContainer

    from bindsearch.media.container import Packet

_QUARTER_TURNS = {90: Image.Transpose.ROTATE_90, 180: Image.Transpose.ROTATE_180, 270: Image.Transpose.ROTATE_270}
_UNSAID = 2
"""FFmpeg's number for a coding of colours that the file does not name."""
_HD_LINES = 720
"""From here up, colours that do not say how they are coded are coded as BT.709."""


def moments(task: DecodeTask, told: MediaFacts) -> Iterator[Piece]:
    """Decode a video: first a walk over all packets that gives its sound, then its frames. Raises `UnreadableMedia`."""
    check_complete(task.file, task.kind.format)
    with open_container(task.file, task.kind.format, task.limits) as container:
        video = main_video(container) if Modality.VIDEO in task.wanted else None
        audio = main_audio(container) if Modality.AUDIO in task.wanted else None
        origin = (container.start_time or 0) / 1_000_000
        plan = FrameSelection(task.windowing.frame_every, origin)
        track = AudioTrack(audio, task.windowing, origin=origin) if audio else None
        reach = LengthMonitor(container, task.kind.format)
        for packet in reach.watch(container.demux()):
            if track and audio and packet.stream_index == audio.index:
                yield from track.feed(packet)
            elif video and packet.stream_index == video.index:
                plan.note(packet)
        if track:
            yield from track.finish()
        reach.check()
    told.duration = max(reach.end, track.end if track else 0.0)
    told.covered = 1.0 if video else min(1.0, track.heard / told.duration) if track and told.duration else 0.0
    if video:
        with open_container(task.file, task.kind.format, task.limits) as container:
            yield from _frames(container, plan, task, told.duration)


WantedFrames = dict[int, int]
"""Of the packets from one key frame to the next, the frames that are wanted: time -> slot."""


class FrameSelection:
    """Which frames to decode: of every slot the first key frame, or the first frame where there is no key frame."""

    def __init__(self, every: float, origin: float) -> None:
        self.every, self.origin = every, origin
        self._slots: dict[int, tuple[bool, int, int]] = {}
        """Slot -> whether it has no key frame, time of its frame, group of that frame."""
        self._group = -1

    def note(self, packet: Packet) -> None:
        """Take a packet into account, in the order of the file."""
        self._group += bool(packet.is_keyframe)
        when = timestamp(packet)
        if when is None or packet.time_base is None or self._group < 0 or packet.is_discard:
            return
        slot = max(0, int((float(when * packet.time_base) - self.origin) // self.every))
        candidate = (not packet.is_keyframe, when, self._group)
        self._slots[slot] = min(self._slots.get(slot, candidate), candidate)

    def groups(self) -> dict[int, WantedFrames]:
        """Return the groups in which there is something to decode, by their number in the file."""
        groups: dict[int, WantedFrames] = {}
        for slot, (_, when, group) in self._slots.items():
            groups.setdefault(group, {})[when] = slot
        return groups


def timestamp(thing: Packet | VideoFrame) -> int | None:
    """Return when a packet or frame is shown; some containers know only when it is decoded."""
    return thing.pts if thing.pts is not None else thing.dts


def _frames(container: InputContainer, plan: FrameSelection, task: DecodeTask, duration: float) -> Iterator[Piece]:
    """Return the planned frames in order; one that stays on for several slots is one piece."""
    video = main_video(container)
    assert video is not None  # the plan was made from it
    ratio = video.sample_aspect_ratio
    shown: tuple[int, Image.Image] | None = None
    for slot, frame in _decoded(container, video, plan):
        if shown is not None and slot <= shown[0]:
            continue
        if shown is not None:
            yield _piece(shown, slot * plan.every, plan)
        shown = slot, still(frame, ratio, task.windowing.image_side)
    if shown is None:
        raise UnreadableMedia("holds no picture that can be decoded")
    yield _piece(shown, duration, plan)


def _piece(shown: tuple[int, Image.Image], end: float, plan: FrameSelection) -> Piece:
    slot, picture = shown
    start = slot * plan.every
    return Piece(Modality.VIDEO, picture, Span(start, max(start, end)))


def _decoded(container: InputContainer, video: VideoStream, plan: FrameSelection) -> Iterator[tuple[int, VideoFrame]]:
    """Feed the decoder only what the planned frames need: whole groups where they lie inside, else key frames."""
    groups, number = plan.groups(), -1
    feeding: WantedFrames | None = None
    missing: set[int] = set()
    for packet in LengthMonitor(container, container.format.name).watch(container.demux(video)):
        if packet.is_keyframe:
            number += 1
            if feeding is not None:
                yield from _drain(video, feeding)
            feeding = groups.get(number)
            missing = set(feeding or ())
        if feeding is None:
            continue
        with damage(f"damaged at {_seconds(packet, plan):.1f} s: its picture cannot be decoded"):
            frames = video.decode(packet) if packet.size else []
        yield from _wanted(frames, feeding)
        missing.discard(timestamp(packet) or 0)
        if not missing or not packet.size:
            yield from _drain(video, feeding)
            feeding = None


def _drain(video: VideoStream, group: WantedFrames) -> Iterator[tuple[int, VideoFrame]]:
    """Get the frames that the decoder still holds, and make it ready for another key frame."""
    with damage("damaged: its picture cannot be decoded"):
        frames = video.decode(None)
    yield from _wanted(frames, group)
    video.codec_context.flush_buffers()


def _wanted(frames: list[VideoFrame], group: WantedFrames) -> Iterator[tuple[int, VideoFrame]]:
    for frame in frames:
        slot = group.get(timestamp(frame) or 0)
        if slot is not None:
            yield slot, frame


def _seconds(packet: Packet, plan: FrameSelection) -> float:
    when = timestamp(packet)
    return 0.0 if when is None or packet.time_base is None else float(when * packet.time_base) - plan.origin


def still(frame: VideoFrame, ratio: Fraction | None, side: int) -> Image.Image:
    """Return a frame as an upright RGB picture with square pixels, its shorter side at most `side`."""
    from av.video.reformatter import Colorspace, Interpolation

    width, height = frame.width, frame.height
    if ratio and 0.1 < ratio < 10:
        width = round(width * float(ratio))
    width, height = shorter_side_at((width, height), side)
    unsaid = frame.colorspace == _UNSAID
    picture: Image.Image = frame.to_image(  # type: ignore[no-untyped-call]
        width=max(1, width),
        height=max(1, height),
        src_colorspace=Colorspace.ITU709 if unsaid and frame.height >= _HD_LINES else None,
        interpolation=Interpolation.BICUBIC,
    )
    turn = _QUARTER_TURNS.get(round(frame.rotation) % 360)
    return picture if turn is None else picture.transpose(turn)
