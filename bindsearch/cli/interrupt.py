"""Ctrl-C and SIGTERM: the first requests a clean stop, the second ends the process at once."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from types import FrameType, TracebackType
from typing import Any, Self

from bindsearch.cli.faults import BY_SIGNAL

SIGNALS = (signal.SIGINT, signal.SIGTERM)
MESSAGE = b"\nbindsearch: stopping after this batch; press Ctrl-C again to stop at once\n"


class Interrupt:
    """A context in which a first signal is only recorded."""

    def __init__(self) -> None:
        self.signal = 0
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        self._before = {number: signal.signal(number, self._on_signal) for number in SIGNALS}
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def requested(self) -> bool:
        """Whether a signal has arrived."""
        return self.signal != 0

    @property
    def status(self) -> int:
        """The exit status for the signal."""
        return BY_SIGNAL + self.signal

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self.signal:
            os._exit(BY_SIGNAL + number)  # safe at any moment: what is not committed does not exist
        self.signal = number
        with suppress(OSError):
            os.write(2, MESSAGE)  # unbuffered: the signal may interrupt a buffered write
