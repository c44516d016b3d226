"""Format numbers for people."""

from __future__ import annotations

import math

BILLION = 1_000_000_000


def chance(expect: float) -> str:
    """Format an E-value: `1 in 4,000` searches, or `3 per search`.

    >>> chance(0.00026), chance(0.4), chance(2.6), chance(3.2e-8), chance(0)
    ('1 in 3,800', '1 in 2', '3 per search', '1 in 31 million', 'never')
    """
    if expect == 0:  # a queried file finds itself
        return "never"
    if expect * BILLION < 1:
        return "1 in a billion"
    if expect >= 2 / 3:
        return f"{expect:,.0f} per search"
    searches = two_digits(1 / expect)
    return f"1 in {searches / 1_000_000:,.0f} million" if searches >= 1_000_000 else f"1 in {searches:,}"


def two_digits(number: float) -> int:
    """Round to two significant digits: an estimate has no more."""
    scale: int = 10 ** max(0, math.floor(math.log10(number)) - 1)
    return round(number / scale) * scale


def clock(seconds: float, *, tenths: bool = False) -> str:
    """Format a time within a recording.

    >>> clock(25), clock(3723.5), clock(3723.5, tenths=True)
    ('0:25', '1:02:04', '1:02:03.5')
    """
    units = round(seconds * 10) if tenths else round(seconds) * 10
    minutes, rest = divmod(units, 600)
    hours, minutes = divmod(minutes, 60)
    last = f"{rest // 10:02d}" + (f".{rest % 10}" if tenths else "")
    return f"{hours}:{minutes:02d}:{last}" if hours else f"{minutes}:{last}"


def moment(start: float | None, end: float | None) -> str:
    """Format a time range: `0:25–0:27`."""
    if start is None or end is None:
        return ""
    tenths = any(abs(time - round(time)) >= 0.05 for time in (start, end))
    return f"{clock(start, tenths=tenths)}–{clock(end, tenths=tenths)}"


def span(seconds: float) -> str:
    """Format a duration: `0.4 s`, `12 s`, `3 min`, `2.5 hours`."""
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 9.95 else f"{seconds:.0f} s"
    if seconds < 5_400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:,.1f} hours"


def size(count: float) -> str:
    """Format a size in bytes."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 999.5:
            return f"{count:.0f} {unit}" if unit == "bytes" or count >= 99.5 else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:,.1f} TB"


def counted(number: int, one: str, many: str = "") -> str:
    """Format a count with its noun: `1 file`, `2,000 files`."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def share(fraction: float) -> str:
    """Format a share; only 1 becomes 100 %."""
    return "100 %" if fraction >= 1 else f"{min(fraction * 100, 99.9):.1f} %"


def percent(fraction: float) -> str:
    """Format a share as whole percent, four columns wide: ` 87%`."""
    return f"{fraction:4.0%}"


def reason(path: str, message: str) -> str:
    """Return an error message without the path at its start."""
    return message.removeprefix(f"{path}: ")
