"""A pair of fingerprints of the same content."""

from __future__ import annotations

from typing import NamedTuple


class CopyMatch(NamedTuple):
    """One of ours is a copy of one of theirs."""

    ours: int
    theirs: int
    agreement: float
    """How similar they are; 1 at most."""
