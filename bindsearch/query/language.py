"""The query language: parses words, as people type them, into a `Query`.

    waves + gulls.wav - crowd.jpg          texts and files, added and subtracted
    "2:golden retriever" - 0.5:./pool.jpg  weights
    clip.mp4#t=12,14                       a part of a file, in seconds, mm:ss or h:mm:ss (a W3C media fragment)
    text:crowd.jpg, file:waves             a prefix decides where a word could be a text or a file
    concept:harbour                        the concept saved under this name, even if a file has the same name

A word that names an existing file is that file. A word that only looks like a file is refused, not searched as text.
"""

from __future__ import annotations

import math
import os
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from decimal import Decimal
from itertools import islice, takewhile
from pathlib import Path
from typing import Any, Literal, Self
from unicodedata import combining, east_asian_width

from bindsearch.core.suggest import closest
from bindsearch.errors import BadQuery, EmptyQuery, QueryError

_SIGNS = ("+", "-")
_MAX_COMPARED_NAMES = 10_000  # of a folder, when a file name is misspelt
_NEAR_NAME_CUTOFF = 0.75  # high enough that sharing only the suffix .wav is no similarity
_NAME = re.compile(r"\w[\w.-]{0,63}")
_NUMBER = r"(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)"
_WEIGHT = re.compile(rf"([+-]?{_NUMBER}):(?!\d)(.*)", re.DOTALL)
_CLOCK = re.compile(rf"(?:(?:([0-9]+):)?([0-5]?[0-9]):(?=[0-5]?[0-9](?:\.|$)))?({_NUMBER})")


@dataclass(frozen=True, slots=True)
class Operand:
    """A text, a file, a part of a file or a saved concept, with its weight. Raises `QueryError` for invalid values."""

    kind: Literal["text", "file", "concept"]
    value: str
    weight: float = 1.0
    """Negative where the operand is subtracted."""
    start: float | None = None
    """Of the part of a file, in seconds."""
    end: float | None = None

    def __post_init__(self) -> None:
        shown = _shown(self.value)
        if self.kind == "text" and not self.value.strip():
            raise EmptyQuery(f"{shown} is blank: write words, or name a file")
        if self.kind == "concept" and not _NAME.fullmatch(self.value):
            raise BadQuery(f"{shown} is not a concept name: use letters, digits, - and _, as in concept:harbour")
        if not math.isfinite(self.weight) or self.weight == 0:
            raise BadQuery(f"{shown} cannot have the weight {self.weight}: use a finite number other than 0")
        start, end = self.start or 0.0, math.inf if self.end is None else self.end
        timeless = self.kind != "file" and (self.start, self.end) != (None, None)
        if timeless or not 0 <= start < end or self.end == math.inf:
            raise BadQuery(f"{shown} has no part from {start} s to {end} s: name a file, a start and a later end")

    @property
    def word(self) -> str:
        """The operand as it is typed, without its sign, and with a prefix: it reads the same whichever files exist."""
        weight = "" if abs(self.weight) == 1 else f"{_decimal(self.weight)}:"
        fragment = ""
        if self.start is not None or self.end is not None:
            times = [_decimal(time) if time is not None else "" for time in (self.start, self.end)]
            fragment = "#t=" + ",".join(times).removesuffix(",")
        return f"{weight}{self.kind}:{self.value}{fragment}"


@dataclass(frozen=True)
class Query:
    """A weighted sum of operands.

    Made by `text`, `file`, `concept` and `parse`; composed with `+`, `-` and `*` (by a number).
    """

    operands: tuple[Operand, ...]

    def __post_init__(self) -> None:
        if not self.operands:
            raise EmptyQuery("the query is empty: write words, or name a file")

    def __add__(self, other: Query) -> Query:
        return Query(self.operands + other.operands) if isinstance(other, Query) else NotImplemented

    def __sub__(self, other: Query) -> Query:
        return self + -other if isinstance(other, Query) else NotImplemented

    def __neg__(self) -> Query:
        return self * -1.0

    def __mul__(self, factor: float) -> Query:
        return Query(tuple(replace(part, weight=float(part.weight * factor)) for part in self.operands))

    __rmul__ = __mul__

    @property
    def words(self) -> tuple[str, ...]:
        """The words that `parse` reads as this query."""
        signed = [("-" if operand.weight < 0 else "+", operand.word) for operand in self.operands]
        words = tuple(word for pair in signed for word in pair)
        return words if words[0] == "-" else words[1:]

    def __str__(self) -> str:
        """Return the query as it is typed in a shell: `parse(shlex.split(str(query))) == query`."""
        return shlex.join(self.words)

    def as_json(self) -> list[dict[str, Any]]:
        """Return the operands as plain values, ready for `json.dumps`."""
        return [asdict(operand) for operand in self.operands]

    @classmethod
    def from_json(cls, operands: Iterable[Mapping[str, Any]]) -> Self:
        """Read what `as_json` wrote. Files need not exist. Raises `QueryError`."""
        return cls(tuple(map(_operand_from_json, operands)))


def text(words: str) -> Query:
    """Make a query of a text, even if it looks like a file. Raises `EmptyQuery` for a blank text."""
    return Query((Operand("text", words),))


def file(path: str | os.PathLike[str], *, start: float | None = None, end: float | None = None) -> Query:
    """Make a query of a file, or of the part between two times in seconds. Raises `BadQuery` if it does not exist."""
    if (found := _existing(os.fspath(path))) is None:
        raise BadQuery(_no_file(os.fspath(path)))
    return Query((Operand("file", found, start=start, end=end),))


def concept(name: str) -> Query:
    """Make a query of a saved concept. Raises `BadQuery` for a name that no concept can have."""
    return Query((Operand("concept", name),))


def parse(words: Sequence[str]) -> Query:
    """Parse a query as it is typed on a command line: operands, with `+` or `-` as separate words between them.

    Adjacent plain words (no files, weights or prefixes) form one text, joined by blanks. Raises `BadQuery`, which
    shows the words with carets under the wrong one, and `EmptyQuery` if there are no operands.
    """
    operands: list[Operand] = []
    operator = ""
    plain = False
    for place, word in enumerate(words):
        with pointing(words, place):
            if word in _SIGNS:
                if operator:
                    raise BadQuery(f"{word} follows {operator}: drop one of them, or put words or a file between them")
                operator = word
                continue
            was_plain = plain
            operand, plain = _read(word)
            if operator or not operands:
                sign = -1.0 if operator == "-" else 1.0
                operands.append(replace(operand, weight=sign * operand.weight))
            elif plain and was_plain:
                operands[-1] = replace(operands[-1], value=f"{operands[-1].value} {operand.value}")
            else:
                raise _side_by_side(words, place, plain=plain)
            operator = ""
    if operator:
        with pointing(words, len(words) - 1):
            raise BadQuery(f"nothing follows {operator}: write words or a file after it, or drop it")
    return Query(tuple(operands))


def parse_one(word: str) -> Query:
    """Parse one operand: a file, or a text of any number of words. Raises `BadQuery`, `EmptyQuery`."""
    with pointing([word], 0):
        return Query((_read(word)[0],))


def query_of(given: str | os.PathLike[str] | Query) -> Query:
    """Return the query that a program means by a query, a path, or a string: one operand as `parse_one` reads it."""
    return parse_one(given) if isinstance(given, str) else given if isinstance(given, Query) else file(given)


def _operand_from_json(values: Mapping[str, Any]) -> Operand:
    try:
        operand = Operand(**values)
        known = operand.kind in ("text", "file", "concept")
    except (TypeError, AttributeError):  # other keys, or values of other types
        known = False
    if not known:
        raise BadQuery(f"{values!r} is not an operand: it needs a kind (text, file or concept) and a value")
    return operand


def _read(word: str) -> tuple[Operand, bool]:
    """Return the operand that a word is, and whether it is a plain word, which adjacent plain words may join."""
    weighted = _WEIGHT.fullmatch(word)
    if weighted is None or _file_named(word):
        return _read_unweighted(word)
    operand, _ = _read_unweighted(weighted[2])
    return replace(operand, weight=float(weighted[1])), False


def _read_unweighted(word: str) -> tuple[Operand, bool]:
    if word.startswith("text:"):
        return Operand("text", word.removeprefix("text:")), False
    if word.startswith("concept:"):
        return Operand("concept", word.removeprefix("concept:")), False
    name = word.removeprefix("file:")
    if found := _file_named(name):
        return found, False
    if name != word or _looks_like_path(name):
        raise BadQuery(f"{_no_file(name)}; {_as_text(name)}")
    return Operand("text", word.strip()), True


def _side_by_side(words: Sequence[str], place: int, *, plain: bool) -> BadQuery:
    message = f"{_shown(words[place - 1])} and {_shown(words[place])} have no sign between them: put + or - there"
    if not plain:
        return BadQuery(message)
    phrase = " ".join(takewhile(lambda word: word not in _SIGNS, words[place - 1 :]))
    return BadQuery(f"{message}, or did you mean {_shown(phrase)}?")


def _file_named(word: str) -> Operand | None:
    """Return the file, or the part of a file, that a word names; a `#` may be part of the name."""
    if whole := _existing(word):
        return Operand("file", whole)
    stem, _, times = word.rpartition("#t=")
    if (path := _existing(stem)) is None:
        return None
    try:
        start, end = _times(times)
        return Operand("file", path, start=start, end=end)
    except ValueError:
        raise BadQuery(
            f"{_shown(word)} has no valid times after #t=: write them as in #t=12,14.5 or #t=1:02:03"
        ) from None


def _existing(name: str) -> str | None:
    return next((path for path in (name, _at_home(name)) if os.path.isfile(path)), None)


def _at_home(name: str) -> str:
    try:
        return os.path.expanduser(name)
    except ValueError:  # a name that no user and no file can have
        return name


def _times(fragment: str) -> tuple[float | None, float | None]:
    """Read `start`, `start,end` or `,end`. Raises `ValueError`."""
    start, comma, end = fragment.removeprefix("npt:").partition(",")
    return _seconds(start) if start or not comma else None, _seconds(end) if comma else None


def _seconds(clock: str) -> float:
    read = _CLOCK.fullmatch(clock)
    if read is None:
        raise ValueError(clock)
    hours, minutes, seconds = (float(part or 0) for part in read.groups())
    return hours * 3600 + minutes * 60 + seconds


def _looks_like_path(word: str) -> bool:
    """Whether a word is probably meant as a file. Sentences may have slashes: there, an existing folder decides."""
    from bindsearch.media.formats import claimed_modality

    if any(claimed_modality(Path(name)) for name in (word, word.partition("#")[0])):
        return True
    folder, separator, _ = word.partition(os.sep)
    return bool(separator) and (len(word.split()) == 1 or os.path.isdir(_at_home(folder or os.sep)))


def _no_file(word: str) -> str:
    """Return a message that says why a word names no usable file."""
    name = _at_home(word)
    if os.path.exists(name):
        advice = "is a folder: name one file in it" if os.path.isdir(name) else "is not a regular file: save it as one"
        return f"{_shown(word)} {advice}"
    near = _near_names(name) or _near_names(name.rpartition("#t=")[0])
    meant = f" (did you mean {' or '.join(map(_shown, near))}?)" if near else ""
    return f"no such file: {_shown(word)}{meant}"


def _near_names(path: str) -> list[str]:
    """Return the files in the same folder with similar names."""
    folder, name = os.path.split(path)
    try:
        with os.scandir(folder or os.curdir) as entries:
            known = {
                entry.name.casefold(): entry.name for entry in islice(entries, _MAX_COMPARED_NAMES) if entry.is_file()
            }
    except (OSError, ValueError):
        return []
    near = closest(name.casefold(), sorted(known), n=3, cutoff=_NEAR_NAME_CUTOFF)
    return [os.path.join(folder, known[folded]) for folded in near]


@contextmanager
def pointing(words: Sequence[str], place: int) -> Iterator[None]:
    """Add the words, and carets under the one at `place`, to a `QueryError` that is raised inside."""
    try:
        yield
    except QueryError as error:
        shown = [_shown(word) for word in words]
        before = sum(_columns(word) + 1 for word in shown[:place])
        carets = " " * before + "^" * _columns(shown[place])
        raise type(error)(f"{error}\n    {' '.join(shown)}\n    {carets}") from None


def _as_text(word: str) -> str:
    return f"to search for it as text, write {_shown('text:' + word)}"


def _shown(word: str) -> str:
    """Return a word as it would be typed, on one line and printable on any terminal."""
    safe = "".join(mark if mark.isprintable() else mark.encode("unicode_escape").decode("ascii") for mark in word)
    return safe if safe and " " not in safe else f'"{safe}"'


def _columns(shown: str) -> int:
    return sum(0 if combining(letter) else 2 if east_asian_width(letter) in "WF" else 1 for letter in shown)


def _decimal(number: float) -> str:
    """Format a number exactly, without sign and exponent."""
    return f"{Decimal(repr(abs(float(number)))):f}".removesuffix(".0")
