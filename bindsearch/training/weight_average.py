"""An exponential moving average of a tower's weights: steadier than the weights themselves, and what is shipped."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn


class WeightAverage:
    """Follows a module; `module` holds the average and can be used as it is."""

    def __init__(self, module: nn.Module, *, decay: float = 0.999) -> None:
        self.module = copy.deepcopy(module).eval().requires_grad_(False)
        self.decay = decay
        self.steps = 0

    def update(self, module: nn.Module) -> None:
        """Move one step towards `module`. The first steps are larger, so that the initial weights soon fade."""
        self.steps += 1
        share = 1 - min(self.decay, (1 + self.steps) / (10 + self.steps))
        for mean, now in zip(self.module.state_dict().values(), module.state_dict().values(), strict=True):
            if mean.is_floating_point():
                mean.lerp_(now.detach(), share)
            else:
                mean.copy_(now)
