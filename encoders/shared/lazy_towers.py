"""Base classes of encoders: a space, and towers that are loaded when they are first needed."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from typing import Any

from bindsearch.types import SpaceSpec


class LazyTowers(ABC):
    """Loads a tower when a piece of its kind is encoded for the first time; safe to use from several threads."""

    def _initialise(self, spec: SpaceSpec) -> None:
        self._spec = spec
        self._towers: dict[Any, Any] = {}
        self._loading = threading.Lock()

    @property
    def spec(self) -> SpaceSpec:
        """The space; reading it loads no weights."""
        return self._spec

    def _tower(self, kind: Any) -> Any:
        with self._loading:
            if kind not in self._towers:
                self._towers[kind] = self._load(kind)
            return self._towers[kind]

    @abstractmethod
    def _load(self, kind: Any) -> Any:
        """Load a tower."""


class DeviceTowers(LazyTowers):
    """Lazy towers that run on the accelerator, if there is one."""

    @property
    def device(self) -> str:
        """Where the towers run: cpu, cuda or mps."""
        from .device import device

        return str(device().type)
