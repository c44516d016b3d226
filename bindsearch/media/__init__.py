"""Media: walks folders, identifies what a file holds, and decodes it into pieces."""

from __future__ import annotations

from bindsearch.media.decoding import Decoding, decode
from bindsearch.media.formats import Limits, MediaKind
from bindsearch.media.identify import identify
from bindsearch.media.scan import ScanError, ScannedFile, walk

__all__ = ["Decoding", "Limits", "MediaKind", "ScanError", "ScannedFile", "decode", "identify", "walk"]
