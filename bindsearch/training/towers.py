"""Architectures that can be trained, and where their code is: loaded by string when training begins."""

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
    """A tower for sound: how sound is cut and prepared for it, and how it is built."""

    build: str
    """`module:callable` that takes the dimension of the space and gives the module."""
    prepare: str
    """`module:callable` that turns mono samples of one window into the tower's input, (frames, bands)."""
    windowing: Windowing
    taught: tuple[str, ...] = ()
    """Its layers that have learnt to hear already, by how their weights' names begin."""

    def built(self, dim: int) -> nn.Module:
        """Build the tower. Raises `MissingExtra` without torch."""
        module: nn.Module = _loaded(self.build)(dim)
        return module

    def front(self) -> Callable[[NDArray[np.float32]], NDArray[np.float32]]:
        """Return the function that prepares samples."""
        function: Callable[[NDArray[np.float32]], NDArray[np.float32]] = _loaded(self.prepare)
        return function


_SOUND = "bindsearch.encoders.pocket.spectrogram:spectrogram"
TOWERS = {
    "pocket": Architecture(
        "bindsearch.encoders.pocket.encoder:hearing_tower", _SOUND, Windowing(), ("trunk.", "widen.")
    ),
    "pocket-new": Architecture("bindsearch.encoders.pocket.towers:sound_tower", _SOUND, Windowing()),
    "pocket-small": Architecture("bindsearch.encoders.pocket.towers:small_sound_tower", _SOUND, Windowing()),
}


def architecture(name: str) -> Architecture:
    """Return an architecture by name. Raises `UnknownSpace`."""
    if name not in TOWERS:
        raise UnknownSpace(f"no tower is called {name!r}; there are {', '.join(TOWERS)}")
    return TOWERS[name]


def _loaded(place: str) -> Any:
    module, _, name = place.partition(":")
    try:
        return getattr(import_module(module), name)
    except ModuleNotFoundError as error:
        raise MissingExtra(f"training needs the package {error.name!r}: pip install 'bindsearch[models]'") from error
