"""How a tower learns from a teacher, place by place: what the training of seeing and of hearing have in common."""

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

WARM = 30_000
"""Views in which the rate rises."""


class Student(nn.Module):
    """The tower, and beside it what compares its places with the teacher's and is thrown away in the end."""

    def __init__(self, tower: Any, middle: Tensor, deep: Tensor, features: Tensor) -> None:
        """Learn from a sample how what the teacher finds is spread."""
        super().__init__()
        self.tower = tower
        self.middle = nn.Conv2d(tower.trunk.width_before, middle.shape[1], 1)
        self.deep = nn.Conv2d(tower.trunk.width, deep.shape[1], 1)
        for name, wanted in (("middle", middle), ("deep", deep), ("features", features)):
            over = [axis for axis in range(wanted.ndim) if axis != 1]
            self.register_buffer(f"{name}_mean", wanted.mean(dim=over, keepdim=True))
            self.register_buffer(f"{name}_spread", wanted.std(dim=over, keepdim=True) + 0.05 * wanted.std())

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """*Shape:* (n, channels, h, w) to the teacher's maps half-way up, before the end, and features."""
        middle, deep = self.tower.trunk.last_stages(x)
        return self.middle(middle), self.deep(deep), self.tower.widen(deep).mean(dim=(2, 3))

    def missed(self, name: str, found: Tensor, wanted: Tensor) -> Tensor:
        """Which part of what varies in the teacher was not found, 0 to 1 and more."""
        mean, spread = getattr(self, f"{name}_mean"), getattr(self, f"{name}_spread")
        if name == "features":
            found = (found - mean) / spread
        return F.mse_loss(found, (wanted - mean) / spread)


class Run:
    """Everything that a checkpoint holds, and one step of training."""

    def __init__(self, path: Path, student: Student, classes: tuple[Tensor, Tensor], *, seed: int, rate: float) -> None:
        """`classes` are the teacher's last layer."""
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.student = student.to(self.device, memory_format=torch.channels_last)
        self.average = WeightAverage(self.student, decay=0.998)
        self.classes = tuple(each.to(self.device) for each in classes)
        plain = [p for p in self.student.parameters() if p.ndim < 2]
        heavy = [p for p in self.student.parameters() if p.ndim >= 2]
        groups = [{"params": heavy, "weight_decay": 0.05}, {"params": plain, "weight_decay": 0.0}]
        self.optimiser = torch.optim.AdamW(groups, lr=rate)
        self.rate, self.views, self.seed = rate, 0, seed
        self._path = path

    def resume(self) -> None:
        """Go on from the last checkpoint, if there is one."""
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

    def learn(self, x: Tensor, wanted: tuple[Tensor, Tensor, Tensor], share: float) -> tuple[float, ...]:
        """Learn from one batch at a share of the full rate; what was missed half-way, deep, on the whole, by class."""
        for group in self.optimiser.param_groups:
            group["lr"] = self.rate * share
        with torch.autocast(self.device, torch.bfloat16):
            found = [each.float() for each in self.student(x)]
        names, (weight, bias) = ("middle", "deep", "features"), self.classes
        parts = [self.student.missed(*each) for each in zip(names, found, wanted, strict=True)]
        parts.append(losses.soft_label_divergence(F.linear(found[2], weight, bias), F.linear(wanted[2], weight, bias)))
        loss = parts[0] + 2 * parts[1] + 2 * parts[2] + 0.2 * parts[3]
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.student.parameters(), 2.0)
        self.optimiser.step()
        self.average.update(self.student)
        self.views += len(x)
        return tuple(part.item() for part in parts)

    def train(
        self, step: Callable[[float], tuple[float, ...]], measure: Callable[[], str], *, total: int, cool: int
    ) -> None:
        """Train until `total` views, telling how it goes; `step` learns from a batch at a share of the full rate."""
        saved = shown = measured = time.monotonic()
        views, recent = self.views, np.zeros(4)
        while self.views < total:
            parts = np.array(step(pace(self.views, total, cool)))
            recent = parts if not recent.any() else 0.97 * recent + 0.03 * parts
            now = time.monotonic()
            if now - shown > 30:
                told = " ".join(f"{part:.3f}" for part in recent)
                rate = (self.views - views) / (now - shown)
                print(f"{time.strftime('%H:%M:%S')} views {self.views} missed {told} {rate:.0f}/s", flush=True)
                shown, views = now, self.views
            if now - saved > 120:
                self.save()
                saved = time.monotonic()
            if now - measured > 300:
                print(measure(), flush=True)
                measured = time.monotonic()
        self.save()
        print(measure(), flush=True)


def pace(views: int, total: int, cool: int) -> float:
    """The share of the full rate: a short rise, a long stay, a straight fall."""
    return max(0.0, min(1.0, (views + 1) / WARM, (total - views) / cool if cool else 1.0))
