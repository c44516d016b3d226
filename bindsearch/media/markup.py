"""What a reader sees of an HTML page."""

from __future__ import annotations

import re
from html.parser import HTMLParser

_HIDDEN = frozenset("script style template noscript svg math object iframe".split())
_PARAGRAPHS = frozenset(
    "p div section article header footer main aside nav h1 h2 h3 h4 h5 h6 ul ol dl table blockquote pre figure "
    "figcaption form fieldset hr title body details summary address".split()
)
_LINES = frozenset("br li dt dd tr option".split())
_SPACE = re.compile(r"[^\S\n]+")
_AROUND_BREAKS = re.compile(r" *\n *")
_MANY_BREAKS = re.compile(r"\n{3,}")


def visible_text(page: str) -> str:
    """Give the title and the text of a page, with blank lines between paragraphs."""
    reader = _Reader()
    reader.feed(page)
    reader.close()
    text = _SPACE.sub(" ", "".join(reader.parts))
    return _MANY_BREAKS.sub("\n\n", _AROUND_BREAKS.sub("\n", text)).strip()


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []
        self._hidden: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in _HIDDEN:
            self._hidden.append(tag)
        self._break(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._break(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag in self._hidden:
            while self._hidden.pop() != tag:
                pass
        self._break(tag)

    def handle_data(self, data: str) -> None:
        if not self._hidden:
            self.parts.append(data.replace("\r", "").replace("\n", " "))

    def parse_marked_section(self, i: int, report: int = 1) -> int:
        """Skip `<![...]>` of any kind: the parser knows some, and stops with an assertion at others."""
        return self.parse_bogus_comment(i)

    def _break(self, tag: str) -> None:
        if tag in _PARAGRAPHS:
            self.parts.append("\n\n")
        elif tag in _LINES:
            self.parts.append("\n")
        elif tag in ("td", "th"):
            self.parts.append(" ")
