"""What a reader sees of an HTML page.

A scanner of its own and not `html.parser`: that one takes minutes over a page of unfinished tags.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import unescape

_HIDDEN = frozenset("script style template noscript svg math object iframe".split())
_PARAGRAPHS = frozenset(
    "p div section article header footer main aside nav h1 h2 h3 h4 h5 h6 ul ol dl table blockquote pre figure "
    "figcaption form fieldset hr title body details summary address".split()
)
_LINES = frozenset("br li dt dd tr option".split())
_CELLS = frozenset("td th".split())
_MARKUP = re.compile(r"<(?:(/?)([a-zA-Z][a-zA-Z0-9:-]*)|[!?/])")
_REST_OF_TAG = re.compile(r"""(?:[^>"']++|"[^"]*+"|'[^']*+')*+>""")
_LONGEST_TAG = 4096
"""Characters in which the end of a tag is looked for with regard to quotes; then any `>` ends it."""
_SPACE = re.compile(r"\s+")
_AROUND_BREAKS = re.compile(r" ?\n ?")
_MANY_BREAKS = re.compile(r"\n{3,}")


def visible_text(page: str) -> str:
    """Return the title and the text of a page, with blank lines between paragraphs."""
    text = _AROUND_BREAKS.sub("\n", re.sub(" {2,}", " ", "".join(_parts(page))))
    return _MANY_BREAKS.sub("\n\n", text).strip()


def _parts(page: str) -> Iterator[str]:
    """Return text, its space folded, and the breaks that tags make."""
    place = 0
    while found := _MARKUP.search(page, place):
        yield _folded(page[place : found.start()])
        closing, tag = found[1], (found[2] or "").lower()
        place = _end(page, found)
        if tag in _HIDDEN and not closing and page[place - 2 : place] != "/>":
            shut = re.compile(f"</{tag}", re.I).search(page, place)
            place = shut.start() if shut else len(page)
        yield "\n\n" if tag in _PARAGRAPHS else "\n" if tag in _LINES else " " if tag in _CELLS else ""
    yield _folded(page[place:])


def _end(page: str, found: re.Match[str]) -> int:
    """Return where a tag or comment ends: with the page, if it is not finished."""
    if page.startswith("<!--", found.start()):
        shut = page.find("-->", found.start() + 4)
        return shut + 3 if shut >= 0 else len(page)
    rest = _REST_OF_TAG.match(page, found.end(), found.end() + _LONGEST_TAG) if found[2] else None
    if rest:
        return rest.end()
    return page.find(">", found.end()) + 1 or len(page)


def _folded(text: str) -> str:
    return _SPACE.sub(" ", unescape(text))
