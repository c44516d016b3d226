"""`bindsearch classify`: find which of some labels fits a file best, without training."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bindsearch.cli import classify_report
from bindsearch.cli.classify_report import EvaluatedFiles
from bindsearch.cli.faults import DONE, FAILED, PARTLY
from bindsearch.cli.parser import Parser, Verbs, add_common, at_least_one, picture, target
from bindsearch.cli.screen import Screen, address, columns, complain, escaped, padded, shown
from bindsearch.cli.wording import counted, percent, reason
from bindsearch.errors import BadQuery, LibraryNotFound, MediaError, UnsupportedMedia

if TYPE_CHECKING:
    from bindsearch.spaces.space import Space
    from bindsearch.zeroshot import Classifier, Example, MediaVectors, Prediction
    from bindsearch.zeroshot.labelled_files import LabelledFile

DESCRIPTION = """\
Find the label that fits each file best, without training and without a library. The labels compete: their percentages
add up to 100. A few labelled examples improve the answers (--examples). With known labels (--truth), the accuracy is
reported.
"""
EPILOG = """\
examples:
  bindsearch classify *.wav --labels dog,siren,rain
  bindsearch classify ~/Recordings --labels @birds.txt --template "the song of a {}" -k 1
  bindsearch classify ~/Pictures --labels set:animals,set:vehicles,robot --none
  bindsearch classify test --truth folders --sensitivity --picture confusion.png
  bindsearch classify --labels dog,cat --tune labelled.csv --examples shots --save pets.classifier
  bindsearch classify ~/Recordings --load pets.classifier

Built-in sets of labels: animals, birds, household, music, nature, vehicles, people, city, tools, food, weather,
sports. A table of labelled files has columns such as path and label, and recording if several files come from one; a
folder of labelled files has one subfolder per label.
"""
MAX_NAMED_LABELS = 3
NO_LABELS = "name the labels: --labels A,B,C, --labels @FILE with one label per line, or --labels set:animals"


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
    add("files", nargs="*", metavar="FILE", help="a file, or a folder with everything below it")
    add_labels(parser)
    add("-k", type=at_least_one, default=3, metavar="N", help="show the N best labels (default: 3)")
    add(
        "--none",
        action="store_true",
        help='allow the answer "none of these", for files that background labels fit better',
    )
    add(
        "--background",
        metavar="A,B,...|@FILE",
        help='the background labels for "none of these", instead of the built-in list',
    )
    add(
        "--sensitivity", action="store_true", help="report how the answers change if each prompt template is used alone"
    )
    add(
        "--truth",
        metavar="folders|TABLE",
        help="report the accuracy; the true label of a file is the name of its folder, or is listed in a table (.csv)",
    )
    add("--picture", type=picture, metavar="FILE", help="with --truth, write the confusion matrix to this image file")
    _add_labelled_files(parser)
    add("--save", type=target, metavar="FILE", help="save the classifier to a file")
    add("--load", metavar="FILE", help="use a classifier saved with --save")
    add("--space", metavar="NAME", help="the space (default: the library's, else the built-in one)")
    add_common(parser)
    parser.set_defaults(run=run)


def _add_labelled_files(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--examples",
        metavar="FOLDER|TABLE",
        help="labelled files that are compared with each file, in addition to the labels; without --labels, their "
        "labels are used",
    )
    parser.add_argument(
        "--tune",
        metavar="FOLDER|TABLE",
        help="tune the prompts on one half of these labelled files and evaluate on the other",
    )


def add_labels(parser: argparse.ArgumentParser) -> None:
    """Add the options for labels and templates."""
    parser.add_argument(
        "--labels",
        metavar="A,B,...|@FILE",
        help="the labels, or a file with one label per line; set:NAME is a built-in set",
    )
    parser.add_argument(
        "--template",
        action="append",
        metavar="TEXT",
        help="a prompt template with {} for the label; repeatable",
    )


def run(args: argparse.Namespace) -> int:
    """Classify file by file. Return 3 if some cannot be read, 1 if there is none."""
    _check(args)
    screen = Screen.of(sys.stdout)
    classifier = _classifier(args, screen)
    if args.save:
        from bindsearch.zeroshot import save_classifier

        save_classifier(classifier, args.save)
    if not args.files:
        return DONE
    find_label, evaluated = _truth(args), EvaluatedFiles()
    width = max(columns(escaped(answer)) for answer in classifier.answers)
    embedded: list[MediaVectors] = []

    def classified(path: Path) -> str:
        media = classifier.embed(path)
        ranked = classifier.predict(media)[: args.k]
        label = _record_truth(evaluated, classifier, media, find_label(path)) if find_label else None
        if args.sensitivity:
            embedded.append(media)
        return _as_json(path, ranked, label) if args.json else _line(path, ranked, width, screen, label=label)

    status = _each_file(args, classified, screen)
    if args.sensitivity and embedded:
        classify_report.show_sensitivity(classifier, embedded, evaluated, args, screen)
    if args.truth:
        classify_report.show_accuracy(classifier, evaluated, args, screen)
    return status


def _check(args: argparse.Namespace) -> None:
    """Refuse options that exclude each other. Raises `BadQuery`."""
    if args.load and (args.labels or args.template or args.none or args.background or args.tune or args.examples):
        raise BadQuery("--load uses a classifier as it was saved: drop --labels and the other options that define one")
    if args.picture and not args.truth:
        raise BadQuery("--picture draws the confusion matrix and needs --truth folders or --truth TABLE")
    if args.files and not any(os.path.lexists(os.path.expanduser(name)) for name in args.files):
        raise BadQuery(f"there is no file or folder {args.files[0]}")
    if not args.files and not args.save and not args.tune:
        raise BadQuery("name the files to classify, as in `bindsearch classify *.wav --labels A,B`")


# The classifier ---------------------------------------------------------------------------------------------------


def _classifier(args: argparse.Namespace, screen: Screen) -> Classifier:
    """Create or load the classifier."""
    from bindsearch.zeroshot import Classifier, load_classifier
    from bindsearch.zeroshot.label_sets import read_labels

    if args.load:
        path = Path(args.load).expanduser()
        return load_classifier(path, _space_of(args, path))
    tuning, examples = (_labelled(place) for place in (args.tune, args.examples))
    labels = read_labels(args.labels) if args.labels else _labels_in(args, examples or tuning)
    none = read_labels(args.background) if args.background else args.none
    classifier = Classifier(_space(args), labels, templates=args.template, none=none)
    if tuning:
        classifier = _tuned(classifier, tuning, args, screen)
    if examples:
        classifier = _with_examples(classifier, examples, args, screen)
    return classifier


def _labelled(place: str | None) -> list[LabelledFile]:
    from bindsearch.zeroshot.labelled_files import read_labelled

    return read_labelled(Path(place).expanduser()) if place else []


def _labels_in(args: argparse.Namespace, labelled: Sequence[LabelledFile]) -> list[str]:
    """Return the labels of labelled files, else those of --truth. Raises `BadQuery`."""
    from bindsearch.zeroshot.labelled_files import folder_label, labels_of, read_truth_table

    if labelled:
        return labels_of(labelled)
    if args.truth and args.truth != "folders":
        return labels_of(read_truth_table(Path(args.truth).expanduser()).values())
    if args.truth:
        return sorted({folder_label(path) for path, error_text in _files(args.files) if not error_text})
    raise BadQuery(NO_LABELS)


def _tuned(
    classifier: Classifier, labelled: list[LabelledFile], args: argparse.Namespace, screen: Screen
) -> Classifier:
    from bindsearch.zeroshot.tuning import tune

    tuned, report = tune(classifier, _embed_labelled(classifier, labelled, args.tune))
    classify_report.show_tuning(report, args, screen)
    return tuned


def _with_examples(
    classifier: Classifier, labelled: list[LabelledFile], args: argparse.Namespace, screen: Screen
) -> Classifier:
    extended = classifier.with_examples(_embed_labelled(classifier, labelled, args.examples))
    classify_report.show_examples(extended, args, screen)
    return extended


def _embed_labelled(classifier: Classifier, labelled: list[LabelledFile], place: str) -> list[Example]:
    """Embed labelled files, and report those that cannot be used."""
    from bindsearch.zeroshot.labelled_files import embed_examples, labels_of, split_by_label

    own, others = split_by_label(labelled, classifier.labels)
    if others:
        labels = labels_of(others)
        names = ", ".join(map(escaped, labels[:MAX_NAMED_LABELS])) + (", …" if len(labels) > MAX_NAMED_LABELS else "")
        complain(f"{shown(place)}: {counted(len(others), 'file')} skipped; no such label: {names}")
    return embed_examples(classifier, own, on_failure=_complain)


def _space(args: argparse.Namespace) -> Space:
    """Return the named space, else the library's, else the built-in one."""
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
    """Return the space of --space or --library, else the one that a saved classifier was made in."""
    from bindsearch.spaces.space import Space
    from bindsearch.zeroshot.saving import space_of

    name = space_of(path)
    return _space(args) if args.space or args.library else Space.named(name)


# Files ------------------------------------------------------------------------------------------------------------


def _each_file(args: argparse.Namespace, classified: Callable[[Path], str], screen: Screen) -> int:
    """Write a line per file, report those that cannot be read, and return the exit status."""
    done = failed = 0
    for path, error_text in _files(args.files):
        try:
            if error_text:
                raise MediaError(error_text)
            line = classified(path)
        except UnsupportedMedia as error:
            if not _was_named(path, args.files):
                continue  # a folder may hold anything
            failed += _complain(path, error)
        except (MediaError, OSError) as error:
            failed += _complain(path, error)
        else:
            screen.write(line)  # outside try: a closed pipe is not a failed file
            done += 1
    if not done and not failed:
        complain("found no files to classify")
    elif failed and not args.quiet:
        complain(f"{counted(failed, 'file')} could not be classified")
    return PARTLY if failed else DONE if done else FAILED


def _files(named: Sequence[str]) -> Iterator[tuple[Path, str]]:
    """Walk files and folders; yield each file with the error that made it inaccessible, if any."""
    from bindsearch.media import ScanError, walk

    for found in walk([Path(os.path.expanduser(name)) for name in named]):
        if isinstance(found, ScanError):
            yield found.path, found.reason
        elif not found.broken_link:
            yield found.path, ""


def _was_named(path: Path, named: Sequence[str]) -> bool:
    return str(path) in {os.path.abspath(os.path.expanduser(name)) for name in named}


def _complain(path: Path, error: Exception) -> int:
    text = (error.strerror or str(error)) if isinstance(error, OSError) else str(error)
    complain(f"{shown(path)}: {escaped(reason(str(path), text))}")
    return 1


# The truth --------------------------------------------------------------------------------------------------------


def _truth(args: argparse.Namespace) -> Callable[[Path], LabelledFile | None] | None:
    """Return a function that gives the true label of a file; None without --truth."""
    from bindsearch.zeroshot.labelled_files import LabelledFile, find_truth, folder_label, read_truth_table

    if not args.truth:
        return None
    if args.truth == "folders":
        return lambda path: LabelledFile(path, folder_label(path))
    table: Mapping[Path, LabelledFile] = read_truth_table(Path(args.truth).expanduser())
    return lambda path: find_truth(path, table)


def _record_truth(
    evaluated: EvaluatedFiles, classifier: Classifier, media: MediaVectors, truth: LabelledFile | None
) -> str | None:
    """Record the true label of a file; return the correct answer, if the classifier can give it."""
    from bindsearch.zeroshot import NONE

    if truth is None:
        evaluated.unknown += 1
        return None
    known = {label.casefold(): label for label in classifier.labels}
    label = known.get(truth.label.casefold(), NONE)
    if label not in classifier.answers:
        evaluated.other_labels[truth.label] = evaluated.other_labels.get(truth.label, 0) + 1
        return None
    evaluated.media.append(media)
    evaluated.truth.append(label)
    evaluated.groups.append(truth.group)
    return label


def _line(path: Path, ranked: Sequence[Prediction], width: int, screen: Screen, *, label: str | None) -> str:
    cells = [f"{percent(each.probability)} {padded(escaped(each.label), width)}" for each in ranked]
    correct = None if label is None else ranked[0].label == label
    cells[0] = screen.styled(cells[0], "bold", *([] if correct is None else ["green" if correct else "red"]))
    wrong = f"  (it is {escaped(label or '')})" if correct is False else ""
    return "  ".join([*cells, screen.linked(shown(path), address(path))]) + wrong


def _as_json(path: Path, ranked: Sequence[Prediction], label: str | None) -> str:
    labels = [
        {"label": each.label, "probability": round(each.probability, 6), "score": round(each.score, 6)}
        for each in ranked
    ]
    return json.dumps({"path": str(path), "labels": labels} | ({} if label is None else {"truth": label}))
