"""The architectures that can be trained. Their code is named by strings and loaded when training begins."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from bindsearch.errors import MissingExtra, UnknownSpace
from bindsearch.types import Windowing

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import nn


@dataclass(frozen=True, slots=True)
class Architecture:
    """A sound tower: how sound is windowed and preprocessed for it, and how it is built."""

    builder: str
    """`module:callable` that takes the dimension of the space and returns the module."""
    preprocessor: str
    """`module:callable` that turns the mono samples of one window into the tower's input, (frames, bands)."""
    windowing: Windowing
    pretrained: tuple[str, ...] = ()
    """Prefixes of the weights' names in the layers that are pretrained."""

    def build(self, dim: int) -> nn.Module:
        """Build the tower. Raises `MissingExtra` without torch."""
        module: nn.Module = _load(self.builder)(dim)
        return module

    def load_preprocessor(self) -> Callable[[NDArray[np.float32]], NDArray[np.float32]]:
        """Return the function that preprocesses samples."""
        function: Callable[[NDArray[np.float32]], NDArray[np.float32]] = _load(self.preprocessor)
        return function


_SPECTROGRAM = "bindsearch.encoders.pocket.spectrogram:spectrogram"
TOWERS = {
    "pocket": Architecture(
        "bindsearch.encoders.pocket.torch_weights:build_pretrained_audio_tower",
        _SPECTROGRAM,
        Windowing(),
        ("trunk.", "widen."),
    ),
    "pocket-new": Architecture("bindsearch.encoders.pocket.towers:build_audio_tower", _SPECTROGRAM, Windowing()),
    "pocket-small": Architecture(
        "bindsearch.encoders.pocket.towers:build_small_audio_tower", _SPECTROGRAM, Windowing()
    ),
}


def architecture(name: str) -> Architecture:
    """Return an architecture by name. Raises `UnknownSpace`."""
    if name not in TOWERS:
        raise UnknownSpace(f"no tower is called {name!r}; available: {', '.join(TOWERS)}")
    return TOWERS[name]


def _load(target: str) -> Any:
    module, _, name = target.partition(":")
    try:
        return getattr(import_module(module), name)
    except ModuleNotFoundError as error:
        raise MissingExtra(f"training needs the package {error.name!r}: pip install 'bindsearch[train]'") from error
