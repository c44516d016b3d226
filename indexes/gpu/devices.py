"""Which faiss is installed, which GPUs this machine has, which package uses them, and why a GPU is not used."""

from __future__ import annotations

from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import Any

from bindsearch.types import Devices, Gpu

from .faiss_probe import ProbeResult, may_have_gpu, probe_result

FAISS_PACKAGES = ("faiss-cpu", "faiss-gpu", "faiss-gpu-cu11", "faiss-gpu-cu12", "faiss-gpu-cuvs", "faiss")
"""All of these install the same module, so at most one of them should be installed."""


@cache
def devices() -> Devices:
    """Detect faiss and GPUs, once a process. Loads faiss and torch only if there may be a GPU."""
    packages = tuple(name for name in FAISS_PACKAGES if _version(name))
    faiss_version = _version(packages[0]) if packages else None
    if find_spec("faiss") is None:
        packages, faiss_version = (), None
    elif faiss_version is None:
        import faiss

        faiss_version = str(faiss.__version__)
    has_gpu = may_have_gpu()
    probe = probe_result() if has_gpu and faiss_version else ProbeResult()
    gpus = _torch_gpus() if has_gpu and find_spec("torch") else ()
    why = _why(has_gpu=has_gpu, gpus=gpus, probe=probe)
    return Devices(faiss_version, packages, probe.visible, probe.usable, probe.why, gpus, why)


def _why(*, has_gpu: bool, gpus: tuple[Gpu, ...], probe: ProbeResult) -> str:
    """Return in one line when the GPU is used and by which package, or why it is not."""
    if not has_gpu:
        return "this machine has no GPU"
    if probe.usable:
        number = len(probe.usable)
        names = f"{gpus[0].name} is" if number == 1 and gpus else f"{number} GPU{'s are' if number > 1 else ' is'}"
        return f"{names} used where exact search is slow, or with `index --device cuda`: through faiss"
    if find_spec("torch") is None:
        reason = f"faiss lists it but cannot use it: {probe.why}" if probe.visible else "faiss finds none"
        return f"this machine seems to have a GPU, but {reason}, and torch, which could use it, is not installed"
    if not gpus:
        return "this machine seems to have a GPU, but torch finds none: check that its driver suits this build of torch"
    through = f"through torch, not faiss: {probe.why}" if probe.visible else "through torch, as faiss finds none"
    return f"{gpus[0].name} is used where exact search is slow, or with `index --device cuda`: {through}"


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _torch_gpus() -> tuple[Gpu, ...]:
    try:
        import torch

        return tuple(_torch_gpu(torch, number) for number in range(torch.cuda.device_count()))
    except (ImportError, AttributeError, RuntimeError, AssertionError):
        return ()


def _torch_gpu(torch: Any, number: int) -> Gpu:
    properties = torch.cuda.get_device_properties(number)
    free, _ = torch.cuda.mem_get_info(number)
    capability = f"{properties.major}.{properties.minor}"
    return Gpu(properties.name, capability, int(properties.total_memory), int(free))
