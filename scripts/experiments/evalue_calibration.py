"""Try what `expect` promises: unrelated questions, related ones, small libraries, and what it costs.

    python scripts/experiments/evalue_calibration.py DATA [--part train|dev] [--queries 1000] [--seed 0] [--keep
    FOLDER] [--plot FILE]

DATA has flickr8k, caltech101, esc50 and sounds. Libraries are made of their files with the built-in space: a mixed one,
one of photos, one of sounds, one of texts, and ten of ten files. The model of chance was chosen with `--part train`;
`--part dev` is other photos and other recordings. Unrelated questions are sentences about subjects that the collection
lacks: a subject goes if any of its words is in a label or a caption, or among the engine's own background queries.
`--cost 1000000` measures what it costs beside a search. Exit status 1 unless the share of unrelated
questions with a hit at expect <= 0.01 lies between 0.3 % and 3 % in each library. For mixed lists: trial_mixed.py.
"""

from __future__ import annotations

import argparse
import random
import re
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from bindsearch.indexes.exact import ExactIndex
from plot_evalues import Series, plot

import bindsearch
from bindsearch.calibration.background_queries import background_texts
from bindsearch.calibration.null_distribution import CalibrationOptions
from bindsearch.calibration.store import CalibrationStore
from bindsearch.evaluation.dataset import Dataset, Example
from bindsearch.evaluation.layouts import read
from bindsearch.library.library import Library
from bindsearch.query.query_vector import Component, QueryVector
from bindsearch.retrieval.candidates import BoundQuery, Candidate
from bindsearch.spaces.space import Space
from bindsearch.storage.records import RunRef
from bindsearch.types import Modality

FEWEST, MOST, FACTOR = 0.003, 0.03, 3.0
CUTS = (0.01, 0.1, 1.0, 10.0)
PHOTOS = 1_000
"""Of each set of photos, at most."""
SOME = 400
"""Unrelated questions that are asked again for each way of ordering."""
TINY, TINIES = 10, 10
KINDS = ("photos", "sounds", "texts")
OPTIONS = {
    "neither": {"centring": False, "hubness": False},
    "hubness": {"centring": False, "hubness": True},
    "centring and hubness": {"centring": True, "hubness": True},
    "centring, as it is by default": {"centring": True, "hubness": False},
}
DEEP = 10

# Unrelated questions ----------------------------------------------------------------------------------------------

SUBJECTS = """\
microscope|toaster|refrigerator|sushi|igloo|zebra|giraffe|telescope|dishwasher|photocopier|stethoscope|syringe
ultrasound|dentures|wardrobe|mattress|corkscrew|thermometer|printer|vending machine|chandler|sarcophagus
hieroglyphs|catacomb|stained glass|tapestry|porcelain|teapot|sourdough|pretzel|risotto|lasagne|gherkins|mustard
vinegar|oregano|saffron|marzipan|turbine|nuclear reactor|transistor|microchip|circuit board|oscilloscope
centrifuge|pipette|petri dish|chromosome|virus|enzyme|molecule|isotope|asteroid|supernova|galaxy|meteorite
moon landing|space station|black hole|orbit|stalactite|geyser|lava|oil refinery|coal seam|quarry|dam|aqueduct
viaduct|drawbridge|canal lock|greenhouse|vineyard|combine harvester|irrigation|fertiliser|tobacco|cotton
silk worm|loom|spindle|embroidery|corset|kimono|cufflinks|monocle|wig|perfume|nail polish|tattoo parlour
acupuncture|chiropractor|orthodontist|kidney|liver|retina|femur|appendix|migraine|insulin|penicillin|anaesthetic
asthma|diabetes|cholesterol|pneumonia|allergy|rabies|plague|quarantine|autopsy|mortuary|mortgage|bankruptcy
dividend|pension fund|customs tariff|value added tax|audit|ledger|inflation rate|currency|bond yield
insurance policy|lawsuit|plaintiff|subpoena|patent|copyright|statute|constitution|amendment|veto|referendum
embassy|monarchy|parliament|senate|ministry|bureaucracy|espionage|mutiny|crusade|guillotine|feudalism
reformation|renaissance|archbishop|rabbi|monastery|encyclical|baptism|reincarnation|theology|heresy|exorcism
astrology|alchemy|philosophy|ethics|metaphysics|logic|algebra|calculus|logarithm|theorem|polynomial|topology
geometry|statistics|algorithm|compiler|encryption|firewall|spam filter|operating system|spreadsheet formula
keyboard layout|typography|grammar|subjunctive|etymology|punctuation|haiku|sonnet|novel|biography|footnote
bibliography|encyclopedia|manuscript|parchment|calligraphy|papyrus|economics|sociology|anthropology|archaeology
linguistics|psychoanalysis|amnesia|hypnosis|nightmare|jealousy|nostalgia|ambition|remorse|bureaucrat|landlord
accountant|notary|actuary|lexicographer|philatelist|radiologist|geneticist|surgeon|pharmacist|plumber
electrician|upholsterer|locksmith|blacksmith|watchmaker|glassblower|beekeeper|undertaker|auctioneer\
""".replace("\n", "|").split("|")
DONE = """\
was repaired in the cellar|is older than anybody thought|costs more than last year|stands on the shelf
was never mentioned again|had to be explained twice|is kept under lock and key|arrived too late
fills three volumes|was invented by accident|is the topic of the seminar|has been sold at auction|needs a permit
was described in detail|came up at the hearing|is being cleaned|caused a long dispute|was replaced last week
belongs to my aunt|is on display until March\
""".replace("\n", "|").split("|")
FORMS = (
    "the {a} {done}",
    "a {a} beside a {b}",
    "a close-up of a {a}",
    "an article about {a} and {b}",
    "how {a} changed {b}",
    "the {a} and the {b} {done}",
    "what everybody should know about {a}",
    "someone is looking for a {a}",
    "my {a} {done}",
    "{a}",
)
STEM = re.compile(r"(?:ies|es|s|y)$")


def words_of(text: str) -> set[str]:
    """Return the words of a text, without what makes them plural."""
    return {STEM.sub("", word) for word in re.findall(r"[a-z]+", text.lower())}


def unrelated(count: int, *, known: Iterable[str], seed: int) -> list[str]:
    """Make sentences on subjects of which nothing that is known has any word."""
    taken = set().union(*map(words_of, (*known, *background_texts())))
    subjects = [subject for subject in SUBJECTS if not words_of(subject) & taken]
    print(f"{len(subjects)} of {len(SUBJECTS)} subjects are foreign to the collection")
    chance, made = random.Random(seed), dict[str, None]()
    while len(made) < count:
        a, b = chance.sample(subjects, 2)
        made[chance.choice(FORMS).format(a=a, b=b, done=chance.choice(DONE))] = None
    return list(made)


# Collections ------------------------------------------------------------------------------------------------------


NOTED = (
    *("dog", "helicopter", "airplane", "rooster", "clock", "sea", "rain", "baby", "bird", "cat", "train", "motorbike"),
    *("fire", "laughing", "computer", "cow", "church", "frog"),
)
"""Things that there are notes about."""
NOTES = (
    "We noticed the {} again this morning, before anybody else was up.",
    "About the {}: it was closer than yesterday, and it stayed longer.",
    "In the story that she told there was a {}, as always.",
)


@dataclass(frozen=True)
class Files:
    """A collection on disk, and what is known of each file."""

    folder: Path
    paths: set[Path]
    captions: dict[str, Path]
    """Sentences that describe one photo."""
    labels: dict[str, set[Path]]
    known: list[str]
    """All labels and captions."""


def chosen(path: Path, part: str, most: int | None = None) -> list[tuple[Dataset, Example]]:
    """Return the examples of one part of a data set, spread evenly over it."""
    found = []
    for dataset in read([path]):
        mine = [example for example in dataset.examples if example.held_out == (part == "dev")]
        step = 1 if most is None else max(1, -(-len(mine) // most))
        found += [(dataset, example) for example in mine[::step]]
    return found


def collect(data: Path, folder: Path, part: str) -> Files:
    """Write a collection: photos, sounds, and texts; half of the captioned photos are there by their captions only."""
    files = Files(folder, set(), {}, {}, [])
    for place, (_, example) in enumerate(chosen(data / "flickr8k", part, PHOTOS)):
        files.known.extend(example.words)
        if place % 2:
            files.captions[example.words[place % len(example.words)]] = put(files, "photos/told", example)
        else:
            write(files, folder / "texts" / f"{Path(example.media.name).stem}.txt", example.words[0].encode())
    for kind in ("caltech101", "esc50"):
        for _, example in chosen(data / kind, part, PHOTOS):
            label = example.words[0]
            under = "photos" if kind == "caltech101" else "sounds"
            path = put(files, f"{under}/{label.replace(' ', '_')}", example)
            files.labels.setdefault(label, set()).add(path)
            files.known.append(label)
    for named in sorted((data / "sounds").iterdir()):
        for dataset, example in chosen(named, part):
            files.known.extend(example.words)
            if dataset.modality == Modality.AUDIO:
                put(files, f"sounds/{named.name}", example)
    for name in NOTED:
        for number, note in enumerate(NOTES):
            write(files, folder / "texts" / f"{name}{number}.txt", note.format(name).encode())
    return files


def put(files: Files, under: str, example: Example) -> Path:
    """Unpack one medium."""
    return write(files, files.folder / under / example.media.name, example.media.read())


def write(files: Files, path: Path, content: bytes) -> Path:
    """Write one file of the collection, unless it is there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        path.write_bytes(content)
    files.paths.add(path)
    return path


def indexed(library: Path, space: Space, folder: Path) -> Library:
    """Open a library of a folder."""
    opened = bindsearch.open(library, space=space)
    report = opened.index(folder)
    print(f"{library.name}: {report.added} added, {len(opened)} items")
    return opened


# Measuring --------------------------------------------------------------------------------------------------------


def first_expectations(library: Library, sentences: Sequence[str]) -> np.ndarray:
    """Return the expectation of the first hit of each sentence, ascending."""
    return np.sort([library.search(bindsearch.text(sentence), k=1)[0].expect for sentence in sentences])


def shares(found: np.ndarray) -> str:
    """Say which share of questions has a hit at some expectations."""
    return "  ".join(f"<= {cut:g}: {100 * (found <= cut).mean():.2f} %" for cut in (0.001, 0.01, 0.1, 0.5, 1.0))


def kept(library: Library, asked: Sequence[tuple[str, set[Path]]]) -> tuple[float, dict[float, float]]:
    """Return the recall among the first ten, and the share of it that is left at some cuts."""
    whole, left = 0.0, dict.fromkeys(CUTS, 0.0)
    for words, right in asked:
        hits = library.search(bindsearch.text(words), k=DEEP)
        good = [hit.expect for hit in hits if right & {hit.path, *hit.copies}]
        of = min(DEEP, len(right))
        whole += len(good) / of
        for cut in CUTS:
            left[cut] += sum(expect <= cut for expect in good) / of
    return whole / len(asked), {cut: value / whole for cut, value in left.items()}


# What it costs ----------------------------------------------------------------------------------------------------


class Owners:
    """As much of a ledger as is asked here: every vector is an item of its own."""

    def position(self) -> int:
        return 1

    def owner_of(self, segment: int) -> int:
        return segment

    def runs_of(self, item: int) -> tuple[RunRef, ...]:
        return tuple(RunRef(item, modality, 1) for modality in Modality)


def cost(count: int, dim: int = 256) -> None:
    """Print what expectations cost a question, beside the search itself, in made-up vectors of all modalities."""
    chance = np.random.default_rng(0)
    snapshot, indexes = Owners(), {}
    for modality in Modality:
        rows = chance.standard_normal((count // len(Modality), dim), dtype=np.float32)
        indexes[modality] = ExactIndex(dim)
        indexes[modality].add(np.arange(len(rows)), rows / np.linalg.norm(rows, axis=1, keepdims=True))
    words = chance.standard_normal((len(background_texts()), dim), dtype=np.float32) + 1
    words /= np.linalg.norm(words, axis=1, keepdims=True)
    with tempfile.TemporaryDirectory() as folder:
        store, kinds = CalibrationStore(Path(folder), dim=dim, texts=lambda: words), frozenset({Modality.TEXT})
        fit = timed(lambda: store.at(snapshot, indexes, kinds, CalibrationOptions()), turns=1)
        again = CalibrationStore(Path(folder), dim=dim, texts=lambda: words)
        read = timed(lambda: again.at(snapshot, indexes, kinds, CalibrationOptions()), turns=1)
        vector = QueryVector(words[0], (Component(1.0, Modality.TEXT, words[0]),))

        def judge() -> None:
            calibration = store.at(snapshot, indexes, kinds, CalibrationOptions())
            query = calibration.calibrate(vector, searched={kind: len(index) for kind, index in indexes.items()})
            probe = BoundQuery(query, raw=False, own_item=None)
            for modality in Modality:
                for segment in range(DEEP):
                    probe.from_index(segment, segment, modality, score=0.1)
            for segment in range(DEEP):
                probe.completed(Candidate(0, segment, 0.1, 1.0, 1.0), Modality.IMAGE, row=words[segment])

        judged = timed(judge, turns=200)
        search = timed(lambda: [index.search(words[:1], 4 * DEEP + 16) for index in indexes.values()], turns=10)
    print(f"{count:,} vectors of {dim}: a search {search:.1f} ms, expectations {judged:.2f} ms beside it;")
    print(f"to fit them once {fit:.0f} ms, to read what was fitted {read:.1f} ms")


def timed(action: Callable[[], object], *, turns: int) -> float:
    """Return the median time of an action, in milliseconds."""
    times = []
    for _ in range(turns):
        start = time.perf_counter()
        action()
        times.append(time.perf_counter() - start)
    return 1e3 * statistics.median(times)


def main() -> int:
    parser = argparse.ArgumentParser(description="try what expectations promise")
    parser.add_argument("data", type=Path, nargs="?")
    parser.add_argument("--cost", type=int, metavar="N", help="measure what it costs among N made-up vectors, only")
    parser.add_argument("--part", choices=("train", "dev"), default="train")
    parser.add_argument("--queries", type=int, default=1_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="folder for files and libraries, used again if it is there")
    parser.add_argument("--plot", type=Path, help="picture to write")
    given = parser.parse_args()
    if given.cost:
        cost(given.cost)
        return 0
    if given.data is None:
        parser.error("say where the data is")
    with tempfile.TemporaryDirectory() as temporary:
        home = (given.keep or Path(temporary)).resolve() / given.part
        return trial(given, home)


def trial(given: argparse.Namespace, home: Path) -> int:
    """Make the libraries, and measure."""
    files = collect(given.data, home / "files", given.part)
    strangers = unrelated(given.queries, known=files.known, seed=given.seed)
    space = bindsearch.space("pocket")
    libraries = {"mixed": indexed(home / "mixed.library", space, files.folder)}
    libraries |= {name: indexed(home / f"{name}.library", space, files.folder / name) for name in KINDS}
    found = {name: first_expectations(library, strangers) for name, library in libraries.items()}
    found[f"{TINIES} of {TINY} files"] = np.sort(np.concatenate(list(tinies(home, files, strangers, given.seed))))
    print("\nunrelated questions with a hit at expect")
    for name, values in found.items():
        print(f"  {name:14} {shares(values)}")
    if given.plot:
        plot([Series(name, values) for name, values in found.items()], given.plot, factor=FACTOR)
    for name, changes in OPTIONS.items():
        for library in libraries.values():
            library.settings = replace(library.settings, **changes)
        print(f"\n{name}")
        print(f"  unrelated      {shares(first_expectations(libraries['mixed'], strangers[:SOME]))}")
        related(libraries, files)
    wrong = [name for name, values in found.items() if not FEWEST <= (values <= 0.01).mean() <= MOST]
    if wrong:
        print(f"\nnot between {FEWEST:.1%} and {MOST:.1%}: {', '.join(wrong)}")
    return 1 if wrong else 0


def related(libraries: Mapping[str, Library], files: Files) -> None:
    """Print what is found by captions and names of classes, and what of it is left at some cuts."""
    of = {kind: {name: paths for name, paths in files.labels.items() if under(paths, kind)} for kind in KINDS}
    for name, kind, asked in (
        ("captions", "photos", [(words, {path}) for words, path in files.captions.items()]),
        ("photo classes", "photos", list(of["photos"].items())),
        ("sound classes", "sounds", list(of["sounds"].items())),
    ):
        whole, left = kept(libraries[kind], asked)
        cuts = "  ".join(f"<= {cut:g}: {part:.1%}" for cut, part in left.items())
        print(f"  {name:14} {len(asked):4} questions, R@10 {whole:.3f}; of it at {cuts}")


def under(paths: set[Path], kind: str) -> bool:
    return any(kind in path.parts for path in paths)


def tinies(home: Path, files: Files, sentences: Sequence[str], seed: int) -> Iterable[np.ndarray]:
    """Return expectations in libraries of ten files each, each asked a part of the sentences."""
    chance, paths = random.Random(seed), sorted(files.paths)
    for number in range(TINIES):
        with bindsearch.open(home / f"tiny{number}.library") as library:
            library.index(chance.sample(paths, TINY))
            yield first_expectations(library, sentences[number::TINIES])


if __name__ == "__main__":
    sys.exit(main())
