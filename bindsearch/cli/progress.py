"""How far a long run has come: a bar on a terminal, now and then a line elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Self, TextIO

from bindsearch.cli.screen import Screen, cut, shown
from bindsearch.cli.wording import clock, counted

if TYPE_CHECKING:
    from bindsearch.core.progress import Progress

REDRAW = 0.1
LINE_EVERY = 10.0
BAR = 24
NAME_FROM = 16
"""Columns below which the name of the current file is left out."""


class Bar:
    """Shows progress on a stream; wiped when done."""

    def __init__(self, stream: TextIO, *, quiet: bool = False, now: Callable[[], float] = time.monotonic) -> None:
        self._screen = Screen.of(stream)
        self._quiet = quiet
        self._now = now
        self._began = now()
        self._next = self._began + (REDRAW if self._screen.terminal else LINE_EVERY)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._screen.terminal and not self._quiet:
            self._put("\r\x1b[K")

    def show(self, progress: Progress) -> None:
        """Take notice; draw if it is time to."""
        now = self._now()
        if self._quiet or now < self._next:
            return
        if self._screen.terminal:
            self._next = now + REDRAW
            self._put(f"\r\x1b[K{self._line(progress, now - self._began)}")
        else:
            self._next = now + LINE_EVERY
            self._put(f"{', '.join(_facts(progress, now - self._began))}\n")

    def _line(self, progress: Progress, elapsed: float) -> str:
        """Draw one line that fits: the bar, the facts, and as much of the file's name as there is room for."""
        room = self._screen.width - 1
        line = cut("  ".join([*_bar(progress), *_facts(progress, elapsed)]), room)
        rest = room - len(line) - 2
        if progress.path is None or rest < NAME_FROM:
            return line
        return f"{line}  {self._screen.styled(cut(shown(progress.path), rest, middle=True), 'dim')}"

    def _put(self, words: str) -> None:
        self._screen.stream.write(words)
        self._screen.stream.flush()


def _bar(progress: Progress) -> list[str]:
    told = progress.building or progress
    if not told.total:
        return []
    halves = 2 * BAR * min(told.done, told.total) // told.total
    full = "━" * (halves // 2) + "╸" * (halves % 2)
    return [f"{full:·<{BAR}} {100 * told.done // told.total:3d}%"]


def _facts(progress: Progress, elapsed: float) -> list[str]:
    if (building := progress.building) is not None:
        stage = f"{building.stage} the index of {building.modality} ({building.kind})"
        return [stage, counted(building.total, "segment")] if building.total else [stage]
    rate = progress.done / elapsed if elapsed > 0 else 0.0
    speed = f"{rate:,.0f} files/s" if rate >= 9.5 else f"{rate:.1f} files/s"
    if progress.total is None:
        return [f"{counted(progress.done, 'file')}, still looking", speed]
    left = [f"{clock((progress.total - progress.done) / rate)} left"] if rate else []
    return [f"{progress.done:,}/{progress.total:,} files", speed, *left]
