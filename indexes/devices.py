"""Which FAISS is here, which cards, who sees them, and why a card that is here is not used."""

from __future__ import annotations

import shutil
import sys
from dataclasses import asdict, dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

FAISS_PACKAGES = ("faiss-cpu", "faiss-gpu", "faiss-gpu-cu11", "faiss-gpu-cu12", "faiss-gpu-cuvs", "faiss")
"""All install the same module, so that there must be one of them at the most."""
CARD_FILES = ("/dev/nvidiactl", "/dev/nvidia0", "/dev/dxg", "/dev/kfd")
"""Of which one is there, on Linux, where there is a card that computes."""


@dataclass(frozen=True, slots=True)
class Gpu:
    """A card that torch sees."""

    name: str
    capability: str
    memory: int
    free: int


@dataclass(frozen=True, slots=True)
class Devices:
    """What of this machine searches."""

    faiss: str | None
    """Its version; None where there is none."""
    faiss_packages: tuple[str, ...]
    """Those that are installed and bring faiss."""
    faiss_gpus: int
    """Cards that this faiss sees."""
    gpus: tuple[Gpu, ...]
    """Cards that torch sees."""
    why: str
    """Why no card is used, or how one comes to be."""

    def as_json(self) -> dict[str, Any]:
        """Plain values, ready for `json.dumps`."""
        return asdict(self)


@cache
def devices() -> Devices:
    """Look once at what there is. Loads faiss and torch only on a machine that seems to have a card."""
    packages = tuple(name for name in FAISS_PACKAGES if _version(name))
    told = _version(packages[0]) if packages else None
    if find_spec("faiss") is None:
        packages, told = (), None
    elif told is None:
        import faiss

        told = str(faiss.__version__)
    card = may_have_card()
    faiss_gpus = _faiss_gpus() if card and told else 0
    gpus = _torch_gpus() if card and find_spec("torch") else ()
    return Devices(told, packages, faiss_gpus, gpus, _why(card=card, gpus=gpus, faiss_gpus=faiss_gpus))


def may_have_card() -> bool:
    """Tell, without loading anything, whether there might be a card."""
    torch: Any = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        return True
    return any(map(_is_there, CARD_FILES)) or shutil.which("nvidia-smi") is not None


def _why(*, card: bool, gpus: tuple[Gpu, ...], faiss_gpus: int) -> str:
    """Say in a line why no card is used by itself, or by whom."""
    if not card:
        return "no GPU is here"
    if find_spec("torch") is None:
        return "a GPU seems to be here, but not torch, through which it would be used: pip install torch"
    if not gpus:
        return "a GPU seems to be here, but torch sees none: its driver or this build of torch does not suit it"
    through = "through torch"
    if faiss_gpus:
        through += ", not through faiss, whose wheels lack code for newer cards and then end the process"
    return f"{gpus[0].name} is used where exact search is slow, or with `index --device cuda`: {through}"


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _faiss_gpus() -> int:
    try:
        import faiss

        return int(faiss.get_num_gpus())
    except (ImportError, AttributeError, RuntimeError):
        return 0


def _torch_gpus() -> tuple[Gpu, ...]:
    try:
        import torch

        return tuple(_gpu(torch, number) for number in range(torch.cuda.device_count()))
    except (ImportError, AttributeError, RuntimeError, AssertionError):
        return ()


def _gpu(torch: Any, number: int) -> Gpu:
    about = torch.cuda.get_device_properties(number)
    free, _ = torch.cuda.mem_get_info(number)
    return Gpu(about.name, f"{about.major}.{about.minor}", int(about.total_memory), int(free))


def _is_there(file: str) -> bool:
    try:
        return Path(file).exists()
    except OSError:
        return False
