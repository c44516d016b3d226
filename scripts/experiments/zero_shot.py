"""Classify the held-out clips of ESC-50 by words, by tuned words, and with a few examples, beside a linear probe.

    python scripts/experiments/zero_shot.py DATA [--space pocket] [--seed 0] [--draws 3] [--only-none] [--rules]
    [--json F]

DATA has esc50, and perhaps caltech101, whose photos are asked about "none of these", too. All that is chosen is chosen
on the training recordings (`bindsearch/evaluation/split.py`); the clips of the others are looked at once, to measure.
Writes tables for docs/evaluation.md. Exit status 1 if a rule of the classifier does not hold: loading what was saved
must give the same answers, and each template must be counted once.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bindsearch.evaluation.embedding import embed
from bindsearch.evaluation.layouts import read
from bindsearch.evaluation.metrics import interval
from bindsearch.spaces.space import Space
from bindsearch.types import Modality
from bindsearch.zeroshot import BACKGROUND, Classifier, Example, MediaVectors, load_classifier, save_classifier
from bindsearch.zeroshot.classifier import PRIOR_EXPONENT
from bindsearch.zeroshot.examples import cross_entropy, log_softmax
from bindsearch.zeroshot.label_sets import EVERYDAY, background_for
from bindsearch.zeroshot.scoring import AccuracyReport, group_numbers, score_answers, sensitivity
from bindsearch.zeroshot.tuning import best_temperature, tune, tune_on_all

SHOTS = (1, 2, 4, 8)
SINGLE = "the sound of {}"
"""The first of the fixed templates."""
SHRINKS = (1e-3, 1e-2, 1e-1)
"""What the linear probe's weights may be held back by; chosen by cross-validation on its examples."""
SCALE = 20.0
"""Unit vectors are this long for the probe, so that its gradients are neither tiny nor wild."""
FOLDS = 3
AMONG = 10
"""Labels that are asked for where all others are "none of these"."""
ASKINGS = 40
"""So often other labels are asked for."""
REFUSED = 0.93
"""Of the others: where rules with another prior are compared."""
RULED, CROWDINGS = (3, 10, 25), (0.5, 0.75, 1.0)
"""Numbers of labels, and priors of "none of these" as powers of them, among which the rule was chosen."""
PHOTOS = 1_500
"""Of a training set, at most."""
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Data:
    """What was embedded once: training recordings, and the others."""

    labels: tuple[str, ...]
    train: list[Example]
    test: list[Example]

    @property
    def media(self) -> list[MediaVectors]:
        return [each.media for each in self.test]

    @property
    def truth(self) -> list[str]:
        return [each.label for each in self.test]

    @property
    def groups(self) -> list[str]:
        return [each.group for each in self.test]


def loaded(folder: Path, space: Space) -> Data:
    """Embed a data set, and part it by what was held out."""
    whole = read([folder])[0]
    train = [example for example in whole.examples if not example.held_out]
    step = -(-len(train) // PHOTOS) if whole.modality == Modality.IMAGE else 1
    some = (*train[::step], *(example for example in whole.examples if example.held_out))
    embedded = embed(replace(whole, examples=some), space, on_progress=lambda name: None)
    taught = [
        (example.held_out, Example(MediaVectors({whole.modality: row}), example.words[0], example.recording))
        for example, row in zip(embedded.dataset.examples, embedded.rows, strict=True)
    ]
    return Data(whole.labels, [each for held, each in taught if not held], [each for held, each in taught if held])


def judged(classifier: Classifier, data: Data) -> AccuracyReport:
    """Measure on the held-out clips."""
    shares = classifier.probabilities(data.media)
    return score_answers(classifier.answers, shares, data.truth, groups=data.groups, k=5)


# The linear probe -------------------------------------------------------------------------------------------------


def probe(rows: Floats, codes: NDArray[np.int64], count: int, shrink: float) -> tuple[Floats, Floats]:
    """Fit a multinomial logistic regression, by L-BFGS from zero; give weights and biases."""
    import torch

    x, y = torch.tensor(rows * SCALE / 10, dtype=torch.float64), torch.tensor(codes)
    weight = torch.zeros(count, rows.shape[1], dtype=torch.float64, requires_grad=True)
    bias = torch.zeros(count, dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.LBFGS([weight, bias], max_iter=60, history_size=10, line_search_fn="strong_wolfe")

    def closure() -> Any:
        optimiser.zero_grad()
        loss = torch.nn.functional.cross_entropy(x @ weight.T + bias, y) + shrink * (weight**2).sum() / 2
        loss.backward()
        return loss

    optimiser.step(closure)
    return weight.detach().numpy() * SCALE / 10, bias.detach().numpy()


def probed(shots: Sequence[Example], data: Data) -> Floats:
    """Fit a probe to some examples, with the shrinkage under which they tell each other best; give its logits."""
    rows = np.stack([each.media.vectors[Modality.AUDIO] for each in shots]).astype(np.float64)
    codes = np.array([data.labels.index(each.label) for each in shots])
    folds = group_numbers([each.group for each in shots], len(shots)) % FOLDS
    count = len(data.labels)
    lost = []
    for shrink in SHRINKS:
        logits = np.zeros((len(shots), count))
        for fold in range(FOLDS):
            weight, bias = probe(rows[folds != fold], codes[folds != fold], count, shrink)
            logits[folds == fold] = rows[folds == fold] @ weight.T + bias
        lost.append((cross_entropy(logits, codes), shrink))
    weight, bias = probe(rows, codes, count, min(lost)[1])
    return np.stack([media.vectors[Modality.AUDIO] for media in data.media]) @ weight.T + bias


# The tables -------------------------------------------------------------------------------------------------------


def words(space: Space, default: Classifier, data: Data, told: dict[str, Any]) -> None:
    """Measure the default templates, one template, and templates tuned on the training recordings."""
    single = Classifier(space, data.labels, templates=[SINGLE])
    _, report = tune(default, data.train)
    tuned, choices = tune_on_all(default, data.train)
    told["tuning"] = report.as_json() | {
        "all": {
            "templates": dict(
                zip(choices[Modality.AUDIO].templates, choices[Modality.AUDIO].weights.tolist(), strict=True)
            ),
            "centre": choices[Modality.AUDIO].share,
            "temperature": tuned.temperature,
        }
    }
    told["words"] = {
        name: _plain(judged(each, data)) | calibration(each, data)
        for name, each in (("default templates", default), (f"“{SINGLE}” alone", single), ("tuned", tuned))
    }
    gain = _right(tuned, data) - _right(default, data)
    told["tuning"]["gain"] = [float(gain.mean()), *interval(gain, group_numbers(data.groups, len(gain)))]


def sensitive(classifier: Classifier, data: Data, told: dict[str, Any]) -> None:
    """Say how the answers move from template to template."""
    found = sensitivity(classifier, data.media, Modality.AUDIO, truth=data.truth)
    told["sensitivity"] = found.as_json() | {"agreement": float(found.agreement.mean())}


def few_shots(classifier: Classifier, data: Data, told: dict[str, Any], *, seed: int, draws: int) -> None:
    """Measure with a few examples of each label, several draws of them, beside a probe on the same examples."""
    told["shots"] = {}
    for count in SHOTS:
        rows: dict[str, list[float]] = {"words and examples": [], "examples alone": [], "linear probe": []}
        shares, numbers = [], []
        for draw in range(draws):
            shots = drawn(data.train, count, np.random.default_rng([seed, count, draw]))
            taught = classifier.with_examples(shots)
            cache = taught.example_caches[Modality.AUDIO]
            shares.append(cache.share)
            numbers.append(len(shots))
            rows["words and examples"].append(float(_right(taught, data).mean()))
            evidence = cache.evidence(
                np.stack([media.vectors[Modality.AUDIO] for media in data.media]), len(data.labels)
            )
            codes = [data.labels.index(label) for label in data.truth]
            rows["examples alone"].append(float((evidence.argmax(axis=1) == codes).mean()))
            rows["linear probe"].append(float((probed(shots, data).argmax(axis=1) == codes).mean()))
        told["shots"][count] = {
            "examples": float(np.mean(numbers)),
            "share": float(np.mean(shares)),
            **{name: [float(np.mean(values)), float(np.std(values))] for name, values in rows.items()},
        }


def drawn(train: Sequence[Example], count: int, chance: np.random.Generator) -> list[Example]:
    """Draw so many clips of each label, from as many recordings as can be; all, where there are fewer."""
    shots = []
    for label in sorted({each.label for each in train}):
        own = [train[place] for place in chance.permutation(len(train)) if train[place].label == label]
        media: dict[str, int] = {}
        ranks = []
        for each in own:  # the first clip of every recording, then the second of each, …
            ranks.append(media.setdefault(each.group, 0))
            media[each.group] += 1
        shots += [own[place] for place in np.argsort(ranks, kind="stable")[:count]]
    return shots


def nothing_fits(space: Space, sets: Mapping[str, Data], told: dict[str, Any], *, seed: int) -> None:
    """Ask for some of the labels only, of all held-out files: how well is "none of these" said of the others?"""
    told["none"] = {}
    for name, data in sets.items():
        found, logits = dict[str, list[Refusal]](), Logits(space, data.labels, data.media)
        for asked, others in askings(data.labels, AMONG, seed=seed):
            for rule, background, prior_exponent in (
                ("everyday labels, as probable as all asked for (before)", EVERYDAY, 1.0),
                ("everyday labels", EVERYDAY, PRIOR_EXPONENT),
                ("built-in", BACKGROUND, PRIOR_EXPONENT),
                ("the others", others, PRIOR_EXPONENT),
            ):
                found.setdefault(rule, []).extend(logits.refusals(asked, background, data.truth, prior_exponent))
        told["none"][name] = {rule: averaged(values) for rule, values in found.items()}


def rules(space: Space, sets: Mapping[str, Data], told: dict[str, Any], *, seed: int) -> None:
    """Compare backgrounds and priors for "none of these", on what was trained on only."""
    told["rules"] = {}
    for name, data in sets.items():
        logits = Logits(space, data.labels, [each.media for each in data.train])
        truth = [each.label for each in data.train]
        for top_k in RULED:
            found = dict[str, list[Refusal]]()
            for asked, _ in askings(data.labels, top_k, seed=seed):
                for words, background in (("everyday labels", EVERYDAY), ("everyday labels and sets", BACKGROUND)):
                    for prior_exponent in CROWDINGS:
                        values = found.setdefault(f"{words}, {prior_exponent:g}", [])
                        values.extend(logits.refusals(asked, background, truth, prior_exponent))
            told["rules"][f"{name}, {top_k} labels"] = {rule: averaged(values) for rule, values in found.items()}


class Logits:
    """What a classifier of any labels and any background would say of some files: each word is embedded once."""

    def __init__(self, space: Space, labels: Sequence[str], media: Sequence[MediaVectors]) -> None:
        words = tuple(dict.fromkeys((*labels, *BACKGROUND)))
        self._columns = {word: place for place, word in enumerate(words)}
        self._logits = Classifier(space, words).logits(media)

    def of(self, words: Sequence[str]) -> Floats:
        """Return the logits of some words. *Shape:* (files, words)"""
        return self._logits[:, [self._columns[word] for word in words]]

    def refusals(
        self, asked: Sequence[str], background: Sequence[str], truth: Sequence[str], prior_exponent: float
    ) -> list[Refusal]:
        """Judge a rule, once; not at all where no file or every file has one of the labels that are asked for."""
        inside, rest = np.isin(truth, asked), background_for(asked, background)
        if inside.all() or not inside.any() or not rest:
            return []
        return [refusal(self.of(asked), self.of(rest), inside, prior_exponent=prior_exponent)]


@dataclass(frozen=True)
class Refusal:
    """How well "none of these" is said of the files of other labels, and of them only."""

    area: float
    """How often it is more probable for one of another label than for one that was asked for."""
    refused: float
    kept: float
    at: float
    """Kept where so many of the others are refused as `REFUSED` says, whatever the prior."""


def averaged(values: Sequence[Refusal]) -> dict[str, float]:
    """Average over askings."""
    return {each.name: float(np.mean([getattr(value, each.name) for value in values])) for each in fields(Refusal)}


def askings(labels: Sequence[str], top_k: int, *, seed: int) -> Iterator[tuple[list[str], list[str]]]:
    """Draw labels that are asked for; give them, and the others."""
    for draw in range(ASKINGS):
        mixed = [labels[place] for place in np.random.default_rng([seed, draw]).permutation(len(labels))]
        yield mixed[:top_k], mixed[top_k:]


def refusal(own: Floats, rest: Floats, inside: NDArray[np.bool_], *, prior_exponent: float) -> Refusal:
    """Judge the answers under a prior."""
    none = np.logaddexp.reduce(rest, axis=1) - np.log(rest.shape[1]) - own.max(axis=1)
    said = none + prior_exponent * np.log(own.shape[1]) > 0
    level = np.quantile(none[~inside], 1 - REFUSED)
    return Refusal(
        area(none[~inside], none[inside]),
        float(said[~inside].mean()),
        float((~said[inside]).mean()),
        float((none[inside] < level).mean()),
    )


def area(high: Floats, low: Floats) -> float:
    """Return how often one of the first is above one of the second: 0.5 is chance."""
    above = (high[:, None] > low[None, :]).mean() + 0.5 * (high[:, None] == low[None, :]).mean()
    return float(above)


def calibration(classifier: Classifier, data: Data) -> dict[str, float]:
    """Say how far the probabilities of the best answers are from how often they are right."""
    shares = classifier.probabilities(data.media)
    top, right = shares.max(axis=1), _right(classifier, data)
    bins = np.minimum((top * 10).astype(int), 9)
    gaps = [abs(top[bins == each].mean() - right[bins == each].mean()) * (bins == each).mean() for each in set(bins)]
    return {"said": float(top.mean()), "gap": float(sum(gaps)), "temperature": classifier.temperature}


def temperatures(classifier: Classifier, data: Data, told: dict[str, Any]) -> None:
    """Fit the temperature on the training recordings, for comparison with that of the space."""
    one = classifier.tuned(classifier.prompts, centre={}, temperature=1.0)
    codes = np.array([data.labels.index(each.label) for each in data.train])
    fitted = best_temperature(one.logits([each.media for each in data.train]), codes)[1]
    told["temperature"] = {"of the space": classifier.spec.temperature, "best on training recordings": fitted}


def _right(classifier: Classifier, data: Data) -> Floats:
    answers = classifier.probabilities(data.media).argmax(axis=1)
    return (np.array(classifier.answers)[answers] == data.truth).astype(np.float64)


def _plain(found: AccuracyReport) -> dict[str, float]:
    return {"accuracy": found.accuracy, "low": found.low, "high": found.high, "top-5": found.top_k}


def broken_rules(classifier: Classifier, data: Data, space: Space) -> list[str]:
    """Say which rule of classifiers does not hold on these clips."""
    told = []
    with tempfile.TemporaryDirectory() as folder:
        taught = classifier.with_examples(data.train[:50])
        save_classifier(taught, Path(folder) / "kept")
        again = load_classifier(Path(folder) / "kept", space)
        if not np.array_equal(again.probabilities(data.media), taught.probabilities(data.media)):
            told.append("what was saved and loaded answers otherwise")
    if not np.allclose(np.exp(log_softmax(classifier.logits(data.media))), classifier.probabilities(data.media)):
        told.append("probabilities are not a softmax at the temperature")
    labels = data.labels[:AMONG]
    some, inside = Classifier(space, labels, none=True), np.isin(data.truth, labels)
    logits = some.logits(data.media)
    rule = refusal(logits[:, : len(labels)], logits[:, len(labels) :], inside, prior_exponent=PRIOR_EXPONENT)
    said = some.probabilities(data.media).argmax(axis=1) == len(labels)
    if (said[~inside].mean(), (~said[inside]).mean()) != (rule.refused, rule.kept):
        told.append("none of these is said by another rule than the one that is measured")
    return told


def tables(told: dict[str, Any]) -> list[str]:
    """Write all figures as tables for the page."""
    lines = ["| words | top-1 | 95 % interval | top-5 | said of the best | gap |", "|---|---|---|---|---|---|"]
    for name, row in told["words"].items():
        span = f"{row['low']:.1%} – {row['high']:.1%}"
        lines.append(
            f"| {name} | {row['accuracy']:.1%} | {span} | {row['top-5']:.1%} | {row['said']:.2f} | {row['gap']:.2f} |"
        )
    gain = told["tuning"]["gain"]
    lines += [
        "",
        f"tuned − default: {gain[0]:+.1%} ({gain[1]:+.1%} to {gain[2]:+.1%}); on the training recordings' own "
        f"second half {told['tuning']['before']:.1%} → {told['tuning']['after']:.1%}",
    ]
    found = told["sensitivity"]
    lines += [
        "",
        f"every template gives the same answer to {found['unanimous']:.1%} of the clips; on average "
        f"{found['agreement']:.1%} of the templates answer as all together",
        "",
        "| template alone | top-1 | answers as all together |",
        "|---|---|---|",
    ]
    lines += [f"| {name} | {row['accuracy']:.1%} | {row['agrees']:.1%} |" for name, row in found["templates"].items()]
    lines += [
        "",
        "| examples a class | words and examples | examples alone | linear probe | share of examples |",
        "|---|---|---|---|---|",
        f"| 0 | {told['words']['default templates']['accuracy']:.1%} | – | – | – |",
    ]
    for count, row in told["shots"].items():
        cells = [
            f"{row[name][0]:.1%} ± {row[name][1]:.1%}"
            for name in ("words and examples", "examples alone", "linear probe")
        ]
        lines.append(f"| {count} | {' | '.join(cells)} | {row['share']:.2f} |")
    return lines + refusing(told)


def refusing(told: dict[str, Any]) -> list[str]:
    """Write what is known of "none of these" as tables."""
    lines = []
    for name, rows in (*told.get("rules", {}).items(), *told["none"].items()):
        lines += ["", f"| {name} | area | others refused | own kept | own kept where {REFUSED:.0%} are refused |"]
        lines += ["|---|---|---|---|---|"]
        lines += [
            f"| {rule} | {row['area']:.3f} | {row['refused']:.1%} | {row['kept']:.1%} | {row['at']:.1%} |"
            for rule, row in rows.items()
        ]
    return lines


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--space", default="pocket")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--draws", type=int, default=3)
    parser.add_argument("--only-none", action="store_true", help="measure none of these, and nothing else")
    parser.add_argument("--rules", action="store_true", help="compare rules for none of these, on what was trained on")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args(argv)
    space = Space.named(args.space)
    sets = {name: loaded(args.data / name, space) for name in ("esc50", "caltech101") if (args.data / name).exists()}
    data = sets["esc50"]
    told: dict[str, Any] = {"space": space.spec.name, "fingerprint": space.spec.fingerprint}
    told |= {"seed": args.seed, "draws": args.draws, "train": len(data.train), "test": len(data.test)}
    if args.rules:
        rules(space, sets, told, seed=args.seed)
    nothing_fits(space, sets, told, seed=args.seed)
    default = Classifier(space, data.labels)
    if not args.only_none:
        words(space, default, data, told)
        sensitive(default, data, told)
        temperatures(default, data, told)
        few_shots(default, data, told, seed=args.seed, draws=args.draws)
    print("\n".join(refusing(told) if args.only_none else tables(told)))
    if args.json:
        args.json.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    broken = broken_rules(default, data, space)
    for line in broken:
        print(f"BROKEN: {line}", file=sys.stderr)
    return 1 if broken else 0


if __name__ == "__main__":
    raise SystemExit(main())
