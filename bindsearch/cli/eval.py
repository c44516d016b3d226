"""`bindsearch eval`: evaluate a space on labelled data sets."""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bindsearch.cli import eval_mteb
from bindsearch.cli.faults import DONE, PARTLY
from bindsearch.cli.parser import Parser, Verbs, add_common, at_least_one, picture
from bindsearch.cli.progress import Bar
from bindsearch.cli.screen import Screen, columns, complain, escaped, padded, shown
from bindsearch.cli.wording import counted
from bindsearch.errors import BadQuery

if TYPE_CHECKING:
    from bindsearch.evaluation.contamination import Overlap
    from bindsearch.evaluation.evaluate import Evaluation
    from bindsearch.evaluation.retrieval_task import Score
    from bindsearch.evaluation.tasks import Confusion

DESCRIPTION = """\
Evaluate an embedding space on labelled data sets: ESC-50, UrbanSound8K, Clotho, AudioCaps, VGGSound,
AudioSet, Flickr8k and 30k, COCO, ImageNet, Caltech101, a folder per class, or a collection of named sounds.
Nothing is trained and no library is needed. docs/evaluation.md explains the figures. `eval mteb NAME ...` runs tasks of
the package mteb, or folders in the layout of BEIR, with corpus.jsonl.
"""
EPILOG = """\
examples:
  bindsearch eval ~/data/ESC-50 --space pocket
  bindsearch eval ~/data/ESC-50 ~/data/photos --json > figures.jsonl
  bindsearch eval ~/data/ESC-50 --against ~/training --confusion esc50.png
  bindsearch eval mteb NFCorpus ~/data/mine --through library

Image data sets and sound data sets that share concepts, evaluated together, also show how well text and sound align,
compared with the trained pairs: image and text, and image and sound.
"""
HEADER = ("data", "task", "measure", "score", "95 % interval", "chance", "permuted", "without copies")
MAX_COPIES_SHOWN = 10


def add(verbs: Verbs) -> None:
    """Add the verb."""
    parser: Parser = verbs.add_parser(
        "eval",
        help="evaluate a space on labelled data",
        usage="%(prog)s PATH ... [options]",
        description=DESCRIPTION,
        epilog=EPILOG,
        gathers="paths",
    )
    parser.add_argument("paths", nargs="+", metavar="PATH", help="a data set, or a folder of data sets")
    parser.add_argument("--space", metavar="NAME", help="the space to evaluate (default: the built-in one)")
    parser.add_argument(
        "--as",
        dest="layout",
        metavar="LAYOUT",
        help="the layout of the data, if it is not recognised (an unknown name lists all layouts)",
    )
    parser.add_argument(
        "--part",
        choices=("dev", "all"),
        default="all",
        help="dev: only the part that was held out when the pocket model was trained (default: all)",
    )
    parser.add_argument("--limit", type=at_least_one, metavar="N", help="use at most N files of each data set")
    parser.add_argument(
        "--against",
        metavar="PATH",
        help="find copies of the data in this library, folder or tar file, and also show the scores without them",
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="seed of the random generator (default: 0)")
    parser.add_argument(
        "--confusion", type=picture, metavar="FILE", help="write the confusion matrix to this image file"
    )
    parser.add_argument("--classes", action="store_true", help="also show the accuracy of each class")
    parser.add_argument(
        "--through",
        choices=("encoder", "library"),
        default="encoder",
        help="with mteb: only embed, or also index and search with a library (default: encoder)",
    )
    add_common(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Evaluate and print; return 3 if some files could not be read."""
    if args.paths[0] == eval_mteb.WORD:
        return eval_mteb.run(args)
    from bindsearch.core.paths import absolute
    from bindsearch.evaluation.evaluate import EvaluationOptions, evaluate
    from bindsearch.registry import default_space
    from bindsearch.spaces.space import Space

    absolute(args.paths)  # '' would be the current folder
    space = Space.named(args.space or default_space())
    against = Path(args.against).expanduser() if args.against else None
    options = EvaluationOptions(args.layout, args.part, args.limit, args.seed, against)
    with Bar(sys.stderr, quiet=args.quiet) as bar:
        done = evaluate([Path(path).expanduser() for path in args.paths], space, options, on_progress=bar.show)
    screen = Screen.of(sys.stdout)
    for line in _records(done) if args.json else _lines(done, args, screen):
        screen.write(line)
    if args.confusion:
        _draw(done.confusions, args.confusion)
    if done.failed and not args.quiet:
        name, why = next(iter(done.failed.items()))
        complain(f"{counted(len(done.failed), 'file')} could not be read; the first is {shown(name)}: {escaped(why)}")
    return PARTLY if done.failed else DONE


def _records(done: Evaluation) -> Iterator[str]:
    return (json.dumps(record) for record in done.as_json())


def _lines(done: Evaluation, args: argparse.Namespace, screen: Screen) -> Iterator[str]:
    if not args.quiet:
        yield from _about(done, screen)
    emergence = done.emergence
    scores = [*done.scores, *(emergence.scores if emergence else ())]
    yield from _table([_cells(score, done) for score in scores], screen, quiet=args.quiet)
    if emergence:
        yield ""
        yield _emergence(done)
    if args.classes:
        for confusion in done.confusions:
            yield from _per_class(confusion)
    if done.overlap:
        yield ""
        yield from _copies(done.overlap, done)
    if not args.quiet:
        for note in done.notes:
            yield screen.styled(f"note: {escaped(note)}", "dim")


def _about(done: Evaluation, screen: Screen) -> Iterator[str]:
    spec = done.space.spec
    yield screen.styled(f"space {escaped(spec.name)}: {escaped(spec.summary)}", "dim")
    for each in done.sets:
        kind = {"audio": "sound", "image": "image"}[each.dataset.modality]
        part = "held out" if done.options.part == "dev" else "all"
        line = f"{escaped(each.dataset.name)}: {counted(len(each.dataset.examples), kind)} ({part})"
        yield screen.styled(line + _labels(len(each.dataset.labels)), "dim")
    yield ""


def _labels(count: int) -> str:
    return f", {counted(count, 'label')}" if count else ""


def _cells(score: Score, done: Evaluation) -> tuple[str, ...]:
    clean = done.without_copies(score)
    copies = "" if not done.overlap else figure(clean.score) if clean else "–"
    span = f"{figure(score.low)}–{figure(score.high)}"
    return (
        *(escaped(score.data), score.task, score.metric, figure(score.score), span),
        *(figure(score.chance), figure(score.control), copies),
    )


def figure(value: float) -> str:
    """Format a share with three digits; a dash for NaN."""
    return "–" if math.isnan(value) else f"{value:.3f}"


def _table(rows: Sequence[tuple[str, ...]], screen: Screen, *, quiet: bool) -> Iterator[str]:
    head = HEADER if any(row[-1] for row in rows) else HEADER[:-1]
    lines = [*rows] if quiet else [head, *rows]
    widths = [max((columns(row[place]) for row in lines), default=0) for place in range(len(head))]
    for number, row in enumerate(lines):
        cells = zip(row, widths, strict=False)
        line = "  ".join(padded(cell, width, right=place > 2) for place, (cell, width) in enumerate(cells)).rstrip()
        yield screen.styled(line, "dim") if number == 0 and not quiet else line


def _emergence(done: Evaluation) -> str:
    assert done.emergence is not None
    compared = done.emergence.compared()
    pairs = ", ".join(f"{name} {value:.0%}" for name, value in compared.items())
    share = done.emergence.share
    verdict = f"text→sound reaches {share:.0%} of the weaker trained pair"
    if math.isnan(share):
        verdict = "a trained pair is itself not significantly above chance, so there is no share to report"
    count = counted(len(done.emergence.concepts), "concept")
    return f"emergence on {count}, mAP from chance (0 %) to perfect (100 %): {pairs}; {verdict}"


def _per_class(confusion: Confusion) -> Iterator[str]:
    per_class = confusion.per_class()
    width = max(columns(escaped(name)) for name in per_class)
    yield f"\n{escaped(confusion.data)}, top-1 of each class:"
    for name, (share, count) in sorted(per_class.items(), key=lambda each: (-each[1][0], each[0])):
        yield f"  {padded(escaped(name), width)}  {share:.3f}  of {count}"


def _copies(found: Overlap, done: Evaluation) -> Iterator[str]:
    count = sum(len(each.dataset.examples) for each in done.sets)
    where = shown(done.options.against or "")
    yield f"copies: {len(found.copied):,} of {count:,} files have a copy among the {found.compared:,} files in {where}"
    for copy in found.copies[:MAX_COPIES_SHOWN]:
        yield f"  {shown(copy.of)} = {shown(copy.copy)} ({copy.how})"
    if len(found.copies) > MAX_COPIES_SHOWN:
        yield f"  … and {len(found.copies) - MAX_COPIES_SHOWN:,} more (--json lists all)"


def _draw(confusions: Sequence[Confusion], path: Path) -> None:
    """Write the first matrix to the given file, further ones to numbered files next to it."""
    from bindsearch.evaluation.confusion_plot import save

    if not confusions:
        raise BadQuery("there is no confusion matrix to draw: no data set has exactly one label per file")
    for number, confusion in enumerate(confusions):
        save(confusion, path if number == 0 else path.with_stem(f"{path.stem}-{number + 1}"))
