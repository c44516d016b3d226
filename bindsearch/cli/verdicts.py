"""What a classifier is worth, as text, as JSON, as a picture."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bindsearch.cli.screen import Screen, columns, complain, escaped, padded, shown
from bindsearch.cli.wording import counted
from bindsearch.errors import BadQuery

if TYPE_CHECKING:
    from bindsearch.zeroshot import Classifier, MediaVectors


from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bindsearch.evaluation.tasks import Confusion
    from bindsearch.zeroshot import Classifier, MediaVectors
    from bindsearch.zeroshot.scoring import AccuracyReport, Sensitivity
    from bindsearch.zeroshot.tuning import Tuning

TAKEN = 3
"""So many other labels are named that files of one label were taken for."""


def show_tuning(told: Tuning, args: argparse.Namespace, screen: Screen) -> None:
    """Say what tuning gained on the half that it did not see, and what it chose."""
    if args.json:
        screen.write(json.dumps({"kind": "tuning"} | told.as_json()))
    elif not args.quiet:
        span = f"95 %: {told.gain_low:+.1%} to {told.gain_high:+.1%}"
        kept = "" if told.kept else "; nothing gained, so the classifier stays as it was"
        screen.write(
            f"tuned on {counted(told.tuned_on, 'file')}, judged by {told.judged_on:,} others: "
            f"{told.before:.1%} right before, {told.after:.1%} after ({told.gain:+.1%}; {span}){kept}"
        )
        for modality, templates in told.templates.items() if told.kept else ():
            words = ", ".join(f"“{escaped(template)}” {share:.0%}" for template, share in templates.items())
            screen.write(screen.styled(f"  {modality}: {words}", "dim"))


def show_examples(classifier: Classifier, args: argparse.Namespace, screen: Screen) -> None:
    """Say how much the examples count beside the words, and what that was chosen by."""
    for kind, memory in classifier.memories.items():
        number = len(memory.codes)
        if args.json:
            about = {"kind": "examples", "modality": kind, "examples": number, "share": memory.share}
            screen.write(json.dumps(about | {"width": memory.width, "judged": memory.judged}))
        elif not args.quiet:
            why = f"by leaving out each of {memory.judged:,}" if memory.judged else "too few to choose by"
            screen.write(
                screen.styled(
                    f"{counted(number, 'example')} ({kind}) count {memory.share:.0%}, words the rest: {why}", "dim"
                )
            )


def show_sensitivity(
    classifier: Classifier, many: Sequence[MediaVectors], judged: Judged, args: argparse.Namespace, screen: Screen
) -> None:
    """Say for each modality how the answers move when its templates speak alone."""
    from bindsearch.zeroshot.scoring import sensitivity

    whole = bool(judged.truth) and len(judged.truth) == len(many)
    for modality in sorted({seen.modality for seen in many}):
        places = [place for place, seen in enumerate(many) if seen.modality == modality]
        truth = [judged.truth[place] for place in places] if whole else None
        found = sensitivity(classifier, [many[place] for place in places], modality, truth=truth)
        if args.json:
            screen.write(json.dumps({"kind": "sensitivity"} | found.as_json()))
        else:
            for line in _moved(found):
                screen.write(line)


def _moved(found: Sensitivity) -> Iterator[str]:
    files = counted(len(found.together), "file")
    yield (
        f"\nby template ({found.modality}): every one alone gives {files} the same answer in {found.steady:.1%}; "
        f"on average {found.agreement.mean():.1%} answer as all together"
    )
    right = [] if found.truth is None else found.accuracy()
    width = max(columns(escaped(template)) for template in found.templates)
    for place, template in enumerate(found.templates):
        agrees = float((found.answers[place] == found.together).mean())
        judged = f"  {right[place]:6.1%} right" if right else ""
        yield f"  {padded(escaped(template), width)}  {agrees:6.1%} the same{judged}"
    if right:
        yield f"  from {min(right):.1%} to {max(right):.1%} right, by the template alone"


def show_verdict(classifier: Classifier, judged: Judged, args: argparse.Namespace, screen: Screen) -> None:
    """Say how many answers were right, for each label, and draw what was taken for what. Raises `BadQuery`."""
    from bindsearch.zeroshot.scoring import verdict

    _unjudged(judged, args)
    if not judged.truth:
        raise BadQuery("no file has a label that is known: --truth folders takes the folders' names, or name a table")
    shares = classifier.probabilities(judged.seen)
    found = verdict(classifier.answers, shares, judged.truth, groups=judged.groups, k=args.k)
    if args.json:
        about: dict[str, Any] = {"kind": "verdict", "unknown": judged.unknown, "strangers": judged.strangers}
        screen.write(json.dumps(about | found.as_json()))
    else:
        for line in _said(found):
            screen.write(line)
    if args.picture:
        from bindsearch.evaluation.confusion_plot import save

        save(found.confusion, args.picture)
        if not args.quiet and not args.json:
            screen.write(f"drawn: {shown(args.picture)}")


def _unjudged(judged: Judged, args: argparse.Namespace) -> None:
    """Complain of what could not be judged."""
    if judged.strangers and not args.quiet:
        names = ", ".join(map(escaped, sorted(judged.strangers)[:TAKEN]))
        more = ", …" if len(judged.strangers) > TAKEN else ""
        files = counted(sum(judged.strangers.values()), "file")
        complain(f"{files} not judged: the truth is no label ({names}{more}); --none would make that an answer")
    if judged.unknown and not args.quiet:
        complain(f"{counted(judged.unknown, 'file')} not judged: not in {shown(args.truth)}")


def _said(found: AccuracyReport) -> Iterator[str]:
    among = f"; the right one among the best {found.k}: {found.among:.1%}" if found.k > 1 else ""
    yield f"\n{found.accuracy:.1%} of {counted(found.files, 'file')} right ({found.low:.1%} to {found.high:.1%}){among}"
    told = found.confusion.per_class()
    width = max(columns(escaped(name)) for name in told)
    for name, (share, count) in sorted(told.items(), key=lambda each: (-each[1][0], each[0])):
        yield f"  {padded(escaped(name), width)}  {share:6.1%} of {count:,}{_taken(found.confusion, name)}"


def _taken(confusion: Confusion, name: str) -> str:
    """Say what files of a label were taken for."""
    row = confusion.counts[confusion.labels.index(name)]
    wrong = [(int(row[place]), label) for place, label in enumerate(confusion.labels) if label != name and row[place]]
    wrong.sort(key=lambda each: (-each[0], each[1]))
    named = [f"{escaped(label)} {count:,}" for count, label in wrong[:TAKEN]]
    return f"  taken for {', '.join(named)}{', …' if len(wrong) > TAKEN else ''}" if named else ""


@dataclass
class Judged:
    """What was answered about the files whose truth is known, and what could not be judged."""

    seen: list[MediaVectors] = field(default_factory=list)
    truth: list[str] = field(default_factory=list)
    groups: list[str] = field(default_factory=list)
    strangers: dict[str, int] = field(default_factory=dict)
    """Labels that the truth knows and the classifier does not, and how many files have them."""
    unknown: int = 0
    """Files of which the table says nothing."""
