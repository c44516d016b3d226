"""Extracts the visible text of an HTML page.

`html.parser` is not used: it takes minutes for a page of unfinished tags.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import unescape

_HIDDEN_TAGS = frozenset("script style template noscript svg math object iframe".split())
_PARAGRAPH_TAGS = frozenset(
    "p div section article header footer main aside nav h1 h2 h3 h4 h5 h6 ul ol dl table blockquote pre figure "
    "figcaption form fieldset hr title body details summary address".split()
)
_LINE_TAGS = frozenset("br li dt dd tr option".split())
_CELL_TAGS = frozenset("td th".split())
_MARKUP = re.compile(r"<(?:(/?)([a-zA-Z][a-zA-Z0-9:-]*)|[!?/])")
_REST_OF_TAG = re.compile(r"""(?:[^>"']++|"[^"]*+"|'[^']*+')*+>""")
_MAX_TAG_CHARACTERS = 4096
"""Within this length, a `>` in quotes does not end a tag; in a longer tag, any `>` ends it."""
_SPACE = re.compile(r"\s+")
_AROUND_BREAKS = re.compile(r" ?\n ?")
_MANY_BREAKS = re.compile(r"\n{3,}")


def visible_text(page: str) -> str:
    """Return the title and the text of a page, with blank lines between paragraphs."""
    text = _AROUND_BREAKS.sub("\n", re.sub(" {2,}", " ", "".join(_parts(page))))
    return _MANY_BREAKS.sub("\n\n", text).strip()


def _parts(page: str) -> Iterator[str]:
    """Yield the text, with white space collapsed, and the line breaks that tags cause."""
    place = 0
    while found := _MARKUP.search(page, place):
        yield _collapsed(page[place : found.start()])
        closing, tag = found[1], (found[2] or "").lower()
        place = _end(page, found)
        if tag in _HIDDEN_TAGS and not closing and page[place - 2 : place] != "/>":
            end = re.compile(f"</{tag}", re.I).search(page, place)
            place = end.start() if end else len(page)
        yield "\n\n" if tag in _PARAGRAPH_TAGS else "\n" if tag in _LINE_TAGS else " " if tag in _CELL_TAGS else ""
    yield _collapsed(page[place:])


def _end(page: str, found: re.Match[str]) -> int:
    """Return where a tag or comment ends; an unfinished one ends with the page."""
    if page.startswith("<!--", found.start()):
        end = page.find("-->", found.start() + 4)
        return end + 3 if end >= 0 else len(page)
    rest = _REST_OF_TAG.match(page, found.end(), found.end() + _MAX_TAG_CHARACTERS) if found[2] else None
    if rest:
        return rest.end()
    return page.find(">", found.end()) + 1 or len(page)


def _collapsed(text: str) -> str:
    return _SPACE.sub(" ", unescape(text))
