"""Parses subtitles, and joins their cues into passages with times."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

_CLOCK = r"(?:(\d{1,4}):)?(\d{1,2}):(\d{1,2})(?:[.,](\d{1,3}))?"
_TIMES = re.compile(rf"[ \t]*{_CLOCK}[ \t]*-->[ \t]*{_CLOCK}")
_TAG = re.compile(r"<[^<>\n]{0,200}>|\{\\[^{}\n]{0,200}\}")


@dataclass(frozen=True, slots=True)
class Cue:
    """A line of text that is shown from one second to another."""

    start: float
    end: float
    text: str


def parse_cues(text: str) -> Iterator[Cue]:
    """Parse the cues of an SRT or WebVTT file, and ignore everything else."""
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
    shown = " ".join(_TAG.sub("", " ".join(lines)).split())
    start, end = _seconds(times.groups()[:4]), _seconds(times.groups()[4:])
    if shown:
        yield Cue(start, max(start, end), shown)


def _seconds(clock: tuple[str | None, ...]) -> float:
    hours, minutes, seconds, fraction = (part or "0" for part in clock)
    return int(hours) * 3600 + int(minutes) * 60 + int(seconds) + float(f"0.{fraction}")


def join_cues(parts: Iterable[Cue], limit: int) -> Iterator[Cue]:
    """Join consecutive cues into passages of at most `limit` characters."""
    passage: Cue | None = None
    for cue in (piece for part in parts for piece in _split(part, limit)):
        if passage and len(passage.text) + 1 + len(cue.text) <= limit:
            passage = Cue(passage.start, max(passage.end, cue.end), f"{passage.text} {cue.text}")
            continue
        if passage:
            yield passage
        passage = cue
    if passage:
        yield passage


def _split(cue: Cue, limit: int) -> Iterator[Cue]:
    """Split a cue that is longer than `limit`; its parts keep its times."""
    rest = cue.text
    while len(rest) > limit:
        place = rest.rfind(" ", 1, limit + 1)
        place = place if place > 0 else limit
        yield Cue(cue.start, cue.end, rest[:place].strip())
        rest = rest[place:].strip()
    if rest:
        yield Cue(cue.start, cue.end, rest)
