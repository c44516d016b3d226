"""`bindsearch classify`: tell which of some labels fits a file best, without training."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bindsearch.cli import verdicts
from bindsearch.cli.faults import DONE, FAILED, PARTLY
from bindsearch.cli.parser import Parser, Verbs, add_common, at_least_one, picture, target
from bindsearch.cli.screen import Screen, address, columns, complain, escaped, padded, shown
from bindsearch.cli.verdicts import Judged
from bindsearch.cli.wording import counted, percent, reason
from bindsearch.errors import BadQuery, LibraryNotFound, MediaError, UnsupportedMedia

if TYPE_CHECKING:
    from bindsearch.spaces.space import Space
    from bindsearch.zeroshot import Classifier, MediaVectors, Prediction, Taught
    from bindsearch.zeroshot.labelled_files import Labelled

DESCRIPTION = """\
Tell which of some labels fits each file best, by the embedding space alone: nothing is trained, and no library is
needed. Labels compete: their percentages add up to 100. A few examples help (--examples); where the truth is known
(--truth), the answers are judged.
"""
EPILOG = """\
examples:
  bindsearch classify *.wav --labels dog,siren,rain
  bindsearch classify ~/Recordings --labels @birds.txt --template "the song of a {}" -k 1
  bindsearch classify ~/Pictures --labels set:animals,set:vehicles,robot --none
  bindsearch classify test --truth folders --sensitivity --picture confusion.png
  bindsearch classify --labels dog,cat --tune labelled.csv --examples shots --save pets.classifier
  bindsearch classify ~/Recordings --load pets.classifier

Sets of labels that are built in: animals, birds, household, music, nature, vehicles, people, city, tools, food,
weather, sports. A table of labelled files has columns such as path,label, and recording where several files come of
one; a folder of labelled files has a folder for each label.
"""
NAMED = 3
"""So many labels are named where there are more."""
LABELS = "say which labels there are: --labels A,B,C, --labels @FILE with one a line, or --labels set:animals"


def add(verbs: Verbs) -> None:
    """Add the verb."""
    parser: Parser = verbs.add_parser(
        "classify",
        help="label files without training",
        usage="%(prog)s FILE ... --labels A,B,... [options]",
        description=DESCRIPTION,
        epilog=EPILOG,
        gathers="files",
    )
    add = parser.add_argument
    add("files", nargs="*", metavar="FILE", help="a file, or a folder with all that is below it")
    add_labels(parser)
    add("-k", type=at_least_one, default=3, metavar="N", help="show the N best labels (3)")
    add("--none", action="store_true", help='let "none of these" be an answer, where something else fits better')
    add(
        "--background",
        metavar="A,B,...|@FILE",
        help="what else there may be, for --none, instead of the built-in list; labels as in --labels",
    )
    add("--sensitivity", action="store_true", help="say how the answers move from template to template")
    add(
        "--truth",
        metavar="folders|TABLE",
        help="judge the answers: a file's label is the name of its folder, or stands in a table (.csv)",
    )
    add("--picture", type=picture, metavar="FILE", help="with --truth, draw what was taken for what")
    add("--examples", metavar="FOLDER|TABLE", help="labelled files to compare with; the labels, if no others are said")
    add(
        "--tune",
        metavar="FOLDER|TABLE",
        help="choose templates by one half of these labelled files, judge by the other",
    )
    add("--save", type=target, metavar="FILE", help="keep the classifier in a file")
    add("--load", metavar="FILE", help="use a classifier that was kept")
    add("--space", metavar="NAME", help="the space to use, if not the library's or the built-in one")
    add_common(parser)
    parser.set_defaults(run=run)


def add_labels(parser: argparse.ArgumentParser) -> None:
    """Add how labels are said."""
    parser.add_argument(
        "--labels",
        metavar="A,B,...|@FILE",
        help="the labels, or a file with one label a line; set:NAME stands for a built-in list",
    )
    parser.add_argument(
        "--template",
        action="append",
        metavar="WORDS",
        help="how to say a label, {} in its place; can be given again",
    )


def run(args: argparse.Namespace) -> int:
    """Classify file by file; give 3 if some cannot be read, 1 if there was none."""
    _see_to(args)
    screen = Screen.of(sys.stdout)
    classifier = _classifier(args, screen)
    if args.save:
        classifier.save(args.save)
    if not args.files:
        return DONE
    truth_of, judged = _truth(args), Judged()
    width = max(columns(escaped(answer)) for answer in classifier.answers)
    every: list[MediaVectors] = []

    def told_of(path: Path) -> str:
        seen = classifier.look_at(path)
        ranked = classifier.predict(seen)[: args.k]
        told = truth_of(path) if truth_of else None
        label = _noted(judged, classifier, seen, told) if truth_of else None
        if args.sensitivity:
            every.append(seen)
        return _as_json(path, ranked, label) if args.json else _line(path, ranked, width, screen, label=label)

    status = _each_file(args, told_of, screen)
    if args.sensitivity and every:
        verdicts.show_sensitivity(classifier, every, judged, args, screen)
    if args.truth:
        verdicts.show_verdict(classifier, judged, args, screen)
    return status


def _see_to(args: argparse.Namespace) -> None:
    """Refuse what does not go together. Raises `BadQuery`."""
    if args.load and (args.labels or args.template or args.none or args.background or args.tune or args.examples):
        raise BadQuery("--load takes the classifier as it was kept: leave out --labels and all that makes another one")
    if args.picture and not args.truth:
        raise BadQuery("--picture draws what was taken for what: say the truth with --truth folders or --truth TABLE")
    if args.files and not any(os.path.lexists(os.path.expanduser(name)) for name in args.files):
        raise BadQuery(f"there is no file or folder {args.files[0]}")
    if not args.files and not args.save and not args.tune:
        raise BadQuery(f"say which files to classify, as in `bindsearch classify *.wav --labels A,B`; {LABELS}")


# The classifier ---------------------------------------------------------------------------------------------------


def _classifier(args: argparse.Namespace, screen: Screen) -> Classifier:
    """Make the classifier that is asked for, or read it."""
    from bindsearch.zeroshot import Classifier
    from bindsearch.zeroshot.label_sets import read_labels

    if args.load:
        path = Path(args.load).expanduser()
        return Classifier.load(path, _space_of(args, path))
    tuning, examples = (_labelled(place) for place in (args.tune, args.examples))
    labels = read_labels(args.labels) if args.labels else _labels_in(args, examples or tuning)
    none = read_labels(args.background) if args.background else args.none
    classifier = Classifier(_space(args), labels, templates=args.template, none=none)
    if tuning:
        classifier = _tuned(classifier, tuning, args, screen)
    if examples:
        classifier = _taught(classifier, examples, args, screen)
    return classifier


def _labelled(place: str | None) -> list[Labelled]:
    from bindsearch.zeroshot.labelled_files import read_labelled

    return read_labelled(Path(place).expanduser()) if place else []


def _labels_in(args: argparse.Namespace, labelled: Sequence[Labelled]) -> list[str]:
    """Return the labels of labelled files, or those that the truth knows. Raises `BadQuery`."""
    from bindsearch.zeroshot.labelled_files import folder_label, labels_of, truths

    if labelled:
        return labels_of(labelled)
    if args.truth and args.truth != "folders":
        return labels_of(truths(Path(args.truth).expanduser()).values())
    if args.truth:
        return sorted({folder_label(path) for path, trouble in _files(args.files) if not trouble})
    raise BadQuery(LABELS)


def _tuned(classifier: Classifier, labelled: list[Labelled], args: argparse.Namespace, screen: Screen) -> Classifier:
    from bindsearch.zeroshot.tuning import tune

    tuned, told = tune(classifier, _looked_at(classifier, labelled, args.tune))
    verdicts.show_tuning(told, args, screen)
    return tuned


def _taught(classifier: Classifier, labelled: list[Labelled], args: argparse.Namespace, screen: Screen) -> Classifier:
    made = classifier.with_examples(_looked_at(classifier, labelled, args.examples))
    verdicts.show_examples(made, args, screen)
    return made


def _looked_at(classifier: Classifier, labelled: list[Labelled], place: str) -> list[Taught]:
    """Look at labelled files, and complain of those that are of no use."""
    from bindsearch.zeroshot.labelled_files import labels_of, parted, taught

    own, others = parted(labelled, classifier.labels)
    if others:
        labels = labels_of(others)
        names = ", ".join(map(escaped, labels[:NAMED])) + (", …" if len(labels) > NAMED else "")
        complain(f"{shown(place)}: {counted(len(others), 'file')} left out, whose label is not asked for: {names}")
    return taught(classifier, own, failed=_complain)


def _space(args: argparse.Namespace) -> Space:
    """Return the space that is named, else the library's if there is one, else the built-in one."""
    from bindsearch.library.library import Library
    from bindsearch.registry import default_space
    from bindsearch.spaces.space import Space

    if args.space:
        return Space.named(args.space)
    try:
        with Library.open(args.library, create=False) as library:
            return library.space
    except LibraryNotFound:
        if args.library:
            raise
        return Space.named(default_space())


def _space_of(args: argparse.Namespace, path: Path) -> Space:
    """Return the space that is named, or the library's that is named, else the one that a classifier was made in."""
    from bindsearch.spaces.space import Space
    from bindsearch.zeroshot.saving import space_of

    name = space_of(path)
    return _space(args) if args.space or args.library else Space.named(name)


# Files ------------------------------------------------------------------------------------------------------------


def _each_file(args: argparse.Namespace, told_of: Callable[[Path], str], screen: Screen) -> int:
    """Write a line about every file, and complain of those that cannot be read; give the exit status."""
    done = failed = 0
    for path, trouble in _files(args.files):
        try:
            if trouble:
                raise MediaError(trouble)
            line = told_of(path)
        except UnsupportedMedia as error:
            if not _was_named(path, args.files):
                continue  # a folder may hold anything
            failed += _complain(path, error)
        except (MediaError, OSError) as error:
            failed += _complain(path, error)
        else:
            screen.write(line)  # not above: a reader who leaves is no fault of a file
            done += 1
    if not done and not failed:
        complain("nothing to classify was found")
    elif failed and not args.quiet:
        complain(f"{counted(failed, 'file')} could not be classified")
    return PARTLY if failed else DONE if done else FAILED


def _files(named: Sequence[str]) -> Iterator[tuple[Path, str]]:
    """Return every file, folders walked, with the trouble there was in looking at it."""
    from bindsearch.media import ScanError, walk

    for found in walk([Path(os.path.expanduser(name)) for name in named]):
        if isinstance(found, ScanError):
            yield found.path, found.reason
        elif not found.broken_link:
            yield found.path, ""


def _was_named(path: Path, named: Sequence[str]) -> bool:
    return str(path) in {os.path.abspath(os.path.expanduser(name)) for name in named}


def _complain(path: Path, error: Exception) -> int:
    told = (error.strerror or str(error)) if isinstance(error, OSError) else str(error)
    complain(f"{shown(path)}: {escaped(reason(str(path), told))}")
    return 1


# The truth --------------------------------------------------------------------------------------------------------


def _truth(args: argparse.Namespace) -> Callable[[Path], Labelled | None] | None:
    """Return what says the truth about a file, if anything does."""
    from bindsearch.zeroshot.labelled_files import Labelled, folder_label, truth_of, truths

    if not args.truth:
        return None
    if args.truth == "folders":
        return lambda path: Labelled(path, folder_label(path))
    table: Mapping[Path, Labelled] = truths(Path(args.truth).expanduser())
    return lambda path: truth_of(path, table)


def _noted(judged: Judged, classifier: Classifier, seen: MediaVectors, told: Labelled | None) -> str | None:
    """Take note of what a file is; give the answer that would be right, if there is one."""
    from bindsearch.zeroshot import NONE

    if told is None:
        judged.unknown += 1
        return None
    known = {label.casefold(): label for label in classifier.labels}
    label = known.get(told.label.casefold(), NONE)
    if label not in classifier.answers:
        judged.strangers[told.label] = judged.strangers.get(told.label, 0) + 1
        return None
    judged.seen.append(seen)
    judged.truth.append(label)
    judged.groups.append(told.group)
    return label


def _line(path: Path, ranked: Sequence[Prediction], width: int, screen: Screen, *, label: str | None) -> str:
    cells = [f"{percent(each.probability)} {padded(escaped(each.label), width)}" for each in ranked]
    right = None if label is None else ranked[0].label == label
    cells[0] = screen.styled(cells[0], "bold", *([] if right is None else ["green" if right else "red"]))
    wrong = f"  (it is {escaped(label or '')})" if right is False else ""
    return "  ".join([*cells, screen.linked(shown(path), address(path))]) + wrong


def _as_json(path: Path, ranked: Sequence[Prediction], label: str | None) -> str:
    labels = [
        {"label": each.label, "probability": round(each.probability, 6), "score": round(each.score, 6)}
        for each in ranked
    ]
    return json.dumps({"path": str(path), "labels": labels} | ({} if label is None else {"truth": label}))
