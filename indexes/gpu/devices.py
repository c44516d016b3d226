"""Which FAISS is here, which cards, who sees them, and why a card that is here is not used."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import Any

from .faiss_probe import ProbeResult, may_have_card, verdict

FAISS_PACKAGES = ("faiss-cpu", "faiss-gpu", "faiss-gpu-cu11", "faiss-gpu-cu12", "faiss-gpu-cuvs", "faiss")
"""All install the same module, so that there must be one of them at the most."""


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
    faiss_runs: tuple[int, ...]
    """Those of them on which it was tried, and answered rightly."""
    faiss_why: str
    """Why it does not run on one that it sees."""
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
    tried = verdict() if card and told else ProbeResult()
    gpus = _torch_gpus() if card and find_spec("torch") else ()
    return Devices(told, packages, tried.seen, tried.runs, tried.why, gpus, _why(card=card, gpus=gpus, tried=tried))


def _why(*, card: bool, gpus: tuple[Gpu, ...], tried: ProbeResult) -> str:
    """Say in a line why no card is used by itself, or by whom."""
    if not card:
        return "no GPU is here"
    if tried.runs:
        number = len(tried.runs)
        which = f"{gpus[0].name} is" if number == 1 and gpus else f"{number} GPU{'s are' if number > 1 else ' is'}"
        return f"{which} used where exact search is slow, or with `index --device cuda`: through faiss"
    if find_spec("torch") is None:
        lack = f"faiss sees it but does not run on it: {tried.why}" if tried.seen else "faiss sees none"
        return f"a GPU seems to be here, but {lack}, and torch, through which it would be used, is missing"
    if not gpus:
        return "a GPU seems to be here, but torch sees none: its driver or this build of torch does not suit it"
    through = f"through torch, not faiss: {tried.why}" if tried.seen else "through torch, as this faiss sees none"
    return f"{gpus[0].name} is used where exact search is slow, or with `index --device cuda`: {through}"


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


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
