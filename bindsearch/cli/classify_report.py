"""Report the accuracy, tuning and sensitivity of a classifier: as text, JSON or a plot."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from bindsearch.cli.screen import Screen, columns, complain, escaped, padded, shown
from bindsearch.cli.wording import counted
from bindsearch.errors import BadQuery

if TYPE_CHECKING:
    from bindsearch.evaluation.tasks import Confusion
    from bindsearch.zeroshot import Classifier, MediaVectors
    from bindsearch.zeroshot.scoring import AccuracyReport, Sensitivity
    from bindsearch.zeroshot.tuning import Tuning

MAX_NAMED_LABELS = 3


@dataclass
class EvaluatedFiles:
    """The files whose true label is known, and counts of those that cannot be evaluated."""

    media: list[MediaVectors] = field(default_factory=list)
    truth: list[str] = field(default_factory=list)
    groups: list[str] = field(default_factory=list)
    other_labels: dict[str, int] = field(default_factory=dict)
    """True labels that the classifier lacks, with the number of files."""
    unknown: int = 0
    """Files that the table does not list."""


def show_tuning(tuning: Tuning, args: argparse.Namespace, screen: Screen) -> None:
    """Show the gain of tuning on the other half, and the templates it chose."""
    if args.json:
        screen.write(json.dumps({"kind": "tuning"} | tuning.as_json()))
    elif not args.quiet:
        span = f"95 % interval {tuning.gain_low:+.1%} to {tuning.gain_high:+.1%}"
        kept = "" if tuning.kept else "; no gain, so the classifier is unchanged"
        screen.write(
            f"tuned on {counted(tuning.tuned_on, 'file')}, evaluated on {tuning.judged_on:,} others: "
            f"{tuning.before:.1%} correct before, {tuning.after:.1%} after ({tuning.gain:+.1%}; {span}){kept}"
        )
        for modality, templates in tuning.templates.items() if tuning.kept else ():
            words = ", ".join(f"“{escaped(template)}” {share:.0%}" for template, share in templates.items())
            screen.write(screen.styled(f"  {modality}: {words}", "dim"))


def show_examples(classifier: Classifier, args: argparse.Namespace, screen: Screen) -> None:
    """Show the weight of the examples beside the prompts, and how it was fitted."""
    for kind, cache in classifier.example_caches.items():
        count = len(cache.codes)
        if args.json:
            about = {"kind": "examples", "modality": kind, "examples": count, "share": cache.share}
            screen.write(json.dumps(about | {"width": cache.width, "judged": cache.judged}))
        elif not args.quiet:
            how = f"fitted by leave-one-out on {cache.judged:,}" if cache.judged else "too few examples to fit it"
            line = f"{counted(count, f'{kind} example')}: weight {cache.share:.0%}, prompts the rest ({how})"
            screen.write(screen.styled(line, "dim"))


def show_sensitivity(
    classifier: Classifier,
    many: Sequence[MediaVectors],
    evaluated: EvaluatedFiles,
    args: argparse.Namespace,
    screen: Screen,
) -> None:
    """Show, by modality, how the answers change with each template alone."""
    from bindsearch.zeroshot.scoring import sensitivity

    complete = bool(evaluated.truth) and len(evaluated.truth) == len(many)
    for modality in sorted({media.modality for media in many}):
        places = [place for place, media in enumerate(many) if media.modality == modality]
        truth = [evaluated.truth[place] for place in places] if complete else None
        found = sensitivity(classifier, [many[place] for place in places], modality, truth=truth)
        if args.json:
            screen.write(json.dumps({"kind": "sensitivity"} | found.as_json()))
        else:
            for line in _sensitivity_lines(found):
                screen.write(line)


def _sensitivity_lines(found: Sensitivity) -> Iterator[str]:
    files = counted(len(found.combined), "file")
    yield (
        f"\nby template ({found.modality}): all templates agree on {found.unanimous:.1%} of {files}; "
        f"on average {found.agreement.mean():.1%} give the combined answer"
    )
    accuracies = [] if found.truth is None else found.accuracy()
    width = max(columns(escaped(template)) for template in found.templates)
    for place, template in enumerate(found.templates):
        agrees = float((found.answers[place] == found.combined).mean())
        accuracy = f"  {accuracies[place]:6.1%} correct" if accuracies else ""
        yield f"  {padded(escaped(template), width)}  {agrees:6.1%} agree{accuracy}"
    if accuracies:
        yield f"  {min(accuracies):.1%} to {max(accuracies):.1%} correct, depending on the template"


def show_accuracy(classifier: Classifier, evaluated: EvaluatedFiles, args: argparse.Namespace, screen: Screen) -> None:
    """Show the accuracy, overall and by label, and draw the confusion matrix. Raises `BadQuery`."""
    from bindsearch.zeroshot.scoring import score_answers

    _report_skipped(evaluated, args)
    if not evaluated.truth:
        raise BadQuery("no file has a known label: --truth folders uses the folder names, or name a table")
    probabilities = classifier.probabilities(evaluated.media)
    found = score_answers(classifier.answers, probabilities, evaluated.truth, groups=evaluated.groups, k=args.k)
    if args.json:
        about: dict[str, Any] = {
            "kind": "accuracy",
            "unknown": evaluated.unknown,
            "other_labels": evaluated.other_labels,
        }
        screen.write(json.dumps(about | found.as_json()))
    else:
        for line in _accuracy_lines(found):
            screen.write(line)
    if args.picture:
        from bindsearch.evaluation.confusion_plot import save

        save(found.confusion, args.picture)
        if not args.quiet and not args.json:
            screen.write(f"wrote {shown(args.picture)}")


def _report_skipped(evaluated: EvaluatedFiles, args: argparse.Namespace) -> None:
    """Report the files that cannot be evaluated."""
    if evaluated.other_labels and not args.quiet:
        names = ", ".join(map(escaped, sorted(evaluated.other_labels)[:MAX_NAMED_LABELS]))
        more = ", …" if len(evaluated.other_labels) > MAX_NAMED_LABELS else ""
        files = counted(sum(evaluated.other_labels.values()), "file")
        complain(f"{files} not evaluated: no such label ({names}{more}); with --none they count as “none of these”")
    if evaluated.unknown and not args.quiet:
        complain(f"{counted(evaluated.unknown, 'file')} not evaluated: missing in {shown(args.truth)}")


def _accuracy_lines(found: AccuracyReport) -> Iterator[str]:
    top_k = f"; correct label among the best {found.k}: {found.top_k:.1%}" if found.k > 1 else ""
    files, interval = counted(found.files, "file"), f"{found.low:.1%} to {found.high:.1%}"
    yield f"\n{found.accuracy:.1%} of {files} correct ({interval}){top_k}"
    classes = found.confusion.per_class()
    width = max(columns(escaped(name)) for name in classes)
    for name, (share, count) in sorted(classes.items(), key=lambda each: (-each[1][0], each[0])):
        yield f"  {padded(escaped(name), width)}  {share:6.1%} of {count:,}{_mistaken_for(found.confusion, name)}"


def _mistaken_for(confusion: Confusion, name: str) -> str:
    """List the labels that files of one label were mistaken for."""
    row = confusion.counts[confusion.labels.index(name)]
    wrong = [(int(row[place]), label) for place, label in enumerate(confusion.labels) if label != name and row[place]]
    wrong.sort(key=lambda each: (-each[0], each[1]))
    named = [f"{escaped(label)} {count:,}" for count, label in wrong[:MAX_NAMED_LABELS]]
    return f"  mistaken for {', '.join(named)}{', …' if len(wrong) > MAX_NAMED_LABELS else ''}" if named else ""
