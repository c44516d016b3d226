"""The training loop that binds a sound tower to a frozen space, using nothing but sounds and image vectors."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bindsearch.errors import BadQuery
from bindsearch.training import augmentation, checkpoint, gradient_cache, losses, schedule
from bindsearch.training.config import TrainingConfig
from bindsearch.training.towers import architecture
from bindsearch.training.training_data import TrainingData
from bindsearch.training.weight_average import WeightAverage
from bindsearch.types import Vectors

if TYPE_CHECKING:
    from torch import Tensor, nn

CHECKPOINT_SECONDS = 60.0
ProgressCallback = Callable[[int, float, "Trainer"], None]
"""Called regularly with the step, the mean loss since the last call, and the trainer."""


class Batch(NamedTuple):
    """The inputs of one step."""

    spectra: Tensor
    """*Shape:* (n, frames, bands)."""
    anchors: Tensor
    """The mean of some image vectors of each sound. *Shape:* (n, dim)."""
    owners: Tensor
    """The image set that each sound belongs to. *Shape:* (n,)."""
    teacher_features: Tensor | None


class Trainer:
    """A tower that is being bound to a space."""

    def __init__(
        self,
        data: TrainingData,
        config: TrainingConfig,
        *,
        teacher: Vectors | None = None,
        tower: nn.Module | None = None,
    ) -> None:
        """`teacher` holds features of every window, (n, width), from a sound model that knows no text.

        `tower` is trained instead of a new one of the configured architecture.
        """
        import torch

        torch.manual_seed(config.seed)
        self.config = config
        self.dim = data.pictures[0].shape[1]
        self.step = 0
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.tower: Any = (tower or architecture(config.tower).build(self.dim)).to(self.device)
        self.teacher_head = (
            None if teacher is None else torch.nn.Linear(self.tower.width, teacher.shape[1]).to(self.device)
        )
        self._average = WeightAverage(self.tower, decay=config.average_decay)
        self._optimiser = torch.optim.AdamW(self._parameter_groups(), lr=config.learning_rate)
        self._data, self._teacher = data, teacher
        self._rows = data.rows(dev=False)
        self._sampling_weights = _balanced_weights(data.owners[self._rows])
        self._image_set_of = _derangement(data, config.seed) if config.permuted else np.arange(len(data.pictures))

    @property
    def averaged_tower(self) -> nn.Module:
        """The tower with averaged weights, in evaluation mode: what is measured and shipped."""
        return self._average.module

    def train_step(self) -> float:
        """Take one step and return the loss. The random draws depend on nothing but the seed and the step."""
        import torch

        rng = np.random.default_rng([self.config.seed, self.step])
        generator = torch.Generator().manual_seed(self.config.seed * 1_000_003 + self.step)
        batch = self._draw_batch(rng)
        spectra = augmentation.mask_spectrograms(batch.spectra, self.config.max_mask_share, generator)
        spectra, anchors = augmentation.mix_spectrograms(spectra, batch.anchors, self.config.mixed_share, generator)
        batch = batch._replace(spectra=spectra, anchors=anchors)
        for group in self._optimiser.param_groups:
            progress = self.step / self.config.steps
            group["lr"] = self.config.learning_rate * group["share"] * schedule.cosine(progress)
        self._optimiser.zero_grad(set_to_none=True)
        loss = gradient_cache.backward(
            self._encode, batch.spectra, lambda rows: self.loss(rows, batch), chunk=self.config.chunk
        )
        self._optimiser.step()
        self._average.update(self.tower)
        self.step += 1
        return float(loss.item())

    def loss(self, rows: Tensor, batch: Batch) -> Tensor:
        """Return the total loss. `rows` hold vectors, followed by predictions of the teacher's features."""
        config = self.config
        vectors, predicted = rows[:, : self.dim], rows[:, self.dim :]
        contrastive = losses.contrastive(vectors, batch.anchors, batch.owners, temperature=config.temperature)
        total = config.contrastive_weight * contrastive
        total = total + config.regression_weight * losses.regression(vectors, batch.anchors)
        if batch.teacher_features is not None:
            total = total + config.distillation_weight * losses.regression(predicted, batch.teacher_features)
        return total

    def save(self, path: Path) -> None:
        """Write a checkpoint."""
        teacher_head = {} if self.teacher_head is None else self.teacher_head.state_dict()
        state = {
            "tower": self.tower.state_dict(),
            "kept": self.averaged_tower.state_dict(),
            "echo": teacher_head,
            "step": self.step,
            "optimiser": self._optimiser.state_dict(),
            "averaged": self._average.steps,
            "recipe": asdict(self.config),
        }
        checkpoint.save(path, state)

    def resume(self, path: Path) -> bool:
        """Resume from a checkpoint if there is one. Raises `BadQuery` if it was written with another configuration."""
        state = checkpoint.load(path)
        if state is None:
            return False
        if state["recipe"] != asdict(self.config):
            raise BadQuery(
                f"{path} was trained with other settings: repeat the command with those settings, "
                "or choose another output folder"
            )
        self.tower.load_state_dict(state["tower"])
        self.averaged_tower.load_state_dict(state["kept"])
        if self.teacher_head is not None:
            self.teacher_head.load_state_dict(state["echo"])
        self._optimiser.load_state_dict(state["optimiser"])
        self._average.steps, self.step = state["averaged"], state["step"]
        return True

    def _encode(self, spectra: Tensor) -> Tensor:
        import torch

        with torch.autocast(self.device, torch.bfloat16, enabled=self.config.bfloat16):
            features = self.tower.features(spectra)
            parts = [self.tower.head(features)]
            if self.teacher_head is not None:
                parts.append(self.teacher_head(features))
        return torch.cat(parts, dim=1).float()

    def _draw_batch(self, rng: np.random.Generator) -> Batch:
        size = min(self.config.batch, len(self._rows))
        rows = rng.choice(self._rows, size, replace=False, p=self._sampling_weights)
        owners = self._data.owners[rows]
        pictures = [self._data.pictures[self._image_set_of[owner]] for owner in owners]
        anchors = [some[rng.integers(len(some), size=self.config.positives)].mean(axis=0) for some in pictures]
        features = None if self._teacher is None else self._tensor(self._teacher[rows])
        spectra = self._tensor(self._data.spectra[rows])
        return Batch(spectra, self._tensor(np.stack(anchors)), self._tensor(owners), features)

    def _tensor(self, array: NDArray[Any]) -> Tensor:
        import torch

        return torch.from_numpy(np.ascontiguousarray(array)).to(self.device)

    def _parameter_groups(self) -> list[dict[str, Any]]:
        """Exempt biases and norms from weight decay; train the pretrained layers at a lower rate."""
        named = list(self.tower.named_parameters())
        if self.teacher_head is not None:
            named += self.teacher_head.named_parameters("echo")
        pretrained = architecture(self.config.tower).pretrained
        groups: dict[tuple[float, float], list[Any]] = {}
        for name, each in named:
            decay = self.config.weight_decay if each.ndim > 1 else 0.0
            share = self.config.pretrained_rate if name.startswith(pretrained) else 1.0
            groups.setdefault((share, decay), []).append(each)
        return [{"params": each, "weight_decay": decay, "share": share} for (share, decay), each in groups.items()]


def train(trainer: Trainer, path: Path, *, on_progress: ProgressCallback, every: int = 50) -> None:
    """Train to the last step, resuming from the checkpoint at `path`; it is written every minute and at the end."""
    trainer.resume(path)
    saved, recent = time.monotonic(), []
    while trainer.step < trainer.config.steps:
        recent.append(trainer.train_step())
        if trainer.step % every == 0 or trainer.step == trainer.config.steps:
            on_progress(trainer.step, float(np.mean(recent)), trainer)
            recent.clear()
        if time.monotonic() - saved > CHECKPOINT_SECONDS:
            trainer.save(path)
            saved = time.monotonic()
    trainer.save(path)


def _balanced_weights(owners: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return sampling weights that draw owners of few sounds more often. *Shape:* (n,) to (n,), sums to 1.

    Each sound's weight is divided by the square root of its owner's number of sounds.
    """
    weights = 1 / np.sqrt(np.bincount(owners)[owners])
    normalised: NDArray[np.float64] = weights / weights.sum()
    return normalised


def _derangement(data: TrainingData, seed: int) -> NDArray[np.intp]:
    """Return for every owner the image set of another concept."""
    names = [concept or str(owner) for owner, concept in enumerate(data.concepts)]
    concepts = sorted(set(names))
    order = np.random.default_rng(seed).permutation(len(concepts)).tolist()
    replacement = {concepts[a]: concepts[b] for a, b in zip(order, [*order[1:], order[0]], strict=True)}
    return np.array([names.index(replacement[name]) for name in names])
