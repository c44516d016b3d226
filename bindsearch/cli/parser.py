"""Shared parts of the verbs' parsers: options, value types, one-line usage errors."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, NoReturn, TypeAlias

from bindsearch.core.suggest import closest

Verbs: TypeAlias = "argparse._SubParsersAction[Parser]"

MAX_RESULTS = 1_000_000_000
"""Larger counts mean all results."""
PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".pdf")
"""File names that plots can be written to."""
MODALITIES = ("image", "audio", "video", "text")


class Parser(argparse.ArgumentParser):
    """A parser with one-line errors that accepts words and options in any order."""

    def __init__(self, *, gathers: str = "", **settings: Any) -> None:
        settings.setdefault("formatter_class", argparse.RawDescriptionHelpFormatter)
        super().__init__(allow_abbrev=False, **settings)
        self._gathers = gathers
        """The name of the positional list that also collects the words after options."""

    def error(self, message: str) -> NoReturn:
        """Exit with status 2."""
        self.exit(2, f"bindsearch: {message} (see `{self.prog} --help`)\n")

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> tuple[Any, list[str]]:
        """Parse, then collect the words that argparse leaves over because they follow an option.

        Unknown options are an error here already, since the outer parser does not know the verb's options.
        """
        parsed, rest = super().parse_known_args(args, namespace)
        words, unknown = _words_among(rest)
        if unknown:
            self.error(f"unknown option {unknown[0]}{self._option_like(unknown[0])}")
        if self._gathers:
            setattr(parsed, self._gathers, [*getattr(parsed, self._gathers), *words])
        elif words:
            self.error(f"unexpected argument {words[0]!r}")
        return parsed, []

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        """For an invalid choice, suggest the closest valid one."""
        if action.choices is None or value in action.choices:
            return
        known = list(action.choices)
        if isinstance(action, argparse._SubParsersAction):
            otherwise = "; to search for words, use `bindsearch search WORD`" if "search" in known else ""
            raise argparse.ArgumentError(None, f"unknown verb {value!r}{near(value, known) or otherwise}")
        raise argparse.ArgumentError(
            action, f"unknown value {value!r}{near(value, known)}; choose from {', '.join(known)}"
        )

    def _option_like(self, option: str) -> str:
        return near(option.partition("=")[0], self._option_string_actions)


def _words_among(rest: Sequence[str]) -> tuple[list[str], list[str]]:
    """Split what argparse left over into words and unknown options."""
    end = rest.index("--") if "--" in rest else len(rest)
    unknown = [each for each in rest[:end] if each.startswith("-") and each != "-" and " " not in each]
    words = [each for each in rest[:end] if each not in unknown]
    return words + list(rest[end + 1 :]), unknown


def near(word: str, known: Iterable[str]) -> str:
    """Return "; did you mean …?" for the closest known word; empty if none is close."""
    found = closest(word, known)
    return f"; did you mean {found[0]}?" if found else ""


def add_common(parser: argparse.ArgumentParser) -> None:
    """Add the options that may stand before or after the verb. The outer parser has their defaults."""
    group = parser.add_argument_group("common options")
    group.add_argument("-l", "--library", metavar="PATH", default=argparse.SUPPRESS, help="the library to use")
    group.add_argument(
        "--json", action="store_true", default=argparse.SUPPRESS, help="write one JSON object per line to stdout"
    )
    group.add_argument("-q", "--quiet", action="store_true", default=argparse.SUPPRESS, help="print results only")
    group.add_argument("--traceback", action="store_true", default=argparse.SUPPRESS, help=argparse.SUPPRESS)


def add_filters(parser: argparse.ArgumentParser) -> None:
    """Add the options that select and order results."""
    add = parser.add_argument
    add("-k", type=at_least_one, default=10, metavar="N", help="number of results (default: 10)")
    add("-m", "--modality", type=modalities, metavar="NAME,...", help=f"only these modalities: {', '.join(MODALITIES)}")
    add("--under", action="append", metavar="FOLDER", help="only files in this folder or below; repeatable")
    add("--since", type=date, metavar="DATE", help="only files modified at this date or later")
    add("--ext", type=listed, metavar="EXT,...", help="only these file extensions: jpg,png")
    add(
        "--where",
        action="append",
        type=pair,
        metavar="KEY=VALUE",
        help="only files with this metadata (`index --meta`) or with a tag, as in tag:dog>0.8; repeatable",
    )
    add("--raw", action="store_true", help="order by score (cosine similarity) instead of E-value")


def add_ranking(parser: argparse.ArgumentParser) -> None:
    """Add the options that search and similar share."""
    add_filters(parser)
    add = parser.add_argument
    add(
        "--max-expect",
        type=positive,
        metavar="E",
        help="only results with an E-value of at most E: the number of hits this good that chance alone brings per "
        "search, shown as `by chance`",
    )
    add("--paths0", action="store_true", help="print only paths, each followed by a NUL, for `xargs -0`")


def where_of(args: argparse.Namespace) -> dict[str, str]:
    """Return the metadata conditions of --where."""
    return {key: value for key, value in args.where or () if not key.startswith("tag:")}


def tags_of(args: argparse.Namespace) -> list[str]:
    """Return the tag conditions of --where and of the query."""
    return [key for key, _ in args.where or () if key.startswith("tag:")]


def filters_of(args: argparse.Namespace) -> list[str]:
    """Return the active filters as they are typed."""
    named = [f"--{name}" for name in ("modality", "under", "since", "ext") if getattr(args, name)]
    return named + [f"{key}={value}" for key, value in where_of(args).items()] + tags_of(args)


def words_of(args: argparse.Namespace) -> list[str]:
    """Return the words of the query, moving tag conditions among them to --where. Raises `BadQuery`."""
    from bindsearch.errors import EmptyQuery
    from bindsearch.query.tag_conditions import without_tags

    words, conditions = without_tags(args.words)
    if conditions and not words:
        raise EmptyQuery("the query is empty: tags only filter results; add words or a file")
    args.words, args.where = words, [*(args.where or ()), *((condition.word, "") for condition in conditions)]
    return words


def at_least_one(words: str) -> int:
    """Parse a whole number of at least 1."""
    try:
        number = int(words)
    except ValueError:
        number = 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{words!r} is not a whole number of at least 1")
    return min(number, MAX_RESULTS)


def positive(words: str) -> float:
    """Parse a positive number."""
    try:
        number = float(words)
    except ValueError:
        number = 0.0
    if not number > 0:
        raise argparse.ArgumentTypeError(f"{words!r} is not a number above 0")
    return number


def listed(words: str) -> list[str]:
    """Parse a comma-separated list."""
    found = [word.strip() for word in words.split(",") if word.strip()]
    if not found:
        raise argparse.ArgumentTypeError(f"{words!r} is empty; separate names with commas")
    return found


def modalities(words: str) -> list[str]:
    """Parse comma-separated modalities."""
    for name in listed(words):
        if name not in MODALITIES:
            raise argparse.ArgumentTypeError(f"unknown modality {name!r}; choose from {', '.join(MODALITIES)}")
    return listed(words)


def numbers(words: str) -> list[int]:
    """Parse comma-separated whole numbers of at least 1."""
    return [at_least_one(word) for word in listed(words)]


def pair(words: str) -> tuple[str, str]:
    """Parse KEY=VALUE; a tag condition is a key without a value."""
    if words.startswith("tag:"):
        return words, ""
    key, equals, value = words.partition("=")
    if not (key.strip() and equals):
        raise argparse.ArgumentTypeError(f"{words!r} is not KEY=VALUE")
    return key.strip(), value.strip()


def target(words: str) -> Path:
    """Parse the path of a file to write, so that a bad path fails before the work."""
    path = Path(words).expanduser()
    if path.is_dir():
        raise argparse.ArgumentTypeError(f"{words!r} is a folder: name a file")
    if not path.parent.is_dir():
        raise argparse.ArgumentTypeError(f"{words!r} cannot be written: no such folder {str(path.parent)!r}")
    return path


def picture(words: str) -> Path:
    """Parse the path of a plot to write."""
    if Path(words).suffix.lower() not in PICTURE_SUFFIXES:
        raise argparse.ArgumentTypeError(f"{words!r} has no image extension; name it something.png")
    return target(words)


def date(words: str) -> datetime:
    """Parse a date, with or without a time."""
    try:
        return datetime.fromisoformat(words)
    except ValueError as error:
        message = f"{words!r} is not a date like 2026-05-31 or 2026-05-31T18:00"
        raise argparse.ArgumentTypeError(message) from error
