"""Names of modalities as users type them."""

from __future__ import annotations

from bindsearch.errors import BadQuery
from bindsearch.types import Modality


def modality_named(name: str) -> Modality:
    """Return the modality with this name. Raises `BadQuery`."""
    try:
        return Modality(name)
    except ValueError as error:
        raise BadQuery(f"no modality is called {name!r}; there are {', '.join(Modality)}") from error
