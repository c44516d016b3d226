"""What the verbs' parsers have in common: options, kinds of values, and usage errors of one line."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, NoReturn, TypeAlias

from bindsearch.core.suggest import closest

Verbs: TypeAlias = "argparse._SubParsersAction[Parser]"

MOST = 1_000_000_000
"""No list is longer: more than this is as good as all."""
PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".pdf")
"""What pictures that are drawn may be called."""
MODALITIES = ("image", "audio", "video", "text")


class Parser(argparse.ArgumentParser):
    """A parser that says what is wrong in one line, and lets words and options mix in any order."""

    def __init__(self, *, gathers: str = "", **settings: Any) -> None:
        settings.setdefault("formatter_class", argparse.RawDescriptionHelpFormatter)
        super().__init__(allow_abbrev=False, **settings)
        self._gathers = gathers
        """Name of the list of words that also takes the words after an option."""

    def error(self, message: str) -> NoReturn:
        """End with status 2."""
        self.exit(2, f"bindsearch: {message} (see `{self.prog} --help`)\n")

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> tuple[Any, list[str]]:
        """Parse as argparse does, which stops to gather words at the first option behind one, and then go on.

        What is left over is an error here already: the outer parser does not know the options of the verb.
        """
        told, rest = super().parse_known_args(args, namespace)
        words, unknown = _words_among(rest)
        if unknown:
            self.error(f"there is no option {unknown[0]}{self._option_like(unknown[0])}")
        if self._gathers:
            setattr(told, self._gathers, [*getattr(told, self._gathers), *words])
        elif words:
            self.error(f"{words[0]!r} is one word too many")
        return told, []

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        """Say of a choice that there is not what it could have been, instead of all that there are."""
        if action.choices is None or value in action.choices:
            return
        known = list(action.choices)
        if isinstance(action, argparse._SubParsersAction):
            otherwise = "; to look for words, write `bindsearch search WORD`" if "search" in known else ""
            raise argparse.ArgumentError(None, f"there is no verb {value!r}{near(value, known) or otherwise}")
        raise argparse.ArgumentError(action, f"there is no {value!r}{near(value, known)}; there are {', '.join(known)}")

    def _option_like(self, option: str) -> str:
        return near(option.partition("=")[0], self._option_string_actions)


def _words_among(rest: Sequence[str]) -> tuple[list[str], list[str]]:
    """Split what argparse left over into words and unknown options."""
    end = rest.index("--") if "--" in rest else len(rest)
    unknown = [each for each in rest[:end] if each.startswith("-") and each != "-" and " " not in each]
    words = [each for each in rest[:end] if each not in unknown]
    return words + list(rest[end + 1 :]), unknown


def near(word: str, known: Iterable[str]) -> str:
    """Ask whether something was meant that is spelled nearly so; nothing if nothing is."""
    found = closest(word, known)
    return f"; did you mean {found[0]}?" if found else ""


def add_common(parser: argparse.ArgumentParser) -> None:
    """Add what can be said before the verb and after it. Without defaults: the outer parser has them."""
    group = parser.add_argument_group("common options")
    group.add_argument("-l", "--library", metavar="PATH", default=argparse.SUPPRESS, help="the library to use")
    group.add_argument(
        "--json", action="store_true", default=argparse.SUPPRESS, help="write one JSON object a line to stdout"
    )
    group.add_argument(
        "-q", "--quiet", action="store_true", default=argparse.SUPPRESS, help="leave out all that is not the answer"
    )
    group.add_argument("--traceback", action="store_true", default=argparse.SUPPRESS, help=argparse.SUPPRESS)


def add_filters(parser: argparse.ArgumentParser) -> None:
    """Add how many results, of what kind, from where, in which order."""
    add = parser.add_argument
    add("-k", type=at_least_one, default=10, metavar="N", help="give N results (10)")
    add("-m", "--modality", type=modalities, metavar="KIND,...", help=f"only these kinds: {', '.join(MODALITIES)}")
    add("--under", action="append", metavar="FOLDER", help="only what lies in this folder; can be given again")
    add("--since", type=date, metavar="DATE", help="only files changed at this date or later")
    add("--ext", type=listed, metavar="EXT,...", help="only these endings: jpg,png")
    add(
        "--where",
        action="append",
        type=pair,
        metavar="KEY=VALUE",
        help="only files indexed with this --meta; or, as in tag:dog>0.8, only what is tagged so",
    )
    add("--raw", action="store_true", help="order by plain cosine instead of by expectation")


def add_ranking(parser: argparse.ArgumentParser) -> None:
    """Add what search and similar share: the filters, and how results are shown."""
    add_filters(parser)
    add = parser.add_argument
    add(
        "--max-expect",
        type=positive,
        metavar="E",
        help="only results that chance brings no more often than E times a search",
    )
    add("--paths0", action="store_true", help="write only paths, each ended by a NUL, as for `xargs -0`")


def where_of(args: argparse.Namespace) -> dict[str, str]:
    """Return the metadata that is asked for with --where."""
    return {key: value for key, value in args.where or () if not key.startswith("tag:")}


def tags_of(args: argparse.Namespace) -> list[str]:
    """Return the conditions on tags that are asked for with --where, or among the words of a query."""
    return [key for key, _ in args.where or () if key.startswith("tag:")]


def filters_of(args: argparse.Namespace) -> list[str]:
    """Name the filters that are asked for, as they are typed."""
    named = [f"--{name}" for name in ("modality", "under", "since", "ext") if getattr(args, name)]
    return named + [f"{key}={value}" for key, value in where_of(args).items()] + tags_of(args)


def words_of(args: argparse.Namespace) -> list[str]:
    """Return the words of the query; conditions on tags among them join those of --where. Raises `BadQuery`."""
    from bindsearch.errors import EmptyQuery
    from bindsearch.query.tag_conditions import without_tags

    words, conditions = without_tags(args.words)
    if conditions and not words:
        raise EmptyQuery("the query is empty: tags only filter what is found; write words, or name a file, beside them")
    args.words, args.where = words, [*(args.where or ()), *((condition.word, "") for condition in conditions)]
    return words


def at_least_one(words: str) -> int:
    """Read a whole number from 1 on."""
    try:
        number = int(words)
    except ValueError:
        number = 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{words!r} is not a whole number of at least 1")
    return min(number, MOST)


def positive(words: str) -> float:
    """Read a number above zero."""
    try:
        number = float(words)
    except ValueError:
        number = 0.0
    if not number > 0:
        raise argparse.ArgumentTypeError(f"{words!r} is not a number above 0")
    return number


def listed(words: str) -> list[str]:
    """Read what stands between commas."""
    found = [word.strip() for word in words.split(",") if word.strip()]
    if not found:
        raise argparse.ArgumentTypeError(f"{words!r} names nothing; put commas between names")
    return found


def modalities(words: str) -> list[str]:
    """Read modalities between commas."""
    for name in listed(words):
        if name not in MODALITIES:
            raise argparse.ArgumentTypeError(f"there is no kind {name!r}; there are {', '.join(MODALITIES)}")
    return listed(words)


def numbers(words: str) -> list[int]:
    """Read whole numbers from 1 on, between commas."""
    return [at_least_one(word) for word in listed(words)]


def pair(words: str) -> tuple[str, str]:
    """Read KEY=VALUE; a condition on tags is a key without a value."""
    if words.startswith("tag:"):
        return words, ""
    key, equals, value = words.partition("=")
    if not (key.strip() and equals):
        raise argparse.ArgumentTypeError(f"{words!r} is not KEY=VALUE")
    return key.strip(), value.strip()


def target(words: str) -> Path:
    """Read the name of a file to write, before there is anything to write."""
    path = Path(words).expanduser()
    if path.is_dir():
        raise argparse.ArgumentTypeError(f"{words!r} is a folder: name a file")
    if not path.parent.is_dir():
        raise argparse.ArgumentTypeError(f"{words!r} cannot be written: there is no folder {str(path.parent)!r}")
    return path


def picture(words: str) -> Path:
    """Read the name of a picture to write."""
    if Path(words).suffix.lower() not in PICTURES:
        raise argparse.ArgumentTypeError(f"{words!r} names no kind of picture; call it something.png")
    return target(words)


def date(words: str) -> datetime:
    """Read a date, with or without a time of day."""
    try:
        return datetime.fromisoformat(words)
    except ValueError as error:
        message = f"{words!r} is not a date like 2026-05-31 or 2026-05-31T18:00"
        raise argparse.ArgumentTypeError(message) from error
