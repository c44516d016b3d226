"""The loop that binds a sound tower to a frozen space: it sees sounds and vectors of their pictures, nothing else."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bindsearch.errors import BadQuery
from bindsearch.training import augment, caching, checkpoint, losses, schedule
from bindsearch.training.average import Average
from bindsearch.training.gathering import Sounds
from bindsearch.training.recipe import Recipe
from bindsearch.training.towers import architecture
from bindsearch.types import Vectors

if TYPE_CHECKING:
    from torch import Tensor, nn

SAVE_EVERY = 60.0
"""Seconds between checkpoints."""
Watch = Callable[[int, float, "Binding"], None]
"""Called now and then with the step, the mean loss since the last call, and the binding."""


class Binding:
    """A tower on its way into a space. `kept` is the running mean of its weights: what is measured and shipped."""

    def __init__(
        self, sounds: Sounds, recipe: Recipe, *, teacher: Vectors | None = None, tower: nn.Module | None = None
    ) -> None:
        """`teacher` gives features of every window, (n, width), from a model of sound that knows no text.

        `tower` is trained instead of a new one of the recipe's architecture.
        """
        import torch

        torch.manual_seed(recipe.seed)
        self.recipe = recipe
        self.dim = sounds.pictures[0].shape[1]
        self.step = 0
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.tower: Any = (tower or architecture(recipe.tower).built(self.dim)).to(self.device)
        self.echo = None if teacher is None else torch.nn.Linear(self.tower.width, teacher.shape[1]).to(self.device)
        self._average = Average(self.tower, decay=recipe.average)
        self._optimiser = torch.optim.AdamW(self._groups(), lr=recipe.rate)
        self._sounds, self._teacher = sounds, teacher
        self._rows = sounds.rows(dev=False)
        self._shares = _evened(sounds.owners[self._rows])
        self._paired_with = _derangement(sounds, recipe.seed) if recipe.permuted else np.arange(len(sounds.pictures))

    @property
    def kept(self) -> nn.Module:
        """The mean of the weights so far, in evaluation mode."""
        return self._average.module

    def learn(self) -> float:
        """Take one step; gives the loss. What is drawn depends on the seed and the step alone."""
        import torch

        chance = np.random.default_rng([self.recipe.seed, self.step])
        noise = torch.Generator().manual_seed(self.recipe.seed * 1_000_003 + self.step)
        spectra, anchors, owners, wanted = self._draw(chance)
        spectra = augment.masked(spectra, self.recipe.mask, noise)
        spectra, anchors = augment.mixed(spectra, anchors, self.recipe.mixing, noise)
        for group in self._optimiser.param_groups:
            group["lr"] = self.recipe.rate * group["share"] * schedule.cosine(self.step / self.recipe.steps)
        self._optimiser.zero_grad(set_to_none=True)
        loss = caching.backward(
            self._encode, spectra, lambda rows: self.loss(rows, anchors, owners, wanted), chunk=self.recipe.chunk
        )
        self._optimiser.step()
        self._average.update(self.tower)
        self.step += 1
        return float(loss.item())

    def loss(self, rows: Tensor, anchors: Tensor, owners: Tensor, wanted: Tensor | None) -> Tensor:
        """Return what is made small: `rows` hold vectors and, behind them, guesses of the teacher's features."""
        vectors, guess = rows[:, : self.dim], rows[:, self.dim :]
        total = self.recipe.contrast * losses.contrast(vectors, anchors, owners, temperature=self.recipe.temperature)
        total = total + self.recipe.regression * losses.regression(vectors, anchors)
        if wanted is not None:
            total = total + self.recipe.distillation * losses.regression(guess, wanted)
        return total

    def save(self, path: Path) -> None:
        """Write a checkpoint."""
        echo = {} if self.echo is None else self.echo.state_dict()
        state = {"tower": self.tower.state_dict(), "kept": self.kept.state_dict(), "echo": echo, "step": self.step}
        state |= {"optimiser": self._optimiser.state_dict(), "averaged": self._average.steps}
        checkpoint.save(path, state | {"recipe": asdict(self.recipe)})

    def resume(self, path: Path) -> bool:
        """Go on from a checkpoint, if there is one. Raises `BadQuery` where it is of another recipe."""
        state = checkpoint.load(path)
        if state is None:
            return False
        if state["recipe"] != asdict(self.recipe):
            raise BadQuery(f"{path} was trained by another recipe; finish with that one, or take another folder")
        self.tower.load_state_dict(state["tower"])
        self.kept.load_state_dict(state["kept"])
        if self.echo is not None:
            self.echo.load_state_dict(state["echo"])
        self._optimiser.load_state_dict(state["optimiser"])
        self._average.steps, self.step = state["averaged"], state["step"]
        return True

    def _encode(self, spectra: Tensor) -> Tensor:
        import torch

        with torch.autocast(self.device, torch.bfloat16, enabled=self.recipe.bfloat16):
            seen = self.tower.features(spectra)
            parts = [self.tower.head(seen), *([] if self.echo is None else [self.echo(seen)])]
        return torch.cat(parts, dim=1).float()

    def _draw(self, chance: np.random.Generator) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
        """Sounds, the mean of some pictures of each, whose they are, and the teacher's features."""
        import torch

        size = min(self.recipe.batch, len(self._rows))
        rows = chance.choice(self._rows, size, replace=False, p=self._shares)
        owners = self._sounds.owners[rows]
        pictures = [self._sounds.pictures[self._paired_with[owner]] for owner in owners]
        anchors = [some[chance.integers(len(some), size=self.recipe.positives)].mean(axis=0) for some in pictures]
        arrays = [self._sounds.spectra[rows], np.stack(anchors), owners]
        spectra, means, whose = (torch.from_numpy(np.ascontiguousarray(each)).to(self.device) for each in arrays)
        wanted = None if self._teacher is None else torch.from_numpy(self._teacher[rows]).to(self.device)
        return spectra, means, whose, wanted

    def _groups(self) -> list[dict[str, Any]]:
        """Weights shrink, biases and norms do not; what has learnt to hear already goes slowly."""
        named = [*self.tower.named_parameters(), *([] if self.echo is None else self.echo.named_parameters("echo"))]
        taught = architecture(self.recipe.tower).taught
        groups: dict[tuple[float, float], list[Any]] = {}
        for name, each in named:
            decay = self.recipe.decay if each.ndim > 1 else 0.0
            groups.setdefault((self.recipe.taught if name.startswith(taught) else 1.0, decay), []).append(each)
        return [{"params": each, "weight_decay": decay, "share": share} for (share, decay), each in groups.items()]


def train(binding: Binding, path: Path, *, watch: Watch, every: int = 50) -> None:
    """Train to the recipe's end, going on from the checkpoint at `path`; it is written every minute and at the end."""
    binding.resume(path)
    saved, recent = time.monotonic(), []
    while binding.step < binding.recipe.steps:
        recent.append(binding.learn())
        if binding.step % every == 0 or binding.step == binding.recipe.steps:
            watch(binding.step, float(np.mean(recent)), binding)
            recent.clear()
        if time.monotonic() - saved > SAVE_EVERY:
            binding.save(path)
            saved = time.monotonic()
    binding.save(path)


def _evened(owners: NDArray[np.int64]) -> NDArray[np.float64]:
    """Draw things of few sounds more often: by the root of how many there are. *Shape:* (n,) to (n,), sums to 1."""
    shares = 1 / np.sqrt(np.bincount(owners)[owners])
    even: NDArray[np.float64] = shares / shares.sum()
    return even


def _derangement(sounds: Sounds, seed: int) -> NDArray[np.intp]:
    """Return every owner the pictures of one of another concept."""
    names = [concept or str(owner) for owner, concept in enumerate(sounds.concepts)]
    concepts = sorted(set(names))
    order = np.random.default_rng(seed).permutation(len(concepts)).tolist()
    turned = {concepts[a]: concepts[b] for a, b in zip(order, [*order[1:], order[0]], strict=True)}
    return np.array([names.index(turned[name]) for name in names])
