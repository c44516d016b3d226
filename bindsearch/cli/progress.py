"""Progress of a long run: a bar on a terminal, a line every ten seconds elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Self, TextIO

from bindsearch.cli.screen import Screen, cut, shown
from bindsearch.cli.wording import clock, counted

if TYPE_CHECKING:
    from bindsearch.core.progress import Progress

REDRAW_SECONDS = 0.1
LINE_SECONDS = 10.0
BAR_COLUMNS = 24
MIN_NAME_COLUMNS = 16
"""With less room, the name of the current file is not shown."""


class Bar:
    """Shows progress on a stream, and clears it at the end."""

    def __init__(self, stream: TextIO, *, quiet: bool = False, now: Callable[[], float] = time.monotonic) -> None:
        self._screen = Screen.of(stream)
        self._quiet = quiet
        self._now = now
        self._began = now()
        self._next = self._began + (REDRAW_SECONDS if self._screen.terminal else LINE_SECONDS)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._screen.terminal and not self._quiet:
            self._put("\r\x1b[K")

    def show(self, progress: Progress) -> None:
        """Write the progress, if the last write is long enough ago."""
        now = self._now()
        if self._quiet or now < self._next:
            return
        if self._screen.terminal:
            self._next = now + REDRAW_SECONDS
            self._put(f"\r\x1b[K{self._line(progress, now - self._began)}")
        else:
            self._next = now + LINE_SECONDS
            self._put(f"{', '.join(_facts(progress, now - self._began))}\n")

    def _line(self, progress: Progress, elapsed: float) -> str:
        """Return a line that fits the terminal: the bar, the facts, and as much of the path as there is room for."""
        room = self._screen.width - 1
        line = cut("  ".join([*_bar(progress), *_facts(progress, elapsed)]), room)
        rest = room - len(line) - 2
        if progress.path is None or rest < MIN_NAME_COLUMNS:
            return line
        return f"{line}  {self._screen.styled(cut(shown(progress.path), rest, middle=True), 'dim')}"

    def _put(self, words: str) -> None:
        self._screen.stream.write(words)
        self._screen.stream.flush()


def _bar(progress: Progress) -> list[str]:
    current = progress.building or progress
    if not current.total:
        return []
    halves = 2 * BAR_COLUMNS * min(current.done, current.total) // current.total
    full = "━" * (halves // 2) + "╸" * (halves % 2)
    return [f"{full:·<{BAR_COLUMNS}} {100 * current.done // current.total:3d}%"]


def _facts(progress: Progress, elapsed: float) -> list[str]:
    if (building := progress.building) is not None:
        stage = f"{building.stage} the {building.modality} index ({building.kind})"
        return [stage, counted(building.total, "segment")] if building.total else [stage]
    rate = progress.done / elapsed if elapsed > 0 else 0.0
    speed = f"{rate:,.0f} files/s" if rate >= 9.5 else f"{rate:.1f} files/s"
    if progress.total is None:
        return [f"{counted(progress.done, 'file')}, still scanning", speed]
    left = [f"{clock((progress.total - progress.done) / rate)} left"] if rate else []
    return [f"{progress.done:,}/{progress.total:,} files", speed, *left]
