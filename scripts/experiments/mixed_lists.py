"""Compare mixed result lists ordered by E-value with those ordered by raw score: quality, and fairness to modalities.

    python scripts/experiments/mixed_lists.py DATA [--part train|dev] [--draws 10] [--json FILE]

DATA has flickr8k, caltech101, esc50 and sounds. The protocol below was written, and tried with `--part train`, before
anything was measured on held-out media (`--part dev`). Nothing was chosen by the outcome.

*Topics*: all of `TOPICS`. A photo is relevant to a topic if two of its five captions name the topic, or its label does;
a caption if it names the topic itself; a sound by its label. What only one caption names, or a word that hints at the
topic, is neither relevant nor irrelevant: it is removed from lists before they are judged. Three notes about each topic
are texts, too.

*Libraries*: several seeded draws. Every photo with captions is in a draw either as a photo or as one of its captions;
of the other photos and of the sounds, three in four are drawn.

*Queries*: eight wordings of every topic's name; and, as queries by example, up to three photos and three sounds of each
topic that the library has (themselves, and clips of their recording, are removed from the lists).

*Measures*: nDCG@10, and unfairness: half the sum of the absolute differences between the modalities' shares among the
first ten and among all that is relevant (0 if they are equal). Both are averaged over draws and queries for each topic;
the 95 % intervals come from resampling topics.

*Primary outcome*: the difference of nDCG@10, by E-value minus raw, for queries in words about topics of which a draw
has photos, sounds and texts. All other figures are secondary: each wording, queries by photo and by sound, topics in
two modalities, lists without the notes, and without centring.
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

K = 10
DRAWN_SHARE = 0.75
"""Share of the photos without captions, and of the sounds, that are in a draw."""
EXAMPLE_QUERIES = 3
"""Photos, and sounds, that are queries for a topic in a draw."""
MIN_CAPTIONS = 2
"""Captions that must name a topic for a photo to be relevant."""
MAX_PHOTOS = 1_000
"""Photos of each data set."""
KINDS = ("photos", "sounds", "texts")
RAW, BY_EVALUE, UNCENTRED = "raw", "by E-value", "by E-value, without centring"
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

_TOPIC_TABLE = """\
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
class Topic:
    """Caption words, photo labels and sound labels that name a topic; and words and labels that hint at it."""

    words: frozenset[str]
    photos: frozenset[str] = frozenset()
    sounds: frozenset[str] = frozenset()
    hints: frozenset[str] = frozenset()

    @classmethod
    def read(cls, line: str) -> Topic:
        """Parse the columns of a line of the table."""
        words, *labels = line.split("|")
        return cls(frozenset(words.split()), *(frozenset(map(str.strip, part.split(","))) - {""} for part in labels))


TOPICS: Mapping[str, Topic] = {
    name: Topic.read(rest) for name, _, rest in (line.partition(":") for line in _TOPIC_TABLE.splitlines())
}


class CachingEncoder:
    """An encoder that caches its vectors, as the draws have most of their files in common."""

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
class Draw:
    """The files of one draw, and the topics that they are relevant to."""

    relevant: dict[str, set[Path]] = field(default_factory=lambda: {name: set() for name in TOPICS})
    hinted: dict[str, set[Path]] = field(default_factory=lambda: {name: set() for name in TOPICS})
    """Files that are neither relevant nor irrelevant to each topic."""
    notes: set[Path] = field(default_factory=set)
    recordings: dict[Path, str] = field(default_factory=dict)

    def add(self, path: Path, content: bytes, topics: Mapping[str, bool]) -> None:
        """Write a file; `topics` maps topics to whether it is relevant (true) or hints at them."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        for name, relevant in topics.items():
            (self.relevant if relevant else self.hinted)[name].add(path)


@dataclass(frozen=True)
class Source:
    """All media of one part of the data."""

    captioned: list[Example]
    labelled: list[Example]
    sounds: list[tuple[str, Example]]
    """With the names of their collections."""

    @classmethod
    def read(cls, data: Path, part: str) -> Source:
        """Read the held-out media (`dev`), or those that were trained on."""
        named = [
            (folder.name, example)
            for folder in (data / "esc50", *sorted((data / "sounds").iterdir()))
            for dataset in read([folder])
            if dataset.modality == Modality.AUDIO
            for example in select_examples(dataset, part)
        ]
        photos = (
            select_examples(dataset, part, MAX_PHOTOS)
            for kind in ("flickr8k", "caltech101")
            for dataset in read([data / kind])
        )
        return cls(*photos, named)


def select_examples(dataset: Dataset, part: str, limit: int | None = None) -> list[Example]:
    """Return the examples of one part of a data set, spread evenly over it."""
    examples = [example for example in dataset.examples if example.held_out == (part == "dev")]
    return examples[:: 1 if limit is None else max(1, -(-len(examples) // limit))]


def write_draw(source: Source, folder: Path, rng: random.Random) -> Draw:
    """Write the files of one draw."""
    files = Draw()
    for example in source.captioned:
        stem, place = Path(example.media.name).stem, rng.randrange(len(example.words))
        if rng.random() < 0.5:
            files.add(
                folder / "photos" / "captioned" / example.media.name,
                example.media.read(),
                topics_of_photo(example.words),
            )
        else:
            text = example.words[place]
            files.add(folder / "texts" / f"{stem}.txt", text.encode(), topics_of_caption(text, example.words))
    for example in source.labelled:
        if rng.random() < DRAWN_SHARE:
            label = example.words[0]
            topics = topics_of_label(label, "photos")
            files.add(folder / "photos" / label.replace(" ", "_") / example.media.name, example.media.read(), topics)
    for collection, example in source.sounds:
        if rng.random() < DRAWN_SHARE:
            path = folder / "sounds" / collection / example.media.name
            files.add(path, example.media.read(), topics_of_label(example.words[0], "sounds"))
            files.recordings[path] = f"{collection}/{example.recording}"
    for name in TOPICS:
        for number, note in enumerate(NOTES):
            path = folder / "texts" / f"{name.replace(' ', '_')}{number}.txt"
            files.add(path, note.format(name).encode(), {name: True})
            files.notes.add(path)
    return files


def tokens(text: str) -> set[str]:
    return set(re.findall(r"[a-z]+", text.lower()))


def topics_of_photo(captions: Sequence[str]) -> dict[str, bool]:
    """Return the topics of a photo with these captions: true if it is relevant, false if it hints at them."""
    words = [tokens(caption) for caption in captions]
    named = {name: sum(bool(topic.words & each) for each in words) for name, topic in TOPICS.items()}
    hinted = {name for name, topic in TOPICS.items() if any((topic.words | topic.hints) & each for each in words)}
    return {name: named[name] >= MIN_CAPTIONS for name in hinted}


def topics_of_caption(text: str, captions: Sequence[str]) -> dict[str, bool]:
    """Return the topics of one of a photo's captions, as `topics_of_photo` does."""
    return {name: bool(TOPICS[name].words & tokens(text)) for name in topics_of_photo(captions)}


def topics_of_label(label: str, kind: str) -> dict[str, bool]:
    """Return the topics of a photo or a sound with this label, as `topics_of_photo` does."""
    relevant = {name for name, topic in TOPICS.items() if label in (topic.photos if kind == "photos" else topic.sounds)}
    return {name: name in relevant for name, topic in TOPICS.items() if name in relevant or label in topic.hints}


# Queries ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class JudgedList:
    """The measures of one result list."""

    draw: int
    topic: str
    query_kind: str
    """`words`, `photo`, `sound`, or `words, no notes`."""
    wording: str
    order: str
    """One of `RAW`, `BY_EVALUE`, `UNCENTRED`."""
    kinds: int
    """The number of modalities that are relevant in this draw."""
    ndcg: float
    shown: tuple[float, ...]
    """The share of each of `KINDS` among the first ten."""
    relevant: tuple[float, ...]
    """Their shares among all that is relevant."""


@dataclass(frozen=True)
class DrawQueries:
    """The queries to the library of one draw, with one order of results."""

    draw: int
    library: Library
    files: Draw
    folder: Path
    order: str

    def run(self, name: str) -> Iterator[JudgedList]:
        """Run all queries for a topic."""
        relevant, hinted = self.files.relevant[name], self.files.hinted[name]
        for wording in WORDINGS:
            query = bindsearch.text(wording.format(name))
            k = K + len(hinted) + len(NOTES)
            hits = self.library.search(query, k=k, raw=self.order == RAW)
            yield self._judge(name, "words", wording, hits, relevant, hinted)
            yield self._judge(
                name, "words, no notes", wording, hits, relevant - self.files.notes, hinted | self._notes(name)
            )
        for kind in KINDS[:2]:
            for path in self._examples(name, kind):
                same = {each for each in relevant if self._recording(each) == self._recording(path)}
                k = K + len(hinted) + len(same)
                hits = self.library.similar(path, k=k, raw=self.order == RAW)
                yield self._judge(name, kind.removesuffix("s"), "", hits, relevant - same, hinted | same)

    def _examples(self, name: str, kind: str) -> list[Path]:
        """Draw relevant files of a kind; the same ones for every order of results."""
        paths = sorted(path for path in self.files.relevant[name] if self._kind(path) == kind)
        rng = random.Random(f"{self.draw} {name} {kind}")
        return rng.sample(paths, min(EXAMPLE_QUERIES, len(paths)))

    def _notes(self, name: str) -> set[Path]:
        return self.files.notes & self.files.relevant[name]

    def _recording(self, path: Path) -> str:
        return self.files.recordings.get(path, str(path))

    def _kind(self, path: Path) -> str:
        return path.relative_to(self.folder).parts[0]

    def _shares(self, paths: Sequence[Path]) -> tuple[float, ...]:
        kinds = [self._kind(path) for path in paths]
        return tuple(kinds.count(kind) / max(1, len(kinds)) for kind in KINDS)

    def _judge(
        self, name: str, query_kind: str, wording: str, hits: Hits, relevant: set[Path], ignored: set[Path]
    ) -> JudgedList:
        """Judge a list without the ignored files."""
        judged = [hit for hit in hits if not {hit.path, *hit.copies} & ignored][:K]
        hit_relevance = [bool({hit.path, *hit.copies} & relevant) for hit in judged]
        missed = [False] * (K - len(hit_relevance)) + [True] * (len(relevant) - sum(hit_relevance))
        value = float(ndcg(np.array([hit_relevance + missed]), K)[0]) if relevant else float("nan")
        relevant_shares = self._shares(sorted(relevant))
        shown = self._shares([hit.path for hit in judged])
        kinds = sum(share > 0 for share in relevant_shares)
        return JudgedList(self.draw, name, query_kind, wording, self.order, kinds, value, shown, relevant_shares)


def run_draw(source: Source, space: Space, draw: int, folder: Path) -> list[JudgedList]:
    """Build the library of one draw, and run all queries with every order of results."""
    files = write_draw(source, folder / "files", random.Random(draw))
    lists: list[JudgedList] = []
    with bindsearch.open(folder / "mixed.library", space=space) as library:
        report = library.index(folder / "files")
        for order in (BY_EVALUE, RAW, UNCENTRED):
            library.settings = replace(library.settings, centring=order != UNCENTRED)
            queries = DrawQueries(draw, library, files, folder / "files", order)
            lists += [judged for name in TOPICS for judged in queries.run(name)]
    print(f"draw {draw}: {report.added} files, {len(lists)} lists", file=sys.stderr, flush=True)
    return lists


# Figures ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Table:
    """The mean measures of some lists by topic. *Shape of each array:* (topics,)"""

    topics: list[str]
    ndcg: dict[str, np.ndarray]
    unfairness: dict[str, np.ndarray]
    shown: dict[str, np.ndarray]
    """*Shape of each:* (topics, kinds)"""
    relevant: np.ndarray
    lists: int

    @classmethod
    def of(cls, lists: Sequence[JudgedList]) -> Table:
        """Average lists by topic, with the same weight for every draw."""
        topics = sorted({each.topic for each in lists})
        orders = sorted({each.order for each in lists})
        groups = {
            (name, order): [each for each in lists if (each.topic, each.order) == (name, order)]
            for name in topics
            for order in orders
        }
        shown = {order: np.array([_mean(groups[name, order], "shown") for name in topics]) for order in orders}
        relevant = np.array([_mean(groups[name, orders[0]], "relevant") for name in topics])
        return cls(
            topics,
            {order: np.array([_mean(groups[name, order], "ndcg") for name in topics]) for order in orders},
            {order: np.abs(shown[order] - relevant).sum(axis=1) / 2 for order in orders},
            shown,
            relevant,
            len(lists) // len(orders),
        )


def _mean(lists: Sequence[JudgedList], name: str) -> Any:
    """Average over the lists of each draw, then over draws."""
    draws = sorted({each.draw for each in lists})
    return np.mean(
        [np.mean([getattr(each, name) for each in lists if each.draw == draw], axis=0) for draw in draws], axis=0
    )


def interval(values: np.ndarray, *, seed: int = 0) -> tuple[float, float]:
    """Return the 95 % interval of a mean, by resampling topics."""
    rng = np.random.default_rng(seed)
    means = values[rng.integers(0, len(values), (10_000, len(values)))].mean(axis=1)
    return float(np.quantile(means, 0.025)), float(np.quantile(means, 0.975))


def format_mean(values: np.ndarray) -> str:
    low, high = interval(values)
    return f"{values.mean():.3f} ({low:.3f} to {high:.3f})"


def report(name: str, lists: Sequence[JudgedList]) -> dict[str, Any]:
    """Print and return the figures of some lists."""
    lists = [each for each in lists if not np.isnan(each.ndcg)]
    if not lists:
        return {}
    table = Table.of(lists)
    gain = table.ndcg[BY_EVALUE] - table.ndcg[RAW]
    unfairness_change = table.unfairness[BY_EVALUE] - table.unfairness[RAW]
    print(f"\n{name}: {len(table.topics)} topics, {table.lists} lists")
    for order in (BY_EVALUE, UNCENTRED, RAW):
        shares = "  ".join(
            f"{kind} {share:.0%}" for kind, share in zip(KINDS, table.shown[order].mean(axis=0), strict=True)
        )
        print(
            f"  {order:34} nDCG@10 {format_mean(table.ndcg[order])}; "
            f"unfairness {table.unfairness[order].mean():.3f}; {shares}"
        )
    shares = "  ".join(f"{kind} {share:.0%}" for kind, share in zip(KINDS, table.relevant.mean(axis=0), strict=True))
    print(f"  {'among all that is relevant':34} {shares}")
    print(
        f"  by E-value minus raw: nDCG@10 {format_mean(gain)}, {(gain > 0).sum()} better, {(gain < 0).sum()} worse;",
        end=" ",
    )
    print(f"unfairness {format_mean(unfairness_change)}")
    draws = [Table.of([each for each in lists if each.draw == draw]) for draw in sorted({each.draw for each in lists})]
    draw_gains = [float((draw.ndcg[BY_EVALUE] - draw.ndcg[RAW]).mean()) for draw in draws]
    print(f"  differences of single draws: {min(draw_gains):.3f} to {max(draw_gains):.3f}")
    return {
        "topics": table.topics,
        "lists": table.lists,
        "ndcg": {order: values.tolist() for order, values in table.ndcg.items()},
        "unfairness": {order: values.tolist() for order, values in table.unfairness.items()},
        "gain": [float(gain.mean()), *interval(gain)],
        "unfairness_change": [float(unfairness_change.mean()), *interval(unfairness_change)],
        "draw_gains": draw_gains,
    }


def report_all(lists: Sequence[JudgedList]) -> dict[str, Any]:
    """Print and return all figures of the protocol."""
    three = [each for each in lists if each.kinds == len(KINDS)]
    words = [each for each in three if each.query_kind == "words"]
    groups = {"in words, topics in three modalities": words}
    groups |= {f"wording {wording!r}": [each for each in words if each.wording == wording] for wording in WORDINGS}
    for kind in ("photo", "sound"):
        groups[f"by a {kind}, topics in three modalities"] = [each for each in three if each.query_kind == kind]
    for kind in ("words", "photo", "sound"):
        both = [each for each in lists if each.query_kind == kind and each.kinds == len(KINDS) - 1]
        groups[f"by {kind}, topics in two modalities"] = both
    without_notes = [each for each in lists if each.query_kind == "words, no notes"]
    groups["in words, without notes, three modalities"] = [each for each in without_notes if each.kinds == len(KINDS)]
    groups["in words, without notes, two modalities"] = [each for each in without_notes if each.kinds == len(KINDS) - 1]
    return {name: report(name, group) for name, group in groups.items()}


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder with flickr8k, caltech101, esc50, sounds")
    parser.add_argument("--part", choices=("train", "dev"), default="train")
    parser.add_argument("--draws", type=int, default=10)
    parser.add_argument("--space", default="pocket")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args(argv)
    source = Source.read(args.data, args.part)
    space = Space(CachingEncoder(Space.named(args.space).encoder))
    lists: list[JudgedList] = []
    for draw in range(args.draws):
        with tempfile.TemporaryDirectory() as folder:
            lists += run_draw(source, space, draw, Path(folder).resolve())
    figures = report_all(lists)
    if args.json:
        args.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
