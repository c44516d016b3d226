"""Run command lines as a terminal would show them, and compare two transcripts."""

from __future__ import annotations

import math
import re
import shlex

import pytest

from bindsearch.cli import main

NUMBER = re.compile(r"-?\d[\d,]*(?:\.\d+)?(?:e-?\d+)?(?: (?:million|billion))?")


def transcript(line: str, capsys: pytest.CaptureFixture[str]) -> str:
    """Return the command, its output, its messages, and its exit status if it is not 0."""
    status = main(shlex.split(line)[1:])
    out, err = capsys.readouterr()
    messages = "".join(f"! {message}\n" for message in err.splitlines())
    return f"$ {line}\n{out}{messages}" + (f"[{status}]\n\n" if status else "\n")


def assert_alike(now: str, recorded: str) -> None:
    """Assert that words are equal and numbers near: another version of a decoder may move them a little."""
    for line, before in zip(now.splitlines(), recorded.splitlines(), strict=True):
        assert NUMBER.sub("N", line).split() == NUMBER.sub("N", before).split()
        for number, was in zip(NUMBER.findall(line), NUMBER.findall(before), strict=True):
            assert near(value(number), value(was)), f"{number} was {was} in: {before}"


def value(number: str) -> float:
    digits, _, scale = number.replace(",", "").partition(" ")
    return float(digits) * {"": 1, "million": 1e6, "billion": 1e9}[scale]


def near(number: float, was: float) -> bool:
    """Allow cosines to differ in the second digit, and E-values, which are exponents of them, by a factor of two."""
    return math.isclose(number, was, abs_tol=0.02) or (number > 0 and was > 0 and 0.5 <= number / was <= 2)
