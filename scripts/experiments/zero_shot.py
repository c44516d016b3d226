"""Classify the held-out clips of ESC-50 by words, by tuned words, and with examples; compare with a linear probe.

    python scripts/experiments/zero_shot.py DATA [--space pocket] [--seed 0] [--draws 3] [--only-none]
        [--rules] [--json FILE]

DATA has esc50, and optionally caltech101 for "none of these". Everything is chosen on the training recordings
(`bindsearch/evaluation/split.py`); the held-out clips are evaluated once. Prints the tables of docs/evaluation.md.

The exit status is 1 if an invariant of the classifier is broken: a saved and loaded classifier must give the same
answers, probabilities must be the softmax at the temperature, and "none of these" must follow the rule measured here.
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
SINGLE_TEMPLATE = "the sound of {}"
"""The first of the fixed templates."""
SHRINKAGES = (1e-3, 1e-2, 1e-1)
"""L2 penalties of the linear probe, selected by cross-validation on its examples."""
INPUT_SCALE = 20.0
"""Scale of the probe's inputs, so that its gradients are well conditioned."""
FOLDS = 3
LABEL_COUNT = 10
"""Labels of the classifier when "none of these" is measured; all others are "none of these"."""
LABEL_DRAWS = 40
"""Random selections of labels."""
REJECTION_RATE = 0.93
"""Share of files of other labels that is rejected where rules with different priors are compared."""
RULE_LABEL_COUNTS, PRIOR_EXPONENTS = (3, 10, 25), (0.5, 0.75, 1.0)
"""Numbers of labels, and exponents of the prior of "none of these", among which the rule was chosen."""
MAX_PHOTOS = 1_500
"""Photos of a training set."""
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Data:
    """The embedded examples of a data set: training recordings and held-out ones."""

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


def load(folder: Path, space: Space) -> Data:
    """Embed a data set, and split it into training and held-out examples."""
    whole = read([folder])[0]
    train = [example for example in whole.examples if not example.held_out]
    step = -(-len(train) // MAX_PHOTOS) if whole.modality == Modality.IMAGE else 1
    examples = (*train[::step], *(example for example in whole.examples if example.held_out))
    embedded = embed(replace(whole, examples=examples), space, on_progress=lambda name: None)
    rows = [
        (example.held_out, Example(MediaVectors({whole.modality: row}), example.words[0], example.recording))
        for example, row in zip(embedded.dataset.examples, embedded.rows, strict=True)
    ]
    return Data(whole.labels, [each for held, each in rows if not held], [each for held, each in rows if held])


def evaluate(classifier: Classifier, data: Data) -> AccuracyReport:
    """Measure accuracy on the held-out clips."""
    shares = classifier.probabilities(data.media)
    return score_answers(classifier.answers, shares, data.truth, groups=data.groups, k=5)


# The linear probe -------------------------------------------------------------------------------------------------


def fit_probe(rows: Floats, codes: NDArray[np.int64], count: int, shrinkage: float) -> tuple[Floats, Floats]:
    """Fit a multinomial logistic regression by L-BFGS, starting at zero; return weights and biases."""
    import torch

    x, y = torch.tensor(rows * INPUT_SCALE / 10, dtype=torch.float64), torch.tensor(codes)
    weight = torch.zeros(count, rows.shape[1], dtype=torch.float64, requires_grad=True)
    bias = torch.zeros(count, dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.LBFGS([weight, bias], max_iter=60, history_size=10, line_search_fn="strong_wolfe")

    def closure() -> Any:
        optimiser.zero_grad()
        loss = torch.nn.functional.cross_entropy(x @ weight.T + bias, y) + shrinkage * (weight**2).sum() / 2
        loss.backward()
        return loss

    optimiser.step(closure)
    return weight.detach().numpy() * INPUT_SCALE / 10, bias.detach().numpy()


def probe_logits(shots: Sequence[Example], data: Data) -> Floats:
    """Fit a probe to examples, with the shrinkage of the least cross-validation loss; return its held-out logits."""
    rows = np.stack([each.media.vectors[Modality.AUDIO] for each in shots]).astype(np.float64)
    codes = np.array([data.labels.index(each.label) for each in shots])
    folds = group_numbers([each.group for each in shots], len(shots)) % FOLDS
    count = len(data.labels)
    losses = []
    for shrinkage in SHRINKAGES:
        logits = np.zeros((len(shots), count))
        for fold in range(FOLDS):
            weight, bias = fit_probe(rows[folds != fold], codes[folds != fold], count, shrinkage)
            logits[folds == fold] = rows[folds == fold] @ weight.T + bias
        losses.append((cross_entropy(logits, codes), shrinkage))
    weight, bias = fit_probe(rows, codes, count, min(losses)[1])
    return np.stack([media.vectors[Modality.AUDIO] for media in data.media]) @ weight.T + bias


# The tables -------------------------------------------------------------------------------------------------------


def measure_words(space: Space, default: Classifier, data: Data, figures: dict[str, Any]) -> None:
    """Measure the default templates, one template, and templates tuned on the training recordings."""
    single = Classifier(space, data.labels, templates=[SINGLE_TEMPLATE])
    _, report = tune(default, data.train)
    tuned, choices = tune_on_all(default, data.train)
    figures["tuning"] = report.as_json() | {
        "all": {
            "templates": dict(
                zip(choices[Modality.AUDIO].templates, choices[Modality.AUDIO].weights.tolist(), strict=True)
            ),
            "centre": choices[Modality.AUDIO].share,
            "temperature": tuned.temperature,
        }
    }
    figures["words"] = {
        name: _accuracy(evaluate(each, data)) | calibration(each, data)
        for name, each in (("default templates", default), (f"“{SINGLE_TEMPLATE}” alone", single), ("tuned", tuned))
    }
    gain = _right(tuned, data) - _right(default, data)
    figures["tuning"]["gain"] = [float(gain.mean()), *interval(gain, group_numbers(data.groups, len(gain)))]


def measure_sensitivity(classifier: Classifier, data: Data, figures: dict[str, Any]) -> None:
    """Measure how much the answers depend on the template."""
    found = sensitivity(classifier, data.media, Modality.AUDIO, truth=data.truth)
    figures["sensitivity"] = found.as_json() | {"agreement": float(found.agreement.mean())}


def measure_examples(classifier: Classifier, data: Data, figures: dict[str, Any], *, seed: int, draws: int) -> None:
    """Measure with several draws of a few examples per label, and a linear probe on the same examples."""
    figures["shots"] = {}
    for count in SHOTS:
        rows: dict[str, list[float]] = {"words and examples": [], "examples alone": [], "linear probe": []}
        shares, numbers = [], []
        for draw in range(draws):
            shots = draw_examples(data.train, count, np.random.default_rng([seed, count, draw]))
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
            rows["linear probe"].append(float((probe_logits(shots, data).argmax(axis=1) == codes).mean()))
        figures["shots"][count] = {
            "examples": float(np.mean(numbers)),
            "share": float(np.mean(shares)),
            **{name: [float(np.mean(values)), float(np.std(values))] for name, values in rows.items()},
        }


def draw_examples(train: Sequence[Example], count: int, rng: np.random.Generator) -> list[Example]:
    """Draw up to `count` clips of each label, from as many recordings as possible."""
    shots = []
    for label in sorted({each.label for each in train}):
        own = [train[place] for place in rng.permutation(len(train)) if train[place].label == label]
        media: dict[str, int] = {}
        ranks = []
        for each in own:  # the first clip of every recording, then the second of each, …
            ranks.append(media.setdefault(each.group, 0))
            media[each.group] += 1
        shots += [own[place] for place in np.argsort(ranks, kind="stable")[:count]]
    return shots


def measure_none(space: Space, sets: Mapping[str, Data], figures: dict[str, Any], *, seed: int) -> None:
    """Classify all held-out files with some of the labels, and measure "none of these" for those of other labels."""
    figures["none"] = {}
    for name, data in sets.items():
        found, logits = dict[str, list[Rejection]](), Logits(space, data.labels, data.media)
        for labels, others in label_draws(data.labels, LABEL_COUNT, seed=seed):
            for rule, background, prior_exponent in (
                ("everyday labels, prior n (before)", EVERYDAY, 1.0),
                ("everyday labels", EVERYDAY, PRIOR_EXPONENT),
                ("built-in", BACKGROUND, PRIOR_EXPONENT),
                ("the others", others, PRIOR_EXPONENT),
            ):
                found.setdefault(rule, []).extend(logits.rejections(labels, background, data.truth, prior_exponent))
        figures["none"][name] = {rule: averaged(values) for rule, values in found.items()}


def compare_rules(space: Space, sets: Mapping[str, Data], figures: dict[str, Any], *, seed: int) -> None:
    """Compare backgrounds and priors for "none of these", on training examples only."""
    figures["rules"] = {}
    for name, data in sets.items():
        logits = Logits(space, data.labels, [each.media for each in data.train])
        truth = [each.label for each in data.train]
        for top_k in RULE_LABEL_COUNTS:
            found = dict[str, list[Rejection]]()
            for labels, _ in label_draws(data.labels, top_k, seed=seed):
                for words, background in (("everyday labels", EVERYDAY), ("everyday labels and sets", BACKGROUND)):
                    for prior_exponent in PRIOR_EXPONENTS:
                        values = found.setdefault(f"{words}, {prior_exponent:g}", [])
                        values.extend(logits.rejections(labels, background, truth, prior_exponent))
            figures["rules"][f"{name}, {top_k} labels"] = {rule: averaged(values) for rule, values in found.items()}


class Logits:
    """Logits of some files for any labels and any background; each word is embedded once."""

    def __init__(self, space: Space, labels: Sequence[str], media: Sequence[MediaVectors]) -> None:
        words = tuple(dict.fromkeys((*labels, *BACKGROUND)))
        self._columns = {word: place for place, word in enumerate(words)}
        self._logits = Classifier(space, words).logits(media)

    def of(self, words: Sequence[str]) -> Floats:
        """Return the logits of some words. *Shape:* (files, words)"""
        return self._logits[:, [self._columns[word] for word in words]]

    def rejections(
        self, labels: Sequence[str], background: Sequence[str], truth: Sequence[str], prior_exponent: float
    ) -> list[Rejection]:
        """Measure a rule; return nothing if no file or every file has one of the labels."""
        inside, rest = np.isin(truth, labels), background_for(labels, background)
        if inside.all() or not inside.any() or not rest:
            return []
        return [rejection(self.of(labels), self.of(rest), inside, prior_exponent=prior_exponent)]


@dataclass(frozen=True)
class Rejection:
    """How well "none of these" separates files of other labels from files of the classifier's labels."""

    area: float
    """AUC: how often it is more probable for a file of another label than for one of these labels."""
    rejected: float
    """Share of files of other labels that are rejected."""
    own_kept: float
    """Share of files of these labels that are not."""
    own_kept_at_rate: float
    """The same at the threshold that rejects `REJECTION_RATE` of the others, whatever the prior."""


def averaged(values: Sequence[Rejection]) -> dict[str, float]:
    """Average over draws of labels."""
    return {each.name: float(np.mean([getattr(value, each.name) for value in values])) for each in fields(Rejection)}


def label_draws(labels: Sequence[str], top_k: int, *, seed: int) -> Iterator[tuple[list[str], list[str]]]:
    """Yield random selections of labels, with the labels that are left."""
    for draw in range(LABEL_DRAWS):
        mixed = [labels[place] for place in np.random.default_rng([seed, draw]).permutation(len(labels))]
        yield mixed[:top_k], mixed[top_k:]


def rejection(own: Floats, rest: Floats, inside: NDArray[np.bool_], *, prior_exponent: float) -> Rejection:
    """Measure the answers under a prior."""
    none = np.logaddexp.reduce(rest, axis=1) - np.log(rest.shape[1]) - own.max(axis=1)
    answered = none + prior_exponent * np.log(own.shape[1]) > 0
    level = np.quantile(none[~inside], 1 - REJECTION_RATE)
    return Rejection(
        area(none[~inside], none[inside]),
        float(answered[~inside].mean()),
        float((~answered[inside]).mean()),
        float((none[inside] < level).mean()),
    )


def area(high: Floats, low: Floats) -> float:
    """Return the probability that a value of `high` exceeds one of `low`: 0.5 is chance."""
    above = (high[:, None] > low[None, :]).mean() + 0.5 * (high[:, None] == low[None, :]).mean()
    return float(above)


def calibration(classifier: Classifier, data: Data) -> dict[str, float]:
    """Return the mean probability of the best answers, and its expected gap to their accuracy."""
    shares = classifier.probabilities(data.media)
    top, right = shares.max(axis=1), _right(classifier, data)
    bins = np.minimum((top * 10).astype(int), 9)
    gaps = [abs(top[bins == each].mean() - right[bins == each].mean()) * (bins == each).mean() for each in set(bins)]
    return {"mean_probability": float(top.mean()), "gap": float(sum(gaps)), "temperature": classifier.temperature}


def temperatures(classifier: Classifier, data: Data, figures: dict[str, Any]) -> None:
    """Fit the temperature on the training recordings, for comparison with that of the space."""
    one = classifier.tuned(classifier.prompts, centre={}, temperature=1.0)
    codes = np.array([data.labels.index(each.label) for each in data.train])
    fitted = best_temperature(one.logits([each.media for each in data.train]), codes)[1]
    figures["temperature"] = {"of the space": classifier.spec.temperature, "best on training recordings": fitted}


def _right(classifier: Classifier, data: Data) -> Floats:
    answers = classifier.probabilities(data.media).argmax(axis=1)
    return (np.array(classifier.answers)[answers] == data.truth).astype(np.float64)


def _accuracy(found: AccuracyReport) -> dict[str, float]:
    return {"accuracy": found.accuracy, "low": found.low, "high": found.high, "top-5": found.top_k}


def broken_invariants(classifier: Classifier, data: Data, space: Space) -> list[str]:
    """Return the invariants of classifiers that do not hold on these clips."""
    broken = []
    with tempfile.TemporaryDirectory() as folder:
        taught = classifier.with_examples(data.train[:50])
        save_classifier(taught, Path(folder) / "saved")
        again = load_classifier(Path(folder) / "saved", space)
        if not np.array_equal(again.probabilities(data.media), taught.probabilities(data.media)):
            broken.append("a saved and loaded classifier gives other answers")
    if not np.allclose(np.exp(log_softmax(classifier.logits(data.media))), classifier.probabilities(data.media)):
        broken.append("probabilities are not a softmax at the temperature")
    labels = data.labels[:LABEL_COUNT]
    some_labels, inside = Classifier(space, labels, none=True), np.isin(data.truth, labels)
    logits = some_labels.logits(data.media)
    rule = rejection(logits[:, : len(labels)], logits[:, len(labels) :], inside, prior_exponent=PRIOR_EXPONENT)
    answered = some_labels.probabilities(data.media).argmax(axis=1) == len(labels)
    if (answered[~inside].mean(), (~answered[inside]).mean()) != (rule.rejected, rule.own_kept):
        broken.append("'none of these' follows another rule than the one that is measured")
    return broken


def tables(figures: dict[str, Any]) -> list[str]:
    """Return all figures as Markdown tables."""
    lines = [
        "| words | top-1 | 95 % interval | top-5 | mean probability of the best label | calibration gap |",
        "|---|---|---|---|---|---|",
    ]
    for name, row in figures["words"].items():
        span = f"{row['low']:.1%} – {row['high']:.1%}"
        lines.append(
            f"| {name} | {row['accuracy']:.1%} | {span} | {row['top-5']:.1%} "
            f"| {row['mean_probability']:.2f} | {row['gap']:.2f} |"
        )
    gain = figures["tuning"]["gain"]
    lines += [
        "",
        f"tuned − default: {gain[0]:+.1%} ({gain[1]:+.1%} to {gain[2]:+.1%}); on the training recordings' own "
        f"second half {figures['tuning']['before']:.1%} → {figures['tuning']['after']:.1%}",
    ]
    found = figures["sensitivity"]
    lines += [
        "",
        f"every template gives the same answer to {found['unanimous']:.1%} of the clips; on average "
        f"{found['agreement']:.1%} of the templates agree with all together",
        "",
        "| template alone | top-1 | agrees with all together |",
        "|---|---|---|",
    ]
    lines += [f"| {name} | {row['accuracy']:.1%} | {row['agrees']:.1%} |" for name, row in found["templates"].items()]
    lines += [
        "",
        "| examples per class | words and examples | examples alone | linear probe | share of examples |",
        "|---|---|---|---|---|",
        f"| 0 | {figures['words']['default templates']['accuracy']:.1%} | – | – | – |",
    ]
    for count, row in figures["shots"].items():
        cells = [
            f"{row[name][0]:.1%} ± {row[name][1]:.1%}"
            for name in ("words and examples", "examples alone", "linear probe")
        ]
        lines.append(f"| {count} | {' | '.join(cells)} | {row['share']:.2f} |")
    return lines + none_tables(figures)


def none_tables(figures: dict[str, Any]) -> list[str]:
    """Return the figures of "none of these" as Markdown tables."""
    lines = []
    for name, rows in (*figures.get("rules", {}).items(), *figures["none"].items()):
        lines += [
            "",
            f"| {name} | area | others rejected | own kept | own kept where {REJECTION_RATE:.0%} are rejected |",
        ]
        lines += ["|---|---|---|---|---|"]
        lines += [
            f"| {rule} | {row['area']:.3f} | {row['rejected']:.1%} | {row['own_kept']:.1%} "
            f"| {row['own_kept_at_rate']:.1%} |"
            for rule, row in rows.items()
        ]
    return lines


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--space", default="pocket")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--draws", type=int, default=3)
    parser.add_argument("--only-none", action="store_true", help="only measure 'none of these'")
    parser.add_argument("--rules", action="store_true", help="compare rules for 'none of these' on training examples")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args(argv)
    space = Space.named(args.space)
    sets = {name: load(args.data / name, space) for name in ("esc50", "caltech101") if (args.data / name).exists()}
    data = sets["esc50"]
    figures: dict[str, Any] = {"space": space.spec.name, "fingerprint": space.spec.fingerprint}
    figures |= {"seed": args.seed, "draws": args.draws, "train": len(data.train), "test": len(data.test)}
    if args.rules:
        compare_rules(space, sets, figures, seed=args.seed)
    measure_none(space, sets, figures, seed=args.seed)
    default = Classifier(space, data.labels)
    if not args.only_none:
        measure_words(space, default, data, figures)
        measure_sensitivity(default, data, figures)
        temperatures(default, data, figures)
        measure_examples(default, data, figures, seed=args.seed, draws=args.draws)
    print("\n".join(none_tables(figures) if args.only_none else tables(figures)))
    if args.json:
        args.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    broken = broken_invariants(default, data, space)
    for line in broken:
        print(f"BROKEN: {line}", file=sys.stderr)
    return 1 if broken else 0


if __name__ == "__main__":
    raise SystemExit(main())
