"""The media room: walks folders, tells what a file holds, and decodes it into pieces."""

from __future__ import annotations

from bindsearch.media.decoding import Decoding, decode
from bindsearch.media.formats import Kind, Limits
from bindsearch.media.identify import identify
from bindsearch.media.scan import Found, Trouble, walk

__all__ = ["Decoding", "Found", "Kind", "Limits", "Trouble", "decode", "identify", "walk"]
