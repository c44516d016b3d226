"""Subtitles: cues with times, joined into passages."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

_CLOCK = r"(?:(\d{1,4}):)?(\d{1,2}):(\d{1,2})(?:[.,](\d{1,3}))?"
_TIMES = re.compile(rf"[ \t]*{_CLOCK}[ \t]*-->[ \t]*{_CLOCK}")
_TAG = re.compile(r"<[^<>\n]{0,200}>|\{\\[^{}\n]{0,200}\}")


@dataclass(frozen=True, slots=True)
class Cue:
    """What is said from one second to another."""

    start: float
    end: float
    text: str


def parse_cues(text: str) -> Iterator[Cue]:
    """Parse the cues of an SRT or WebVTT file; what is not one is left out."""
    times: re.Match[str] | None = None
    lines: list[str] = []
    for line in [*text.splitlines(), ""]:
        found = _TIMES.match(line)
        if (found or not line.strip()) and times:
            if found and lines and lines[-1].strip().isdigit():
                lines.pop()  # the number of the next cue, with no blank line before it
            yield from _cue(times, lines)
            times, lines = None, []
        if found:
            times = found
        elif times:
            lines.append(line)


def _cue(times: re.Match[str], lines: list[str]) -> Iterator[Cue]:
    said = " ".join(_TAG.sub("", " ".join(lines)).split())
    start, end = _seconds(times.groups()[:4]), _seconds(times.groups()[4:])
    if said:
        yield Cue(start, max(start, end), said)


def _seconds(clock: tuple[str | None, ...]) -> float:
    hours, minutes, seconds, fraction = (part or "0" for part in clock)
    return int(hours) * 3600 + int(minutes) * 60 + int(seconds) + float(f"0.{fraction}")


def join_cues(parts: Iterable[Cue], limit: int) -> Iterator[Cue]:
    """Join cues that follow one another into passages of at most `limit` characters."""
    held: Cue | None = None
    for cue in (piece for part in parts for piece in _split(part, limit)):
        if held and len(held.text) + 1 + len(cue.text) <= limit:
            held = Cue(held.start, max(held.end, cue.end), f"{held.text} {cue.text}")
            continue
        if held:
            yield held
        held = cue
    if held:
        yield held


def _split(cue: Cue, limit: int) -> Iterator[Cue]:
    """Split a cue that is longer than a passage; its parts keep its times."""
    rest = cue.text
    while len(rest) > limit:
        place = rest.rfind(" ", 1, limit + 1)
        place = place if place > 0 else limit
        yield Cue(cue.start, cue.end, rest[:place].strip())
        rest = rest[place:].strip()
    if rest:
        yield Cue(cue.start, cue.end, rest)
