"""What the candidate generators that are built with faiss share: import, mapped files, filters."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from bindsearch.errors import IndexUnavailable
from bindsearch.types import Mask


def import_faiss(kind: str) -> Any:
    """Return the module faiss. Raises `IndexUnavailable` if it is not installed."""
    try:
        import faiss
    except ModuleNotFoundError as error:
        raise IndexUnavailable(f"the index {kind} needs faiss: pip install 'bindsearch[faiss]'") from error
    return faiss


def write_index(index: Any, file: Path) -> None:
    """Write a faiss index."""
    import faiss

    faiss.write_index(index, str(file))


def map_index(faiss: Any, file: Path) -> Any:
    """Open a faiss index by mapping its file. Raises `ValueError` for a file that this faiss cannot read."""
    try:
        # Adding to an index that is mapped like this would end the process. A generator is never added to once built.
        return faiss.read_index(str(file), faiss.IO_FLAG_MMAP_IFC)
    except RuntimeError as error:
        raise ValueError(f"{file}: not an index that this faiss can read") from error


def row_filter(faiss: Any, mask: Mask) -> Any:
    """Return the selector that restricts a faiss search to the rows of a mask."""
    return faiss.IDSelectorBitmap(np.packbits(mask, bitorder="little"))
