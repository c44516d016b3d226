"""Index a long recording with one short event; check that the event is found at its time, and the memory used.

    python tests/stress/stress_long.py [--hours 2] [--limit-mb 400]

Exit status 1 if the event is not the best moment, or memory grew by more than the limit.
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

import bindsearch

RATE = 16_000
EVENT_SECONDS = 2
EVENT_POSITION = 0.618
"""Where in the recording the event is, as a share of its length."""


def make_recording(path: Path, *, seconds: int, event_at: float) -> None:
    """Write soft noise with a whistle of two seconds at `event_at`, one minute at a time."""
    import wave

    rng = np.random.default_rng(0)
    times = np.arange(RATE * EVENT_SECONDS) / RATE
    whistle = 0.5 * np.sin(2 * np.pi * 3500 * times)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        for start in range(0, seconds, 60):
            block = rng.normal(0, 0.02, RATE * min(60, seconds - start))
            first = int((event_at - start) * RATE)
            for position in range(max(first, 0), min(first + len(whistle), len(block))):
                block[position] += whistle[position - first]
            file.writeframes((np.clip(block, -1, 1) * 32767).astype("<i2").tobytes())


def peak_mb() -> float:
    """Return the peak resident memory of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def memory_after_warm_up(folder: Path) -> float:
    """Index and search a tiny recording, so that all modules are loaded; return the peak memory in megabytes."""
    make_recording(folder / "tiny.wav", seconds=4, event_at=1)
    with bindsearch.open(folder / "tiny.library") as library:
        library.index(folder / "tiny.wav")
        library.search("high whistle")
    return peak_mb()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hours", type=float, default=2.0)
    parser.add_argument("--limit-mb", type=float, default=400.0)
    options = parser.parse_args()
    seconds = int(options.hours * 3600)
    event_at = round(seconds * EVENT_POSITION) + 0.5
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_recording(folder / "long.wav", seconds=seconds, event_at=event_at)
        idle = memory_after_warm_up(folder)
        with bindsearch.open(folder / "my.library") as library:
            began = time.monotonic()
            report = library.index(folder / "long.wav")
            took = time.monotonic() - began
            hit = library.search("a high whistle", modality="audio", k=1)[0]
    assert hit.start is not None
    assert hit.end is not None
    found = hit.start < event_at + EVENT_SECONDS and hit.end > event_at
    speed = f"{seconds / took:,.0f}x real time"
    print(f"{options.hours:g} h: {report.segments} segments, coverage {report.coverage:.1%}, {speed}")
    print(f"event at {event_at:.1f} s; best moment {hit.start:.1f}-{hit.end:.1f} s: {'found' if found else 'MISSED'}")
    growth = peak_mb() - idle
    print(f"memory: {idle:.0f} MB idle, {growth:.0f} MB more (limit {options.limit_mb:.0f} MB)")
    return 0 if found and growth < options.limit_mb else 1


if __name__ == "__main__":
    sys.exit(main())
