"""Test the calibration of E-values: unrelated queries, related queries, small libraries, and the cost.

    python scripts/experiments/evalue_calibration.py DATA [--part train|dev] [--queries 1000] [--seed 0]
        [--keep FOLDER] [--plot FILE]

DATA has flickr8k, caltech101, esc50 and sounds. Their files are indexed with the built-in space: one mixed library, one
of photos, one of sounds, one of texts, ten of ten files. The null model was chosen with `--part train`; `--part dev`
has other photos and other recordings. Unrelated queries are sentences about subjects that the collection lacks: a
subject is dropped if any of its words is in a label, a caption or the engine's own background queries.
`--cost 1000000` measures the cost, compared with a search. The exit status is 1 unless the share of unrelated queries
with a hit at an E-value of at most 0.01 lies between 0.3 % and 3 % in every library. For mixed lists: mixed_lists.py.
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

MIN_SHARE, MAX_SHARE = 0.003, 0.03
"""Limits of the share of unrelated queries with a hit at 0.01."""
PLOT_FACTOR = 3.0
"""Deviations from the ideal that the plot shades."""
CUTOFFS = (0.01, 0.1, 1.0, 10.0)
MAX_PHOTOS = 1_000
"""Photos of each data set."""
REPEATED_QUERIES = 400
"""Unrelated queries that are repeated with each of `OPTIONS`."""
SMALL_LIBRARIES, SMALL_LIBRARY_FILES = 10, 10
KINDS = ("photos", "sounds", "texts")
OPTIONS = {
    "neither": {"centring": False, "hubness": False},
    "hubness": {"centring": False, "hubness": True},
    "centring and hubness": {"centring": True, "hubness": True},
    "centring, the default": {"centring": True, "hubness": False},
}
K = 10

# Unrelated queries ----------------------------------------------------------------------------------------------

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
PREDICATES = """\
was repaired in the cellar|is older than anybody thought|costs more than last year|stands on the shelf
was never mentioned again|had to be explained twice|is kept under lock and key|arrived too late
fills three volumes|was invented by accident|is the topic of the seminar|has been sold at auction|needs a permit
was described in detail|came up at the hearing|is being cleaned|caused a long dispute|was replaced last week
belongs to my aunt|is on display until March\
""".replace("\n", "|").split("|")
TEMPLATES = (
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
PLURAL_SUFFIX = re.compile(r"(?:ies|es|s|y)$")


def words_of(text: str) -> set[str]:
    """Return the words of a text without plural endings."""
    return {PLURAL_SUFFIX.sub("", word) for word in re.findall(r"[a-z]+", text.lower())}


def unrelated(count: int, *, known: Iterable[str], seed: int) -> list[str]:
    """Return sentences about subjects that share no word with the known labels and captions."""
    known_words = set().union(*map(words_of, (*known, *background_texts())))
    subjects = [subject for subject in SUBJECTS if not words_of(subject) & known_words]
    print(f"{len(subjects)} of {len(SUBJECTS)} subjects do not occur in the collection")
    rng, made = random.Random(seed), dict[str, None]()
    while len(made) < count:
        a, b = rng.sample(subjects, 2)
        made[rng.choice(TEMPLATES).format(a=a, b=b, done=rng.choice(PREDICATES))] = None
    return list(made)


# Collections ------------------------------------------------------------------------------------------------------


NOTE_SUBJECTS = (
    *("dog", "helicopter", "airplane", "rooster", "clock", "sea", "rain", "baby", "bird", "cat", "train", "motorbike"),
    *("fire", "laughing", "computer", "cow", "church", "frog"),
)
"""Things about which notes are written."""
NOTES = (
    "We noticed the {} again this morning, before anybody else was up.",
    "About the {}: it was closer than yesterday, and it stayed longer.",
    "In the story that she told there was a {}, as always.",
)


@dataclass(frozen=True)
class Collection:
    """A collection on disk, with its captions and labels."""

    folder: Path
    paths: set[Path]
    captions: dict[str, Path]
    """The photo that each sentence describes."""
    labels: dict[str, set[Path]]
    known: list[str]
    """All labels and captions."""


def select_examples(path: Path, part: str, limit: int | None = None) -> list[tuple[Dataset, Example]]:
    """Return the examples of one part of a data set, spread evenly over it."""
    selected = []
    for dataset in read([path]):
        examples = [example for example in dataset.examples if example.held_out == (part == "dev")]
        step = 1 if limit is None else max(1, -(-len(examples) // limit))
        selected += [(dataset, example) for example in examples[::step]]
    return selected


def write_collection(data: Path, folder: Path, part: str) -> Collection:
    """Write photos, sounds and texts; of half of the captioned photos, write a caption only."""
    files = Collection(folder, set(), {}, {}, [])
    for place, (_, example) in enumerate(select_examples(data / "flickr8k", part, MAX_PHOTOS)):
        files.known.extend(example.words)
        if place % 2:
            files.captions[example.words[place % len(example.words)]] = extract(files, "photos/captioned", example)
        else:
            write(files, folder / "texts" / f"{Path(example.media.name).stem}.txt", example.words[0].encode())
    for kind in ("caltech101", "esc50"):
        for _, example in select_examples(data / kind, part, MAX_PHOTOS):
            label = example.words[0]
            under = "photos" if kind == "caltech101" else "sounds"
            path = extract(files, f"{under}/{label.replace(' ', '_')}", example)
            files.labels.setdefault(label, set()).add(path)
            files.known.append(label)
    for named in sorted((data / "sounds").iterdir()):
        for dataset, example in select_examples(named, part):
            files.known.extend(example.words)
            if dataset.modality == Modality.AUDIO:
                extract(files, f"sounds/{named.name}", example)
    for name in NOTE_SUBJECTS:
        for number, note in enumerate(NOTES):
            write(files, folder / "texts" / f"{name}{number}.txt", note.format(name).encode())
    return files


def extract(files: Collection, under: str, example: Example) -> Path:
    """Write the media file of an example."""
    return write(files, files.folder / under / example.media.name, example.media.read())


def write(files: Collection, path: Path, content: bytes) -> Path:
    """Write one file of the collection, unless it exists."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        path.write_bytes(content)
    files.paths.add(path)
    return path


def build_library(library: Path, space: Space, folder: Path) -> Library:
    """Create a library and index a folder."""
    opened = bindsearch.open(library, space=space)
    report = opened.index(folder)
    print(f"{library.name}: {report.added} added, {len(opened)} items")
    return opened


# Measuring --------------------------------------------------------------------------------------------------------


def first_evalues(library: Library, sentences: Sequence[str]) -> np.ndarray:
    """Return the E-value of the first hit of each sentence, in ascending order."""
    return np.sort([library.search(bindsearch.text(sentence), k=1)[0].expect for sentence in sentences])


def format_shares(evalues: np.ndarray) -> str:
    """Format the shares of queries with a hit at several cutoffs."""
    return "  ".join(
        f"<= {cutoff:g}: {100 * (evalues <= cutoff).mean():.2f} %" for cutoff in (0.001, 0.01, 0.1, 0.5, 1.0)
    )


def recall_at_cutoffs(library: Library, queries: Sequence[tuple[str, set[Path]]]) -> tuple[float, dict[float, float]]:
    """Return R@10, and the share of it that remains when hits are cut off at an E-value."""
    total, remaining = 0.0, dict.fromkeys(CUTOFFS, 0.0)
    for words, relevant in queries:
        hits = library.search(bindsearch.text(words), k=K)
        evalues = [hit.expect for hit in hits if relevant & {hit.path, *hit.copies}]
        possible = min(K, len(relevant))
        total += len(evalues) / possible
        for cutoff in CUTOFFS:
            remaining[cutoff] += sum(evalue <= cutoff for evalue in evalues) / possible
    return total / len(queries), {cutoff: value / total for cutoff, value in remaining.items()}


# Cost ----------------------------------------------------------------------------------------------------


class OneSegmentItems:
    """The part of a ledger snapshot that calibration uses: every vector is an item of its own."""

    def position(self) -> int:
        return 1

    def owner_of(self, segment: int) -> int:
        return segment

    def runs_of(self, item: int) -> tuple[RunRef, ...]:
        return tuple(RunRef(item, modality, 1) for modality in Modality)


def print_cost(count: int, dim: int = 256) -> None:
    """Print the cost of E-values per query, and that of the search, on random vectors of all modalities."""
    rng = np.random.default_rng(0)
    snapshot, indexes = OneSegmentItems(), {}
    for modality in Modality:
        rows = rng.standard_normal((count // len(Modality), dim), dtype=np.float32)
        indexes[modality] = ExactIndex(dim)
        indexes[modality].add(np.arange(len(rows)), rows / np.linalg.norm(rows, axis=1, keepdims=True))
    words = rng.standard_normal((len(background_texts()), dim), dtype=np.float32) + 1
    words /= np.linalg.norm(words, axis=1, keepdims=True)
    with tempfile.TemporaryDirectory() as folder:
        store, kinds = CalibrationStore(Path(folder), dim=dim, texts=lambda: words), frozenset({Modality.TEXT})
        fit_ms = timed(lambda: store.at(snapshot, indexes, kinds, CalibrationOptions()), turns=1)
        again = CalibrationStore(Path(folder), dim=dim, texts=lambda: words)
        read_ms = timed(lambda: again.at(snapshot, indexes, kinds, CalibrationOptions()), turns=1)
        vector = QueryVector(words[0], (Component(1.0, Modality.TEXT, words[0]),))

        def compute_evalues() -> None:
            calibration = store.at(snapshot, indexes, kinds, CalibrationOptions())
            query = calibration.calibrate(vector, searched={kind: len(index) for kind, index in indexes.items()})
            probe = BoundQuery(query, raw=False, own_item=None)
            for modality in Modality:
                for segment in range(K):
                    probe.from_index(segment, segment, modality, score=0.1)
            for segment in range(K):
                probe.completed(Candidate(0, segment, 0.1, 1.0, 1.0), Modality.IMAGE, row=words[segment])

        evalue_ms = timed(compute_evalues, turns=200)
        search_ms = timed(lambda: [index.search(words[:1], 4 * K + 16) for index in indexes.values()], turns=10)
    print(f"{count:,} vectors of {dim}: a search takes {search_ms:.1f} ms, E-values {evalue_ms:.2f} ms more;")
    print(f"fitting the calibration once takes {fit_ms:.0f} ms, reading it {read_ms:.1f} ms")


def timed(action: Callable[[], object], *, turns: int) -> float:
    """Return the median time of an action, in milliseconds."""
    times = []
    for _ in range(turns):
        start = time.perf_counter()
        action()
        times.append(time.perf_counter() - start)
    return 1e3 * statistics.median(times)


def main() -> int:
    parser = argparse.ArgumentParser(description="Test the calibration of E-values.")
    parser.add_argument("data", type=Path, nargs="?", help="folder with flickr8k, caltech101, esc50, sounds")
    parser.add_argument("--cost", type=int, metavar="N", help="only measure the cost, on N random vectors")
    parser.add_argument("--part", choices=("train", "dev"), default="train")
    parser.add_argument("--queries", type=int, default=1_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="folder for files and libraries, reused if it exists")
    parser.add_argument("--plot", type=Path, help="PNG file to write")
    args = parser.parse_args()
    if args.cost:
        print_cost(args.cost)
        return 0
    if args.data is None:
        parser.error("DATA is required")
    with tempfile.TemporaryDirectory() as temporary:
        home = (args.keep or Path(temporary)).resolve() / args.part
        return measure(args, home)


def measure(args: argparse.Namespace, home: Path) -> int:
    """Build the libraries, measure, and return the exit status."""
    files = write_collection(args.data, home / "files", args.part)
    queries = unrelated(args.queries, known=files.known, seed=args.seed)
    space = bindsearch.space("pocket")
    libraries = {"mixed": build_library(home / "mixed.library", space, files.folder)}
    libraries |= {name: build_library(home / f"{name}.library", space, files.folder / name) for name in KINDS}
    evalues = {name: first_evalues(library, queries) for name, library in libraries.items()}
    evalues[f"{SMALL_LIBRARIES} of {SMALL_LIBRARY_FILES} files"] = np.sort(
        np.concatenate(list(small_libraries(home, files, queries, args.seed)))
    )
    print("\nunrelated queries with a hit at an E-value")
    for name, values in evalues.items():
        print(f"  {name:14} {format_shares(values)}")
    if args.plot:
        plot([Series(name, values) for name, values in evalues.items()], args.plot, factor=PLOT_FACTOR)
    for name, changes in OPTIONS.items():
        for library in libraries.values():
            library.settings = replace(library.settings, **changes)
        print(f"\n{name}")
        print(f"  unrelated      {format_shares(first_evalues(libraries['mixed'], queries[:REPEATED_QUERIES]))}")
        print_related(libraries, files)
    wrong = [name for name, values in evalues.items() if not MIN_SHARE <= (values <= 0.01).mean() <= MAX_SHARE]
    if wrong:
        print(f"\nnot between {MIN_SHARE:.1%} and {MAX_SHARE:.1%}: {', '.join(wrong)}")
    return 1 if wrong else 0


def print_related(libraries: Mapping[str, Library], files: Collection) -> None:
    """Print the recall of captions and class names, and how much of it remains at each cutoff."""
    classes = {kind: {name: paths for name, paths in files.labels.items() if is_under(paths, kind)} for kind in KINDS}
    for name, kind, kind_queries in (
        ("captions", "photos", [(words, {path}) for words, path in files.captions.items()]),
        ("photo classes", "photos", list(classes["photos"].items())),
        ("sound classes", "sounds", list(classes["sounds"].items())),
    ):
        recall, remaining = recall_at_cutoffs(libraries[kind], kind_queries)
        shares = "  ".join(f"<= {cutoff:g}: {share:.1%}" for cutoff, share in remaining.items())
        print(f"  {name:14} {len(kind_queries):4} queries, R@10 {recall:.3f}; share that remains at {shares}")


def is_under(paths: set[Path], kind: str) -> bool:
    return any(kind in path.parts for path in paths)


def small_libraries(home: Path, files: Collection, sentences: Sequence[str], seed: int) -> Iterable[np.ndarray]:
    """Yield the E-values of ten libraries of ten files, each queried with a tenth of the sentences."""
    rng, paths = random.Random(seed), sorted(files.paths)
    for number in range(SMALL_LIBRARIES):
        with bindsearch.open(home / f"small{number}.library") as library:
            library.index(rng.sample(paths, SMALL_LIBRARY_FILES))
            yield first_evalues(library, sentences[number::SMALL_LIBRARIES])


if __name__ == "__main__":
    sys.exit(main())
