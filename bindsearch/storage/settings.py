"""The settings of a library: memory, target recall and device of its indexes, and how results are ranked."""

from __future__ import annotations

import re
from dataclasses import dataclass

from bindsearch.errors import BadQuery

DEFAULT_RECALL = 0.99
DEVICES = ("auto", "cpu", "cuda")
MIN_MEMORY_BYTES = 1_000_000
"""A smaller value is most likely a number without its unit."""
_UNITS = {"": 1, "k": 1000, "m": 1000**2, "g": 1000**3, "t": 1000**4}
_UNITS |= {f"{letter}i": 1024**power for power, letter in enumerate("kmgt", 1)}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt]?i?)b?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Settings:
    """Stored in the manifest, and used whenever an index is chosen, built or measured.

    Raises `BadQuery` for values out of range.
    """

    memory: int | None = None
    """The memory budget of all indexes together, in bytes; None for no limit."""
    recall: float = DEFAULT_RECALL
    """The share of the ten nearest neighbours that a search should find; at 1 every index is exact."""
    device: str = "auto"
    """`cpu`, `cuda`, or `auto`."""
    centring: bool = True
    """Whether what all queries of a kind have in common is subtracted from a query."""
    hubness: bool = False
    """Whether segments that are near to every query are ranked lower."""

    def __post_init__(self) -> None:
        if self.memory is not None and self.memory < MIN_MEMORY_BYTES:
            raise BadQuery(f"memory must be at least 1MB, not {self.memory} bytes: write it as in --memory 2GB")
        if not 0.5 <= self.recall <= 1:
            raise BadQuery(f"recall must be from 0.5 to 1, not {self.recall:g}: write it as in --recall 0.99")
        if self.device not in DEVICES:
            raise BadQuery(f"there is no device {self.device!r}: use one of {', '.join(DEVICES)}")


def bytes_in(words: str) -> int | None:
    """Return the bytes of a memory size as users write it; None for `auto`. Raises `BadQuery`.

    >>> bytes_in("2GB"), bytes_in("1.5 GiB"), bytes_in("auto")
    (2000000000, 1610612736, None)
    """
    if words.strip().lower() == "auto":
        return None
    found = _SIZE.fullmatch(words.strip())
    if found is None or found[2].lower() not in _UNITS:
        raise BadQuery(f"{words!r} is not a memory size: write it as in 500MB, 2GB or 1.5GiB, or auto for no limit")
    return round(float(found[1]) * _UNITS[found[2].lower()])
