"""What encoders have in common: a space, towers that are read when they are needed, and where these run."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from typing import Any

from bindsearch.types import SpaceSpec


class LazyTowers(ABC):
    """Reads a tower when something of its kind is encoded for the first time, in whichever thread that is."""

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
        """Read a tower."""


class DeviceTowers(LazyTowers):
    """Its towers run on the accelerator, where there is one."""

    @property
    def device(self) -> str:
        """Where the towers run: cpu, cuda or mps."""
        from .device import device

        return str(device().type)
