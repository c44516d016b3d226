"""Suggestions for misspelled names."""

from __future__ import annotations

from collections.abc import Iterable


def closest(word: str, known: Iterable[str], *, n: int = 1, cutoff: float = 0.6) -> list[str]:
    """Return up to `n` known names that are spelled like a word, most similar first.

    `cutoff` is the least similarity, from 0 to 1, as `difflib.get_close_matches` defines it.
    """
    import difflib  # only errors need it

    return difflib.get_close_matches(word, list(known), n=n, cutoff=cutoff)


def did_you_mean(word: str, known: Iterable[str], *, prefix: str = "", n: int = 1, cutoff: float = 0.6) -> str:
    """Return ` (did you mean NAME?)` for an error message; an empty string if no known name is similar.

    `prefix` is what users type before the name, such as `concept:`.
    """
    found = closest(word, known, n=n, cutoff=cutoff)
    return f" (did you mean {' or '.join(prefix + name for name in found)}?)" if found else ""
