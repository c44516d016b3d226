"""Conditions on tags, as people write them: `tag:dog>0.8`."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from bindsearch.core.suggest import did_you_mean
from bindsearch.errors import BadQuery
from bindsearch.query.language import pointing

PREFIX = "tag:"
LIKELY = 0.5
"""What a tag alone asks for: that it is more probable than not."""
_OPERATORS: Mapping[str, Callable[[Any, Any], Any]] = MappingProxyType(
    {">=": operator.ge, "<=": operator.le, ">": operator.gt, "<": operator.lt}
)
_CONDITION = re.compile(r"(.*?)(>=|<=|>|<)([^<>]*)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class TagCondition:
    """How probable a tag must be. Items that were never asked about it do not pass."""

    label: str
    sign: str = ">="
    value: float = LIKELY

    @property
    def word(self) -> str:
        """The condition as it is typed."""
        return f"{PREFIX}{self.label}{self.sign}{self.value!r}"

    def holds(self, probability: Any) -> Any:
        """Whether a probability, or each of an array, is as asked for."""
        return _OPERATORS[self.sign](probability, self.value)


def tag_condition(word: str) -> TagCondition:
    """Read `dog>0.8`, `tag:dog<=20%`, or `tag:dog`, which is `tag:dog>=0.5`. Raises `BadQuery`, pointing at it."""
    return tag_conditions([word], 0)


def tag_conditions(words: Sequence[str], at: int) -> TagCondition:
    """Read one of some words, so that what is wrong with it can be pointed at. Raises `BadQuery`."""
    with pointing(words, at):
        bare = words[at].removeprefix(PREFIX).strip()
        parted = _CONDITION.fullmatch(bare)
        label, sign, number = parted.groups() if parted else (bare, ">=", str(LIKELY))
        if not label.strip() or any(mark in label for mark in "<>"):
            raise BadQuery("a condition on tags has one label and at most one sign, as in tag:dog>0.8")
        return TagCondition(label.strip(), sign, _share(number.strip(), sign))


def without_tags(words: Iterable[str]) -> tuple[list[str], list[TagCondition]]:
    """Split the words of a query from the conditions on tags among them. Raises `BadQuery`, pointing at the word."""
    every = list(words)
    found = [tag_conditions(every, at) for at, word in enumerate(every) if word.startswith(PREFIX)]
    return [word for word in every if not word.startswith(PREFIX)], found


def no_such_tag(condition: TagCondition, known: Iterable[str]) -> BadQuery:
    """Say that nothing is tagged so, and which tag may have been meant."""
    labels = list(known)
    meant = did_you_mean(condition.label, labels, prefix=PREFIX)
    lists = "`bindsearch tag` lists the tags" if labels else "`bindsearch tag --labels A,B,...` makes tags"
    try:
        with pointing([condition.word], 0):
            raise BadQuery(f"no tag is called {condition.label}{meant}; {lists}")
    except BadQuery as error:
        return error


def _share(number: str, sign: str) -> float:
    try:
        value = float(number.removesuffix("%")) / (100 if number.endswith("%") else 1)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise BadQuery(f"{number or 'nothing'} follows {sign}: write a number from 0 to 1, as in tag:dog>0.8")
    return value
