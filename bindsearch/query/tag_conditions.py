"""Conditions on tags, as they are typed: `tag:dog>0.8`."""

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
DEFAULT_TAG_PROBABILITY = 0.5
"""The least probability that a tag without a number must have."""
_OPERATORS: Mapping[str, Callable[[Any, Any], Any]] = MappingProxyType(
    {">=": operator.ge, "<=": operator.le, ">": operator.gt, "<": operator.lt}
)
_CONDITION = re.compile(r"(.*?)(>=|<=|>|<)([^<>]*)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class TagCondition:
    """How probable a tag must be. Items that were never tagged with its classifier do not pass."""

    label: str
    sign: str = ">="
    value: float = DEFAULT_TAG_PROBABILITY

    @property
    def word(self) -> str:
        """The condition as it is typed."""
        return f"{PREFIX}{self.label}{self.sign}{self.value!r}"

    def holds(self, probability: Any) -> Any:
        """Whether a probability, or each of an array, meets the condition."""
        return _OPERATORS[self.sign](probability, self.value)


def tag_condition(word: str) -> TagCondition:
    """Read `dog>0.8`, `tag:dog<=20%`, or `tag:dog`, which is `tag:dog>=0.5`. Raises `BadQuery` with carets under it."""
    return _condition_among([word], 0)


def _condition_among(words: Sequence[str], place: int) -> TagCondition:
    """Read the condition at one place of a query. Raises `BadQuery`, which shows all words, with carets under it."""
    with pointing(words, place):
        bare = words[place].removeprefix(PREFIX).strip()
        matched = _CONDITION.fullmatch(bare)
        label, sign, number = matched.groups() if matched else (bare, ">=", str(DEFAULT_TAG_PROBABILITY))
        if not label.strip() or any(mark in label for mark in "<>"):
            raise BadQuery("a condition on tags has one label and at most one sign, as in tag:dog>0.8")
        return TagCondition(label.strip(), sign, _probability(number.strip(), sign))


def without_tags(words: Iterable[str]) -> tuple[list[str], list[TagCondition]]:
    """Split words into those of the query and the conditions on tags. Raises `BadQuery` with carets under the word."""
    every = list(words)
    conditions = [_condition_among(every, place) for place, word in enumerate(every) if word.startswith(PREFIX)]
    return [word for word in every if not word.startswith(PREFIX)], conditions


def no_such_tag(condition: TagCondition, known: Iterable[str]) -> BadQuery:
    """Return the error for a tag that does not exist, with the tag that may be meant."""
    labels = list(known)
    meant = did_you_mean(condition.label, labels, prefix=PREFIX)
    lists = "`bindsearch tag` lists the tags" if labels else "`bindsearch tag --labels A,B,...` makes tags"
    try:
        with pointing([condition.word], 0):
            raise BadQuery(f"no tag is called {condition.label}{meant}; {lists}")
    except BadQuery as error:
        return error


def _probability(number: str, sign: str) -> float:
    try:
        value = float(number.removesuffix("%")) / (100 if number.endswith("%") else 1)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise BadQuery(f"{number or 'nothing'} follows {sign}: write a number from 0 to 1, as in tag:dog>0.8")
    return value
