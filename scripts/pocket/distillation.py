"""Distil a teacher's features and feature maps into a tower: shared by the photo tower and the sound tower."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bindsearch.training import checkpoint, losses
from bindsearch.training.weight_average import WeightAverage

WARM_UP_VIEWS = 30_000
"""Views in which the learning rate rises."""
LOG_SECONDS, SAVE_SECONDS, MEASURE_SECONDS = 30, 120, 300
"""How often progress is printed, a checkpoint written, the held-out data evaluated."""


class Student(nn.Module):
    """The tower, with layers that map its feature maps to the teacher's and are dropped after training."""

    def __init__(self, tower: Any, middle: Tensor, deep: Tensor, features: Tensor) -> None:
        """Estimate mean and deviation of the teacher's outputs from a sample of them."""
        super().__init__()
        self.tower = tower
        self.middle = nn.Conv2d(tower.trunk.width_before, middle.shape[1], 1)
        self.deep = nn.Conv2d(tower.trunk.width, deep.shape[1], 1)
        for name, target in (("middle", middle), ("deep", deep), ("features", features)):
            axes = [axis for axis in range(target.ndim) if axis != 1]
            self.register_buffer(f"{name}_mean", target.mean(dim=axes, keepdim=True))
            self.register_buffer(f"{name}_spread", target.std(dim=axes, keepdim=True) + 0.05 * target.std())

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Predict the teacher's middle and deep feature maps, and its features. *Shape:* (n, channels, h, w)."""
        middle, deep = self.tower.trunk.last_stages(x)
        return self.middle(middle), self.deep(deep), self.tower.widen(deep).mean(dim=(2, 3))

    def unexplained_variance(self, name: str, output: Tensor, target: Tensor) -> Tensor:
        """Return the share of the teacher's variance that the output does not explain; above 1 if it adds error."""
        mean, spread = getattr(self, f"{name}_mean"), getattr(self, f"{name}_spread")
        if name == "features":
            output = (output - mean) / spread
        return F.mse_loss(output, (target - mean) / spread)


class DistillationRun:
    """A training run: the state that a checkpoint holds, and one training step."""

    def __init__(
        self, path: Path, student: Student, classifier: tuple[Tensor, Tensor], *, seed: int, rate: float
    ) -> None:
        """`classifier` is weight and bias of the teacher's last layer."""
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.student = student.to(self.device, memory_format=torch.channels_last)
        self.average = WeightAverage(self.student, decay=0.998)
        self.classifier = tuple(each.to(self.device) for each in classifier)
        undecayed = [p for p in self.student.parameters() if p.ndim < 2]
        decayed = [p for p in self.student.parameters() if p.ndim >= 2]
        groups = [{"params": decayed, "weight_decay": 0.05}, {"params": undecayed, "weight_decay": 0.0}]
        self.optimiser = torch.optim.AdamW(groups, lr=rate)
        self.rate, self.views, self.seed = rate, 0, seed
        self._path = path

    def resume(self) -> None:
        """Continue from the last checkpoint, if there is one."""
        state = checkpoint.load(self._path)
        if state:
            self.student.load_state_dict(state["student"])
            self.average.module.load_state_dict(state["average"])
            self.average.steps = state["steps"]
            self.optimiser.load_state_dict(state["optimiser"])
            self.views = state["views"]

    def save(self) -> None:
        """Write a checkpoint."""
        state = {"student": self.student.state_dict(), "average": self.average.module.state_dict()}
        state |= {"steps": self.average.steps, "optimiser": self.optimiser.state_dict(), "views": self.views}
        checkpoint.save(self._path, state)

    def update(self, x: Tensor, targets: tuple[Tensor, Tensor, Tensor], rate_share: float) -> tuple[float, ...]:
        """Train on one batch at a share of the full learning rate.

        Returns the losses of the middle map, the deep map, the features and the class probabilities.
        """
        for group in self.optimiser.param_groups:
            group["lr"] = self.rate * rate_share
        with torch.autocast(self.device, torch.bfloat16):
            outputs = [each.float() for each in self.student(x)]
        names = ("middle", "deep", "features")
        parts = [self.student.unexplained_variance(*each) for each in zip(names, outputs, targets, strict=True)]
        parts.append(losses.soft_label_divergence(self.logits(outputs[2]), self.logits(targets[2])))
        loss = parts[0] + 2 * parts[1] + 2 * parts[2] + 0.2 * parts[3]
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.student.parameters(), 2.0)
        self.optimiser.step()
        self.average.update(self.student)
        self.views += len(x)
        return tuple(part.item() for part in parts)

    def logits(self, features: Tensor) -> Tensor:
        """Return the teacher's class logits for features."""
        return F.linear(features, *self.classifier)

    def train(
        self, step: Callable[[float], tuple[float, ...]], measure: Callable[[], str], *, total: int, cooldown: int
    ) -> None:
        """Train until `total` views and print progress; `step` trains on a batch at a share of the full rate."""
        saved = printed = measured = time.monotonic()
        views, recent = self.views, np.zeros(4)
        while self.views < total:
            parts = np.array(step(rate_share(self.views, total, cooldown)))
            recent = parts if not recent.any() else 0.97 * recent + 0.03 * parts
            now = time.monotonic()
            if now - printed > LOG_SECONDS:
                values = " ".join(f"{part:.3f}" for part in recent)
                speed = (self.views - views) / (now - printed)
                print(f"{time.strftime('%H:%M:%S')} views {self.views} losses {values} {speed:.0f}/s", flush=True)
                printed, views = now, self.views
            if now - saved > SAVE_SECONDS:
                self.save()
                saved = time.monotonic()
            if now - measured > MEASURE_SECONDS:
                print(measure(), flush=True)
                measured = time.monotonic()
        self.save()
        print(measure(), flush=True)


def rate_share(views: int, total: int, cooldown: int) -> float:
    """Return the share of the full learning rate: a linear warm-up, a constant stretch, a linear cooldown."""
    return max(0.0, min(1.0, (views + 1) / WARM_UP_VIEWS, (total - views) / cooldown if cooldown else 1.0))
