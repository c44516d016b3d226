"""Try `--not`: does it remove what it names, and nothing else?

DATA has caltech101 and esc50. A library is made of pictures and sounds of known classes, of the parts that the built-in
space was trained on. The trial asks for two classes at once and excludes one of them, for pairs drawn by a seed: what
is removed should be the files of the excluded class. Recall is the share of these that is removed, precision their
share among what is removed of the two classes, kept the share of the other class that stays, and bystanders the share
of all other files that goes with them. The search itself is asked; `at` is the expectation up to which an unwanted
query counts as answered. The second rule, as well as what is wanted, holds at every one.

    python scripts/experiments/exclusion_threshold.py DATA [--space NAME] [--classes N] [--each N] [--pairs N]
    [--seed N]
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest import mock

import bindsearch
import bindsearch.retrieval.search
from bindsearch.evaluation.dataset import Dataset
from bindsearch.evaluation.readers_image import caltech101
from bindsearch.evaluation.readers_sound import esc50

EVERY = 100_000
AT = (0.0, 0.001, 0.01, 0.1, 0.3, 1.0, 3.0)
"""Expectations that are tried; the rule has `bindsearch.retrieval.search.EXCLUSION_EXPECT`."""


@dataclass(frozen=True, slots=True)
class Removed:
    """How many files of each kind there are, and how many of them go."""

    unwanted: tuple[int, int]
    wanted: tuple[int, int]
    others: tuple[int, int]


def written(dataset: Dataset, folder: Path, *, classes: int, each: int, chance: random.Random) -> dict[str, list[Path]]:
    """Write some files of some classes into a folder; give them by class."""
    by_class: dict[str, list[int]] = {}
    for place, example in enumerate(dataset.examples):
        if not example.held_out:
            by_class.setdefault(example.words[0], []).append(place)
    chosen = chance.sample(sorted(name for name, places in by_class.items() if len(places) >= each), classes)
    found: dict[str, list[Path]] = {}
    for name in chosen:
        for place in chance.sample(by_class[name], each):
            media = dataset.examples[place].media
            path = folder / f"{name.replace(' ', '_')}-{Path(media.name).name}"
            path.write_bytes(media.read())
            found.setdefault(name, []).append(path)
    return found


def left(library: bindsearch.Library, both: bindsearch.Query, against: bindsearch.Query, *, at: float) -> set[Path]:
    """Ask for both and exclude one, where unwanted queries count as answered up to an expectation."""
    with mock.patch.object(bindsearch.retrieval.search, "EXCLUSION_EXPECT", at):
        return {hit.path for hit in library.search(both, excluding=against, k=EVERY)}


def removed(every: set[Path], left: set[Path], unwanted: set[Path], wanted: set[Path]) -> Removed:
    """Count what is gone of each kind."""
    gone, rest = every - left, every - unwanted - wanted
    return Removed(*((len(part), len(part & gone)) for part in (unwanted, wanted, rest)))


def pairs(classes: list[str], count: int, chance: random.Random) -> Iterator[tuple[str, str]]:
    every = [(one, other) for one in classes for other in classes if one != other]
    yield from chance.sample(every, min(count, len(every)))


def share(parts: list[tuple[int, int]]) -> float:
    return sum(gone for _, gone in parts) / max(1, sum(count for count, _ in parts))


def report(name: str, tried: Mapping[float, list[Removed]]) -> None:
    for at, found in tried.items():
        parts = ("unwanted", "wanted", "others")
        recall, lost, others = (share([getattr(each, part) for each in found]) for part in parts)
        right = sum(each.unwanted[1] for each in found)
        wrong = sum(each.wanted[1] for each in found)
        precision = right / max(1, right + wrong)
        print(f"{name:<18}{len(found):>6}{at:>8g}{recall:>9.2f}{precision:>11.2f}{1 - lost:>7.2f}{others:>12.2f}")


def trial(library: bindsearch.Library, kinds: Mapping[str, dict[str, list[Path]]], options: argparse.Namespace) -> None:
    chance = random.Random(options.seed)
    print(f"{'classes':<18}{'pairs':>6}{'at':>8}{'recall':>9}{'precision':>11}{'kept':>7}{'bystanders':>12}")
    for name, found in kinds.items():
        tried: dict[float, list[Removed]] = {at: [] for at in AT}
        for wanted, unwanted in pairs(sorted(found), options.pairs, chance):
            both, against = bindsearch.text(wanted) + bindsearch.text(unwanted), bindsearch.text(unwanted)
            every = {hit.path for hit in library.search(both, k=EVERY)}
            for at, rows in tried.items():
                rest = left(library, both, against, at=at)
                rows.append(removed(every, rest, set(found[unwanted]), set(found[wanted])))
        report(name, tried)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--space", default="pocket")
    parser.add_argument("--classes", type=int, default=16, help="of each kind (16)")
    parser.add_argument("--each", type=int, default=6, help="files of a class (6)")
    parser.add_argument("--pairs", type=int, default=40, help="of each kind (40)")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    chance = random.Random(options.seed)
    with TemporaryDirectory() as place:
        folder = Path(place)
        sizes = {"classes": options.classes, "each": options.each, "chance": chance}
        kinds: dict[str, dict[str, list[Path]]] = {}
        for name, dataset in (
            ("pictures", caltech101(options.data / "caltech101")[0]),
            ("sounds", esc50(options.data / "esc50")[0]),
        ):
            (folder / name).mkdir()
            kinds[name] = written(dataset, folder / name, **sizes)  # type: ignore[arg-type]
        kinds["both together"] = {**kinds["pictures"], **kinds["sounds"]}
        with bindsearch.open(folder / "not.library", space=options.space) as library:
            library.index([folder / "pictures", folder / "sounds"])
            trial(library, kinds, options)


if __name__ == "__main__":
    main()
