"""A complete training run, from a manifest to weights with a model card."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

from bindsearch.core.files import replacing
from bindsearch.spaces.space import Space
from bindsearch.training import manifest, model_card
from bindsearch.training.config import TrainingConfig
from bindsearch.training.held_out_evaluation import HeldOutEvaluator, HeldOutFigures
from bindsearch.training.towers import architecture
from bindsearch.training.trainer import Trainer, train
from bindsearch.training.training_data import load_training_data

ProgressCallback = Callable[[str], None]


def bind(
    pairs: Path,
    out: Path,
    space: Space,
    *,
    config: TrainingConfig,
    licence: str = "",
    on_progress: ProgressCallback = lambda line: None,
) -> HeldOutFigures:
    """Bind a new sound tower to a space with the pairs of a manifest.

    Writes `tower.safetensors` and `card.json` to `out`. A run that was killed resumes from its last checkpoint.
    Raises `BadQuery`, `MissingExtra`, `OSError`.
    """
    rows, tower = manifest.read(pairs), architecture(config.tower)
    tower.build(8)  # so that a missing torch is reported before the media are decoded
    data = load_training_data(
        rows, space, tower, on_skipped=lambda path, reason: on_progress(f"skipped {path}: {reason}")
    )
    out.mkdir(parents=True, exist_ok=True)
    evaluator = HeldOutEvaluator(data, space)
    trainer = Trainer(data, config)

    def report(step: int, loss: float, at: Trainer) -> None:
        on_progress(f"step {step} of {config.steps}  loss {loss:.3f}  {evaluator.evaluate(at.averaged_tower)}")

    train(trainer, out / "checkpoint.pt", on_progress=report, every=max(1, config.steps // 20))
    figures = evaluator.evaluate(trainer.averaged_tower)
    digest = _write_weights(out / "tower.safetensors", trainer)
    card = model_card.model_card(
        data, config, space.spec, figures=figures, manifest=pairs, licence=licence, weights=digest
    )
    model_card.write(out / "card.json", card)
    return figures


def _write_weights(path: Path, trainer: Trainer) -> str:
    """Write the averaged weights atomically and return the SHA-256 of the file."""
    from safetensors.torch import save_file

    weights = {name: value.contiguous().cpu() for name, value in trainer.averaged_tower.state_dict().items()}
    with replacing(path) as draft:
        save_file(weights, draft)
    return hashlib.sha256(path.read_bytes()).hexdigest()
