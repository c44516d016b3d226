"""A whole training, from a manifest to weights with a card."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

from bindsearch.spaces.space import Space
from bindsearch.training import card, manifest
from bindsearch.training.binding import Binding, train
from bindsearch.training.emergent import Emergence, Examiner
from bindsearch.training.gathering import gather
from bindsearch.training.recipe import Recipe
from bindsearch.training.towers import architecture

MediaFacts = Callable[[str], None]


def bind(
    pairs: Path,
    out: Path,
    space: Space,
    *,
    recipe: Recipe,
    licence: str = "",
    on_progress: MediaFacts = lambda line: None,
) -> Emergence:
    """Bind a new sound tower to a space by the pairs of a manifest; write `tower.safetensors` and `card.json` to `out`.

    A run that was killed goes on where its last checkpoint is. Raises `BadQuery`, `MissingExtra`, `OSError`.
    """
    given, shape = manifest.read(pairs), architecture(recipe.tower)
    shape.built(8)  # that torch is missing is better said before the media are decoded
    sounds = gather(given, space, shape, skipped=lambda path, reason: on_progress(f"left out {path}: {reason}"))
    out.mkdir(parents=True, exist_ok=True)
    examiner = Examiner(sounds, space)
    binding = Binding(sounds, recipe)

    def watch(step: int, loss: float, at: Binding) -> None:
        on_progress(f"step {step} of {recipe.steps}  loss {loss:.3f}  {examiner.examine(at.kept)}")

    train(binding, out / "checkpoint.pt", watch=watch, every=max(1, recipe.steps // 20))
    result = examiner.examine(binding.kept)
    digest = _write_weights(out / "tower.safetensors", binding)
    values = card.card(sounds, recipe, space.spec, result=result, manifest=pairs, licence=licence, weights=digest)
    card.write(out / "card.json", values)
    return result


def _write_weights(path: Path, binding: Binding) -> str:
    from safetensors.torch import save_file

    weights = {name: value.contiguous().cpu() for name, value in binding.kept.state_dict().items()}
    fresh = path.with_suffix(".new")
    save_file(weights, fresh)
    fresh.replace(path)
    return hashlib.sha256(path.read_bytes()).hexdigest()
