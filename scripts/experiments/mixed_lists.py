"""Ask mixed libraries about things: is the list by expectation better than the raw one, and fairer to all modalities?

    python scripts/experiments/mixed_lists.py DATA [--part train|dev] [--draws 10] [--json FILE]

DATA has flickr8k, caltech101, esc50 and sounds. The plan below was written, and tried with `--part train`, before
anything was measured on what is held out (`--part dev`); nothing is chosen by the outcome.

*Things*: all of `THINGS`. A photo is about a thing if two of its five captions name it, or its label does; a caption if
it names it itself; a sound by its label. What only one caption names, or a word that hints at the thing, is neither
right nor wrong: lists are judged without it. Three notes about each thing are texts, too.

*Libraries*: so many draws, seeded. Every photo with captions is there either as a photo or by one of its captions; of
the other photos and of the sounds, three in four are there.

*Questions*: eight wordings of every thing's name; and, the other way, up to three photos and three sounds about each
thing that the library has, asking for what is like them (themselves, and clips of their recording, left out).

*Measures*: nDCG@10, and unfairness: half the sum of the differences between the modalities' shares among the first ten
and among all that is right (0 where they are equal). Both are averaged over draws and questions for each thing; the
95 % intervals come from resampling things.

*Outcome that counts*: the difference of nDCG@10, by expectation less raw, of questions in words about things of which a
draw has photos, sounds and texts. All else is told beside it: each wording, questions by photo and by sound, things
there in two modalities, lists without the notes, and without centring.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

import bindsearch
from bindsearch.evaluation.dataset import Dataset, Example
from bindsearch.evaluation.layouts import read
from bindsearch.evaluation.metrics import ndcg
from bindsearch.library.library import Library
from bindsearch.ports import Encoder, Prepared
from bindsearch.results import Hits
from bindsearch.spaces.space import Space
from bindsearch.types import Modality, Piece, SpaceSpec, Vectors

DEEP = 10
KEPT = 0.75
"""Of photos without captions, and of sounds, so many are in a draw."""
ASKING = 3
"""Photos, and sounds, that ask about a thing in a draw."""
NAMED = 2
"""Captions that must name what a photo is about."""
PHOTOS = 1_000
"""Of each set of photos, at most."""
KINDS = ("photos", "sounds", "texts")
RAW, FAIR, PLAIN = "raw", "by expectation", "by expectation, without centring"
WORDINGS = (
    "{}",
    "the {}",
    "{} nearby",
    "a photo of {}",
    "the sound of {}",
    "something about {}",
    "where is the {}?",
    "all that has to do with {}",
)
NOTES = (
    "We noticed the {} again this morning, before anybody else was up.",
    "About the {}: it was closer than yesterday, and it stayed longer.",
    "In the story that she told there was a {}, as always.",
)

_THINGS = """\
dog: dog dogs puppy puppies greyhound | dalmatian | dog
rooster: rooster hen chicken chickens | rooster | rooster, hen, chicken
helicopter: helicopter helicopters | helicopter | helicopter
airplane: airplane airplanes aeroplane plane planes jet | airplane | airplane, airplane cabin
clock: clock clocks | watch | clock tick, clock alarm | metronome
sea: ocean sea surf surfing surfer surfers | ketch sailing boat, schooner, ferry | sea waves, ocean waves, seaside, \
ocean | beach, shore, wave, waves, coast, surfboard, wind, water
rain: rain raining rainy umbrella umbrellas | umbrella | rain, thunderstorm | thunder, wet, puddle, stream
baby: baby babies infant infants | | crying baby, baby crying | toddler, crib
bird: bird birds duck ducks goose geese seagull seagulls pigeon pigeons swan | pigeon, ibis, flamingo, flamingo head, \
emu | chirping birds, crow, birds, birds singing | rooster, hen, forest
cat: cat cats kitten kittens | wild cat | cat, cat purring | leopard, cougar face, cougar body
train: train trains railroad railway subway locomotive | | train | tracks, rails, station
motorbike: motorcycle motorcycles motorbike motorbikes motorcyclist | motorbike | engine | bike, bikes, biker, bikers, \
rider, motor, motocross
fire: fire fires campfire bonfire flame flames | | crackling fire, campfire, bonfire, fire | smoke, firetruck, burning
laughing: laughing laugh laughs laughter | | laughing | smiling, smile, smiles, giggling
computer: computer computers laptop laptops | laptop | keyboard typing, mouse click, keyboard
cow: cow cows cattle | | cow | bull, bulls, farm
church: church churches cathedral | | church bells | minaret, wedding, bells
frog: frog frogs toad | | frog, frogs
fan: | ceiling fan | fan | fan, fans
restaurant: restaurant restaurants cafe cafes diner | | cafe, paris cafe | table, tables, eating, food
forest: forest forests woods wooded woodland | | forest | trees, tree, birds, leaves rustling, stump, stream
leaves: leaves leaf foliage | | leaves rustling | tree, trees, forest, autumn
snow: snow snowy | | walking in snow | ski, skier, skiing, snowboard, snowboarder, sled, ice, winter
river: river rivers stream streams creek | | stream, river | water, canoe, kayak, rapids, raft, lake, waterfall
street: street streets sidewalk crosswalk | | street, paris street corner | road, city, traffic, car, cars, engine
car: car cars automobile taxi | side of a car | traffic, car horn | truck, trucks, van, vehicle, street, engine, \
paris street corner, road, race, racing
drinking: drink drinks drinking sipping | | drinking sipping | cup, glass, bottle, beer, fountain
bubbles: bubble bubbles | | bubbles
walking: walk walks walking strolling | | footsteps, walking in snow | steps, hiking, crossing, strolls
clapping: clapping clap claps applause applauding | | clapping | crowd, cheering, audience, fans
insect: insect insects butterfly butterflies bug | ant, butterfly, dragonfly, mayfly | crickets, insects | tick, \
scorpion
farm: farm barn farmer | | farm | cow, rooster, hen, sheep, pig, field
desert: desert dune dunes | | desert wind | sand, joshua tree, pyramid, wind
chainsaw: chainsaw chainsaws | | chainsaw
wind: wind windy | | wind, desert wind | leaves rustling, wind chimes
vacuum cleaner: | | vacuum cleaner
sneezing: sneezing sneeze | | sneezing
toilet: toilet | | toilet flush
horse: horse horses pony | | | rodeo, jockey
bicycle: bicycle bicycles bicyclist cyclist cyclists | | | bike, bikes, biker, bikers, rider
skateboard: skateboard skateboards skateboarder skateboarding skateboarders | | | skate, skating
soccer: soccer | soccer ball | | ball, football
tennis: tennis | | | racket, court
mountain: mountain mountains | | | hill, hills, cliff, peak, rock
guitar: guitar guitars guitarist | electric guitar | | band, mandolin
flower: flower flowers | sunflower, lotus, water lily | | garden
swimming pool: pool pools | | | swimming, swims, water
boat: boat boats sailboat canoe kayak | ketch sailing boat, schooner, ferry | | ship, sea waves, seaside
bridge: bridge bridges
elephant: elephant elephants | elephant
chair: chair chairs | chair, windsor chair | | bench, wheelchair, seat
"""


@dataclass(frozen=True)
class Thing:
    """Words in captions, labels of photos and labels of sounds that mean a thing; and what may well be about it."""

    words: frozenset[str]
    photos: frozenset[str] = frozenset()
    sounds: frozenset[str] = frozenset()
    hints: frozenset[str] = frozenset()

    @classmethod
    def read(cls, line: str) -> Thing:
        """Read a line of the table."""
        words, *labels = line.split("|")
        return cls(frozenset(words.split()), *(frozenset(map(str.strip, part.split(","))) - {""} for part in labels))


THINGS: Mapping[str, Thing] = {
    name: Thing.read(rest) for name, _, rest in (line.partition(":") for line in _THINGS.splitlines())
}


class Known:
    """An encoder that encodes nothing twice: the draws have most of their files in common."""

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder
        self._rows: dict[tuple[Modality, bytes], Vectors] = {}

    @property
    def spec(self) -> SpaceSpec:
        return self._encoder.spec

    def prepare(self, piece: Piece) -> Prepared:
        return self._encoder.prepare(piece)

    def encode(self, modality: Modality, batch: Sequence[Prepared]) -> Vectors:
        keys = [(modality, np.asarray(each).tobytes()) for each in batch]
        new = {key: each for key, each in zip(keys, batch, strict=True) if key not in self._rows}
        if new:
            self._rows.update(zip(new, self._encoder.encode(modality, list(new.values())), strict=True))
        return np.stack([self._rows[key] for key in keys])


# Collections ------------------------------------------------------------------------------------------------------


@dataclass
class Drawn:
    """The files of one draw, and what they are about."""

    right: dict[str, set[Path]] = field(default_factory=lambda: {name: set() for name in THINGS})
    hinted: dict[str, set[Path]] = field(default_factory=lambda: {name: set() for name in THINGS})
    """What may be about each thing."""
    notes: set[Path] = field(default_factory=set)
    recordings: dict[Path, str] = field(default_factory=dict)

    def put(self, path: Path, content: bytes, named: Mapping[str, bool]) -> None:
        """Write a file; `named` has the things that it is surely (true) or perhaps about."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        for name, surely in named.items():
            (self.right if surely else self.hinted)[name].add(path)


@dataclass(frozen=True)
class Source:
    """All media of one part of the data."""

    captioned: list[Example]
    labelled: list[Example]
    sounds: list[tuple[str, Example]]
    """With the name of their collection."""

    @classmethod
    def read(cls, data: Path, part: str) -> Source:
        """Read what was held out (`dev`), or what was trained on."""
        named = [
            (folder.name, example)
            for folder in (data / "esc50", *sorted((data / "sounds").iterdir()))
            for dataset in read([folder])
            if dataset.modality == Modality.AUDIO
            for example in chosen(dataset, part)
        ]
        photos = (
            chosen(dataset, part, PHOTOS) for kind in ("flickr8k", "caltech101") for dataset in read([data / kind])
        )
        return cls(*photos, named)


def chosen(dataset: Dataset, part: str, most: int | None = None) -> list[Example]:
    """Return the examples of one part of a data set, spread evenly over it."""
    mine = [example for example in dataset.examples if example.held_out == (part == "dev")]
    return mine[:: 1 if most is None else max(1, -(-len(mine) // most))]


def drawn(source: Source, folder: Path, chance: random.Random) -> Drawn:
    """Write the files of one draw."""
    files = Drawn()
    for example in source.captioned:
        stem, place = Path(example.media.name).stem, chance.randrange(len(example.words))
        if chance.random() < 0.5:
            files.put(folder / "photos" / "told" / example.media.name, example.media.read(), of_photo(example.words))
        else:
            text = example.words[place]
            files.put(folder / "texts" / f"{stem}.txt", text.encode(), of_caption(text, example.words))
    for example in source.labelled:
        if chance.random() < KEPT:
            label = example.words[0]
            named = of_label(label, "photos")
            files.put(folder / "photos" / label.replace(" ", "_") / example.media.name, example.media.read(), named)
    for collection, example in source.sounds:
        if chance.random() < KEPT:
            path = folder / "sounds" / collection / example.media.name
            files.put(path, example.media.read(), of_label(example.words[0], "sounds"))
            files.recordings[path] = f"{collection}/{example.recording}"
    for name in THINGS:
        for number, note in enumerate(NOTES):
            path = folder / "texts" / f"{name.replace(' ', '_')}{number}.txt"
            files.put(path, note.format(name).encode(), {name: True})
            files.notes.add(path)
    return files


def tokens(text: str) -> set[str]:
    return set(re.findall(r"[a-z]+", text.lower()))


def of_photo(captions: Sequence[str]) -> dict[str, bool]:
    """Say what a photo with these captions is surely, or perhaps, about."""
    told = [tokens(caption) for caption in captions]
    named = {name: sum(bool(thing.words & each) for each in told) for name, thing in THINGS.items()}
    hinted = {name for name, thing in THINGS.items() if any((thing.words | thing.hints) & each for each in told)}
    return {name: named[name] >= NAMED for name in hinted}


def of_caption(text: str, captions: Sequence[str]) -> dict[str, bool]:
    """Say what one caption is surely, or perhaps, about."""
    return {name: bool(THINGS[name].words & tokens(text)) for name in of_photo(captions)}


def of_label(label: str, kind: str) -> dict[str, bool]:
    """Say what a photo or a sound with this label is surely, or perhaps, about."""
    right = {name for name, thing in THINGS.items() if label in (thing.photos if kind == "photos" else thing.sounds)}
    return {name: name in right for name, thing in THINGS.items() if name in right or label in thing.hints}


# Asking ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class MediaFacts:
    """What one list was worth."""

    draw: int
    thing: str
    asked: str
    """`words`, `photo`, `sound`, or `words, no notes`."""
    wording: str
    way: str
    kinds: int
    """In so many modalities the draw has the thing."""
    ndcg: float
    shown: tuple[float, ...]
    """The shares of the kinds among the first ten."""
    right: tuple[float, ...]
    """Their shares among all that is right."""


@dataclass(frozen=True)
class Asker:
    """One draw's library, asked in one way."""

    draw: int
    library: Library
    files: Drawn
    folder: Path
    way: str

    def about(self, name: str) -> Iterator[MediaFacts]:
        """Ask everything about a thing."""
        right, hinted = self.files.right[name], self.files.hinted[name]
        for wording in WORDINGS:
            query = bindsearch.text(wording.format(name))
            k = DEEP + len(hinted) + len(NOTES)
            hits = self.library.search(query, k=k, raw=self.way == RAW)
            yield self._told(name, "words", wording, hits, right, hinted)
            yield self._told(
                name, "words, no notes", wording, hits, right - self.files.notes, hinted | self._notes(name)
            )
        for kind in KINDS[:2]:
            for path in self._askers(name, kind):
                same = {each for each in right if self._recording(each) == self._recording(path)}
                k = DEEP + len(hinted) + len(same)
                hits = self.library.similar(path, k=k, raw=self.way == RAW)
                yield self._told(name, kind.removesuffix("s"), "", hits, right - same, hinted | same)

    def _askers(self, name: str, kind: str) -> list[Path]:
        """Draw files of a kind about a thing; the same ones in every way."""
        paths = sorted(path for path in self.files.right[name] if self._kind(path) == kind)
        chance = random.Random(f"{self.draw} {name} {kind}")
        return chance.sample(paths, min(ASKING, len(paths)))

    def _notes(self, name: str) -> set[Path]:
        return self.files.notes & self.files.right[name]

    def _recording(self, path: Path) -> str:
        return self.files.recordings.get(path, str(path))

    def _kind(self, path: Path) -> str:
        return path.relative_to(self.folder).parts[0]

    def _shares(self, paths: Sequence[Path]) -> tuple[float, ...]:
        kinds = [self._kind(path) for path in paths]
        return tuple(kinds.count(kind) / max(1, len(kinds)) for kind in KINDS)

    def _told(self, name: str, asked: str, wording: str, hits: Hits, right: set[Path], aside: set[Path]) -> MediaFacts:
        """Judge a list without what lies aside."""
        judged = [hit for hit in hits if not {hit.path, *hit.copies} & aside][:DEEP]
        own = [bool({hit.path, *hit.copies} & right) for hit in judged]
        missed = [False] * (DEEP - len(own)) + [True] * (len(right) - sum(own))
        whole = np.array([own + missed])
        value = float(ndcg(whole, DEEP)[0]) if right else float("nan")
        of = self._shares(sorted(right))
        shown = self._shares([hit.path for hit in judged])
        return MediaFacts(self.draw, name, asked, wording, self.way, sum(share > 0 for share in of), value, shown, of)


def asked(source: Source, space: Space, draw: int, folder: Path) -> list[MediaFacts]:
    """Make the library of one draw, and ask it everything in all ways."""
    files = drawn(source, folder / "files", random.Random(draw))
    found: list[MediaFacts] = []
    with bindsearch.open(folder / "mixed.library", space=space) as library:
        report = library.index(folder / "files")
        for way in (FAIR, RAW, PLAIN):
            library.settings = replace(library.settings, centring=way != PLAIN)
            asker = Asker(draw, library, files, folder / "files", way)
            found += [told for name in THINGS for told in asker.about(name)]
    print(f"draw {draw}: {report.added} files, {len(found)} lists", file=sys.stderr, flush=True)
    return found


# KeyPhrase ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Table:
    """What some lists say, thing by thing. *Shape of each:* (things,)"""

    things: list[str]
    ndcg: dict[str, np.ndarray]
    unfair: dict[str, np.ndarray]
    shown: dict[str, np.ndarray]
    """*Shape of each:* (things, kinds)"""
    right: np.ndarray
    lists: int

    @classmethod
    def of(cls, told: Sequence[MediaFacts]) -> Table:
        """Average lists by thing, each draw alike."""
        things = sorted({each.thing for each in told})
        ways = sorted({each.way for each in told})
        mine = {
            (name, way): [each for each in told if (each.thing, each.way) == (name, way)]
            for name in things
            for way in ways
        }
        shown = {way: np.array([_even(mine[name, way], "shown") for name in things]) for way in ways}
        right = np.array([_even(mine[name, ways[0]], "right") for name in things])
        return cls(
            things,
            {way: np.array([_even(mine[name, way], "ndcg") for name in things]) for way in ways},
            {way: np.abs(shown[way] - right).sum(axis=1) / 2 for way in ways},
            shown,
            right,
            len(told) // len(ways),
        )


def _even(told: Sequence[MediaFacts], name: str) -> Any:
    """Average over the lists of each draw, then over draws."""
    draws = sorted({each.draw for each in told})
    return np.mean(
        [np.mean([getattr(each, name) for each in told if each.draw == draw], axis=0) for draw in draws], axis=0
    )


def interval(values: np.ndarray, *, seed: int = 0) -> tuple[float, float]:
    """Return the 95 % interval of a mean, by resampling things."""
    chance = np.random.default_rng(seed)
    means = values[chance.integers(0, len(values), (10_000, len(values)))].mean(axis=1)
    return float(np.quantile(means, 0.025)), float(np.quantile(means, 0.975))


def said(values: np.ndarray) -> str:
    low, high = interval(values)
    return f"{values.mean():.3f} ({low:.3f} to {high:.3f})"


def report(name: str, told: Sequence[MediaFacts]) -> dict[str, Any]:
    """Print what some lists say, and give it."""
    told = [each for each in told if not np.isnan(each.ndcg)]
    if not told:
        return {}
    table = Table.of(told)
    gain = table.ndcg[FAIR] - table.ndcg[RAW]
    fairer = table.unfair[FAIR] - table.unfair[RAW]
    print(f"\n{name}: {len(table.things)} things, {table.lists} lists")
    for way in (FAIR, PLAIN, RAW):
        shares = "  ".join(
            f"{kind} {share:.0%}" for kind, share in zip(KINDS, table.shown[way].mean(axis=0), strict=True)
        )
        print(f"  {way:34} nDCG@10 {said(table.ndcg[way])}; unfairness {table.unfair[way].mean():.3f}; {shares}")
    shares = "  ".join(f"{kind} {share:.0%}" for kind, share in zip(KINDS, table.right.mean(axis=0), strict=True))
    print(f"  {'among all that is right':34} {shares}")
    print(
        f"  by expectation less raw: nDCG@10 {said(gain)}, {(gain > 0).sum()} better, {(gain < 0).sum()} worse;",
        end=" ",
    )
    print(f"unfairness {said(fairer)}")
    draws = [Table.of([each for each in told if each.draw == draw]) for draw in sorted({each.draw for each in told})]
    apart = [float((draw.ndcg[FAIR] - draw.ndcg[RAW]).mean()) for draw in draws]
    print(f"  the draws' own differences: {min(apart):.3f} to {max(apart):.3f}")
    return {
        "things": table.things,
        "lists": table.lists,
        "ndcg": {way: values.tolist() for way, values in table.ndcg.items()},
        "unfair": {way: values.tolist() for way, values in table.unfair.items()},
        "gain": [float(gain.mean()), *interval(gain)],
        "fairer": [float(fairer.mean()), *interval(fairer)],
        "draws": apart,
    }


def outcome(told: Sequence[MediaFacts]) -> dict[str, Any]:
    """Print everything that the plan names, and give it."""
    three = [each for each in told if each.kinds == len(KINDS)]
    words = [each for each in three if each.asked == "words"]
    found = {"in words, things in three modalities": words}
    found |= {f"wording {wording!r}": [each for each in words if each.wording == wording] for wording in WORDINGS}
    for kind in ("photo", "sound"):
        found[f"by a {kind}, things in three modalities"] = [each for each in three if each.asked == kind]
    for kind in ("words", "photo", "sound"):
        both = [each for each in told if each.asked == kind and each.kinds == len(KINDS) - 1]
        found[f"by {kind}, things in two modalities"] = both
    alone = [each for each in told if each.asked == "words, no notes"]
    found["in words, without notes, three modalities"] = [each for each in alone if each.kinds == len(KINDS)]
    found["in words, without notes, two modalities"] = [each for each in alone if each.kinds == len(KINDS) - 1]
    return {name: report(name, lists) for name, lists in found.items()}


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, and tell."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--part", choices=("train", "dev"), default="train")
    parser.add_argument("--draws", type=int, default=10)
    parser.add_argument("--space", default="pocket")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args(argv)
    source = Source.read(given.data, given.part)
    space = Space(Known(Space.named(given.space).encoder))
    told: list[MediaFacts] = []
    for draw in range(given.draws):
        with tempfile.TemporaryDirectory() as folder:
            told += asked(source, space, draw, Path(folder).resolve())
    found = outcome(told)
    if given.json:
        given.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
