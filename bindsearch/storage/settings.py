"""What the owner of a library wishes of its indexes and results: how much memory, how sure, in which order."""

from __future__ import annotations

import re
from dataclasses import dataclass

from bindsearch.errors import BadQuery

RECALL = 0.99
DEVICES = ("auto", "cpu", "cuda")
LEAST_MEMORY = 1_000_000
"""Bytes: whoever asks for less has forgotten the unit."""
_UNITS = {"": 1, "k": 1000, "m": 1000**2, "g": 1000**3, "t": 1000**4}
_UNITS |= {f"{letter}i": 1024**power for power, letter in enumerate("kmgt", 1)}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt]?i?)b?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Settings:
    """Kept in the library, and honoured whenever an index is chosen, built and certified.

    Raises `BadQuery` for what makes no sense.
    """

    memory: int | None = None
    """Bytes that all indexes together should need in memory to be fast; None for whatever it takes."""
    recall: float = RECALL
    """The share of the ten best that a search should find; at 1 all of them, always."""
    device: str = "auto"
    """`cpu`, `cuda`, or `auto`."""
    centring: bool = True
    """Whether what all queries have in common counts less in a search."""
    hubness: bool = False
    """Whether those segments count less that answer whatever is asked."""

    def __post_init__(self) -> None:
        if self.memory is not None and self.memory < LEAST_MEMORY:
            raise BadQuery(f"{self.memory} bytes of memory hold no index: say at least 1MB, as in --memory 2GB")
        if not 0.5 <= self.recall <= 1:
            raise BadQuery(f"a recall of {self.recall:g} cannot be had: say from 0.5 to 1, as in --recall 0.99")
        if self.device not in DEVICES:
            raise BadQuery(f"there is no device {self.device!r}: say one of {', '.join(DEVICES)}")


def bytes_in(words: str) -> int | None:
    """Read a size of memory; None for `auto`. Raises `BadQuery`.

    >>> bytes_in("2GB"), bytes_in("1.5 GiB"), bytes_in("auto")
    (2000000000, 1610612736, None)
    """
    if words.strip().lower() == "auto":
        return None
    found = _SIZE.fullmatch(words.strip())
    if found is None or found[2].lower() not in _UNITS:
        raise BadQuery(f"{words!r} is no size of memory: say it as in 500MB, 2GB or 1.5GiB, or auto for no limit")
    return round(float(found[1]) * _UNITS[found[2].lower()])
