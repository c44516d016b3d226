"""Record command lines and their output as in a terminal, and compare two transcripts."""

from __future__ import annotations

import math
import re
import shlex

import pytest

from bindsearch.cli import main

NUMBER = re.compile(r"-?\d[\d,]*(?:\.\d+)?(?:e-?\d+)?(?: (?:million|billion))?")


def transcript(line: str, capsys: pytest.CaptureFixture[str]) -> str:
    """Run a command line; return it with its output, its messages, and its exit status if that is not 0."""
    status = main(shlex.split(line)[1:])
    out, err = capsys.readouterr()
    messages = "".join(f"! {message}\n" for message in err.splitlines())
    return f"$ {line}\n{out}{messages}" + (f"[{status}]\n\n" if status else "\n")


def assert_alike(now: str, recorded: str) -> None:
    """Assert that words are equal and numbers are close: they differ a little between versions of a decoder."""
    for line, before in zip(now.splitlines(), recorded.splitlines(), strict=True):
        assert NUMBER.sub("N", line).split() == NUMBER.sub("N", before).split()
        for number, was in zip(NUMBER.findall(line), NUMBER.findall(before), strict=True):
            assert is_close(value(number), value(was)), f"{number} was {was} in: {before}"


def value(number: str) -> float:
    digits, _, scale = number.replace(",", "").partition(" ")
    return float(digits) * {"": 1, "million": 1e6, "billion": 1e9}[scale]


def is_close(number: float, was: float) -> bool:
    """Whether cosines differ by at most 0.02, or E-values, which are exponential in them, by a factor of two."""
    return math.isclose(number, was, abs_tol=0.02) or (number > 0 and was > 0 and 0.5 <= number / was <= 2)
