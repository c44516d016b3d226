"""Classify the held-out clips of ESC-50 by words, by tuned words, and with a few examples, beside a linear probe.

    python scripts/trial_classify.py DATA [--space pocket] [--seed 0] [--draws 3] [--rules] [--json F]

DATA has esc50. All that is chosen is chosen on the training recordings (`bindsearch/evaluation/split.py`); the clips of
the others are looked at once, to measure. Writes tables for docs/evaluation.md. Exit status 1 if a rule of the
classifier does not hold: loading what was saved must give the same answers, and each template must be counted once.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bindsearch.evaluation.embedding import embed
from bindsearch.evaluation.layouts import read
from bindsearch.evaluation.metrics import interval
from bindsearch.spaces import Space
from bindsearch.types import Modality
from bindsearch.zeroshot import NONE, Classifier, Seen, Taught
from bindsearch.zeroshot.memory import log_shares, surprise
from bindsearch.zeroshot.tuning import best_temperature, tune, tuned_on
from bindsearch.zeroshot.verdict import Verdict, group_codes, sensitivity, verdict

SHOTS = (1, 2, 4, 8)
SINGLE = "the sound of {}"
"""The first of the fixed templates."""
SHRINKS = (1e-3, 1e-2, 1e-1)
"""What the linear probe's weights may be held back by; chosen by cross-validation on its examples."""
SCALE = 20.0
"""Unit vectors are this long for the probe, so that its gradients are neither tiny nor wild."""
FOLDS = 3
AMONG = 10
"""Labels that are asked for where the other 40 are "none of these"."""
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Data:
    """What was embedded once: training recordings, and the others."""

    labels: tuple[str, ...]
    train: list[Taught]
    test: list[Taught]

    @property
    def seen(self) -> list[Seen]:
        return [each.seen for each in self.test]

    @property
    def truth(self) -> list[str]:
        return [each.label for each in self.test]

    @property
    def groups(self) -> list[str]:
        return [each.group for each in self.test]


def loaded(folder: Path, space: Space) -> Data:
    """Embed ESC-50, and part it by recording."""
    dataset = read([folder / "esc50"], layout="esc50")[0]
    embedded = embed(dataset, space, tell=lambda name: None)
    taught = [
        (example.held_out, Taught(Seen({Modality.AUDIO: row}), example.words[0], example.recording))
        for example, row in zip(embedded.dataset.examples, embedded.rows, strict=True)
    ]
    return Data(dataset.labels, [each for held, each in taught if not held], [each for held, each in taught if held])


def judged(classifier: Classifier, data: Data) -> Verdict:
    """Measure on the held-out clips."""
    shares = classifier.probabilities(data.seen)
    return verdict(classifier.answers, shares, data.truth, groups=data.groups, k=5)


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


def probed(shots: Sequence[Taught], data: Data) -> Floats:
    """Fit a probe to some examples, with the shrinkage under which they tell each other best; give its logits."""
    rows = np.stack([each.seen.vectors[Modality.AUDIO] for each in shots]).astype(np.float64)
    codes = np.array([data.labels.index(each.label) for each in shots])
    folds = group_codes([each.group for each in shots], len(shots)) % FOLDS
    count = len(data.labels)
    lost = []
    for shrink in SHRINKS:
        logits = np.zeros((len(shots), count))
        for fold in range(FOLDS):
            weight, bias = probe(rows[folds != fold], codes[folds != fold], count, shrink)
            logits[folds == fold] = rows[folds == fold] @ weight.T + bias
        lost.append((surprise(logits, codes), shrink))
    weight, bias = probe(rows, codes, count, min(lost)[1])
    return np.stack([seen.vectors[Modality.AUDIO] for seen in data.seen]) @ weight.T + bias


# The tables -------------------------------------------------------------------------------------------------------


def words(space: Space, data: Data, told: dict[str, Any]) -> Classifier:
    """Measure the default templates, one template, and templates tuned on the training recordings."""
    default = Classifier(space, data.labels)
    single = Classifier(space, data.labels, templates=[SINGLE])
    _, report = tune(default, data.train)
    tuned, choices = tuned_on(default, data.train)
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
    told["tuning"]["gain"] = [float(gain.mean()), *interval(gain, group_codes(data.groups, len(gain)))]
    return default


def sensitive(classifier: Classifier, data: Data, told: dict[str, Any]) -> None:
    """Say how the answers move from template to template."""
    found = sensitivity(classifier, data.seen, Modality.AUDIO, truth=data.truth)
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
            memory = taught.memories[Modality.AUDIO]
            shares.append(memory.share)
            numbers.append(len(shots))
            rows["words and examples"].append(float(_right(taught, data).mean()))
            evidence = memory.evidence(np.stack([seen.vectors[Modality.AUDIO] for seen in data.seen]), len(data.labels))
            codes = [data.labels.index(label) for label in data.truth]
            rows["examples alone"].append(float((evidence.argmax(axis=1) == codes).mean()))
            rows["linear probe"].append(float((probed(shots, data).argmax(axis=1) == codes).mean()))
        told["shots"][count] = {
            "examples": float(np.mean(numbers)),
            "share": float(np.mean(shares)),
            **{name: [float(np.mean(values)), float(np.std(values))] for name, values in rows.items()},
        }


def drawn(train: Sequence[Taught], count: int, chance: np.random.Generator) -> list[Taught]:
    """Draw so many clips of each label, from as many recordings as can be; all, where there are fewer."""
    shots = []
    for label in sorted({each.label for each in train}):
        own = [train[place] for place in chance.permutation(len(train)) if train[place].label == label]
        seen: dict[str, int] = {}
        ranks = []
        for each in own:  # the first clip of every recording, then the second of each, …
            ranks.append(seen.setdefault(each.group, 0))
            seen[each.group] += 1
        shots += [own[place] for place in np.argsort(ranks, kind="stable")[:count]]
    return shots


def nothing_fits(space: Space, data: Data, told: dict[str, Any], *, seed: int, draws: int) -> None:
    """Ask for some of the labels only, of all clips: how well is "none of these" said of the others?"""
    areas, refused, kept = [], [], []
    for draw in range(draws):
        asked = np.random.default_rng([seed, draw]).permutation(len(data.labels))[:AMONG]
        labels = [data.labels[place] for place in asked]
        others = [label for label in data.labels if label not in labels]
        for name, background in (("built-in", True), ("the others", others)):
            classifier = Classifier(space, labels, none=background)
            shares = classifier.probabilities(data.seen)
            none = shares[:, classifier.answers.index(NONE)]
            inside = np.isin(data.truth, labels)
            areas.append((name, area(none[~inside], none[inside])))
            refused.append((name, float((shares[~inside].argmax(axis=1) == len(labels)).mean())))
            kept.append((name, float((shares[inside].argmax(axis=1) != len(labels)).mean())))
    told["none"] = {
        name: {
            "area": _mean(areas, name),
            "others refused": _mean(refused, name),
            "own kept": _mean(kept, name),
        }
        for name in ("built-in", "the others")
    }


def rules(space: Space, data: Data, told: dict[str, Any], *, seed: int, draws: int) -> None:
    """Compare rules for "none of these" on the training recordings: mean of others refused and own kept."""
    seen, truth = [each.seen for each in data.train], [each.label for each in data.train]
    told["rules"] = {}
    for among in (3, 10, 25):
        rows: dict[str, list[float]] = {}
        for draw in range(draws):
            asked = [data.labels[place] for place in np.random.default_rng([seed, draw]).permutation(len(data.labels))]
            classifier = Classifier(space, asked[:among], none=True)
            logits = classifier.logits(seen)
            inside = np.isin(truth, asked[:among])
            for name, above in ruled(logits[:, :among], logits[:, among:]).items():
                rows.setdefault(name, []).append(float((above[~inside].mean() + (~above[inside]).mean()) / 2))
        told["rules"][among] = {name: float(np.mean(values)) for name, values in rows.items()}


def ruled(own: Floats, rest: Floats) -> dict[str, NDArray[np.bool_]]:
    """Say by each rule which clips are "none of these"."""
    best = own.max(axis=1)
    whole, every = np.logaddexp.reduce(rest, axis=1), np.logaddexp.reduce(own, axis=1)
    even = whole - np.log(rest.shape[1] / own.shape[1])
    return {
        "half of the prior, against the best label": even > best,
        "half of the prior, against all labels": even > every,
        "as much of the prior as one label": whole - np.log(rest.shape[1]) > best,
        "as much as all labels and background": whole > best,
        "the best of the background": rest.max(axis=1) > best,
    }


def area(high: Floats, low: Floats) -> float:
    """Give how often one of the first is above one of the second: 0.5 is chance."""
    above = (high[:, None] > low[None, :]).mean() + 0.5 * (high[:, None] == low[None, :]).mean()
    return float(above)


def calibration(classifier: Classifier, data: Data) -> dict[str, float]:
    """Say how far the probabilities of the best answers are from how often they are right."""
    shares = classifier.probabilities(data.seen)
    top, right = shares.max(axis=1), _right(classifier, data)
    bins = np.minimum((top * 10).astype(int), 9)
    gaps = [abs(top[bins == each].mean() - right[bins == each].mean()) * (bins == each).mean() for each in set(bins)]
    return {"said": float(top.mean()), "gap": float(sum(gaps)), "temperature": classifier.temperature}


def temperatures(classifier: Classifier, data: Data, told: dict[str, Any]) -> None:
    """Fit the temperature on the training recordings, for comparison with that of the space."""
    one = classifier.tuned(classifier.prompts, centre={}, temperature=1.0)
    codes = np.array([data.labels.index(each.label) for each in data.train])
    fitted = best_temperature(one.logits([each.seen for each in data.train]), codes)[1]
    told["temperature"] = {"of the space": classifier.spec.temperature, "best on training recordings": fitted}


def _right(classifier: Classifier, data: Data) -> Floats:
    answers = classifier.probabilities(data.seen).argmax(axis=1)
    return (np.array(classifier.answers)[answers] == data.truth).astype(np.float64)


def _plain(found: Verdict) -> dict[str, float]:
    return {"accuracy": found.accuracy, "low": found.low, "high": found.high, "top-5": found.among}


def _mean(pairs: Sequence[tuple[str, float]], name: str) -> float:
    return float(np.mean([value for each, value in pairs if each == name]))


def broken_rules(classifier: Classifier, data: Data, space: Space) -> list[str]:
    """Say which rule of classifiers does not hold on these clips."""
    told = []
    with tempfile.TemporaryDirectory() as folder:
        taught = classifier.with_examples(data.train[:50])
        taught.save(Path(folder) / "kept")
        again = Classifier.load(Path(folder) / "kept", space)
        if not np.array_equal(again.probabilities(data.seen), taught.probabilities(data.seen)):
            told.append("what was saved and loaded answers otherwise")
    if not np.allclose(np.exp(log_shares(classifier.logits(data.seen))), classifier.probabilities(data.seen)):
        told.append("probabilities are not a softmax at the temperature")
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
        f"every template gives the same answer to {found['steady']:.1%} of the clips; on average "
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
    for among, row in told.get("rules", {}).items():
        lines += ["", *(f"{among} labels, {name}: {value:.3f}" for name, value in row.items())]
    lines += ["", "| background | area | others refused | own kept |", "|---|---|---|---|"]
    lines += [
        f"| {name} | {row['area']:.2f} | {row['others refused']:.1%} | {row['own kept']:.1%} |"
        for name, row in told["none"].items()
    ]
    return lines


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--space", default="pocket")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--draws", type=int, default=3)
    parser.add_argument("--rules", action="store_true", help="compare rules for none of these, on training recordings")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args(argv)
    space = Space.named(args.space)
    data = loaded(args.data, space)
    told: dict[str, Any] = {"space": space.spec.name, "fingerprint": space.spec.fingerprint}
    told |= {"seed": args.seed, "draws": args.draws, "train": len(data.train), "test": len(data.test)}
    default = words(space, data, told)
    sensitive(default, data, told)
    temperatures(default, data, told)
    few_shots(default, data, told, seed=args.seed, draws=args.draws)
    nothing_fits(space, data, told, seed=args.seed, draws=args.draws)
    if args.rules:
        rules(space, data, told, seed=args.seed, draws=args.draws)
    print("\n".join(tables(told)))
    if args.json:
        args.json.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    broken = broken_rules(default, data, space)
    for line in broken:
        print(f"BROKEN: {line}", file=sys.stderr)
    return 1 if broken else 0


if __name__ == "__main__":
    raise SystemExit(main())
