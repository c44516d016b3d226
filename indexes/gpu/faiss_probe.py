"""Which GPUs the installed faiss can use: found out by a tiny search in a process of its own.

FAISS lists a GPU whether it has code for it or not; only the first search shows that, by ending the process or by an
error that the process cannot recover from. So the search is tried in another process, once, and the result is cached
until faiss, the driver, or the GPUs that are visible change.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from dataclasses import asdict, dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

PROBE = """
import json, sys
import faiss, numpy
visible = int(getattr(faiss, "get_num_gpus", lambda: 0)())
result = {"visible": visible, "usable": [], "has_cagra": hasattr(faiss, "GpuIndexCagra")}
print(json.dumps(result), flush=True)
if hasattr(faiss, "StandardGpuResources"):
    vectors = numpy.eye(64, 32, dtype=numpy.float32)
    flat = faiss.IndexFlatIP(32)
    flat.add(vectors)
    for gpu in range(visible):
        resources = faiss.StandardGpuResources()
        options = faiss.GpuClonerOptions()
        options.useFloat16 = True
        found = faiss.index_cpu_to_gpu(resources, gpu, flat, options).search(vectors[:32], 1)[1][:, 0]
        if found.tolist() == list(range(32)):
            result["usable"].append(gpu)
        print(json.dumps(result), flush=True)
"""
"""Prints what it has found so far after each GPU: the last line counts, also if the process ends there."""
MAX_PROBE_SECONDS = 60.0
"""The first use of a GPU loads its driver, which takes time."""
GPU_FILES = ("/dev/nvidiactl", "/dev/nvidia0", "/dev/dxg", "/dev/kfd")
"""On Linux, one of these exists where there is a GPU that computes."""
DRIVER = Path("/proc/driver/nvidia/version")


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """What the probe found."""

    visible: int = 0
    """The number of GPUs that faiss lists."""
    usable: tuple[int, ...] = ()
    """The numbers of those that returned the right answers."""
    has_cagra: bool = False
    """Whether this faiss was built with CAGRA graphs."""
    why: str = ""
    """Why a GPU that faiss lists is not usable."""

    @classmethod
    def from_json(cls, text: str) -> ProbeResult:
        """Read a result. Raises `ValueError`, `KeyError` or `TypeError` for anything else."""
        values = json.loads(text)
        usable = tuple(map(int, values["usable"]))
        return cls(int(values["visible"]), usable, bool(values["has_cagra"]), str(values.get("why", "")))


@dataclass(frozen=True, eq=False)
class FaissGpus:
    """The module faiss, and the numbers of the GPUs to use; false if there are none."""

    faiss: Any
    numbers: tuple[int, ...] = ()
    has_cagra: bool = False

    @classmethod
    def detect(cls) -> FaissGpus:
        """Return the usable GPUs of this machine, perhaps none. Loads faiss only if there are some."""
        result = probe_result() if may_have_gpu() else ProbeResult()
        if not result.usable:
            return cls(None)
        import faiss

        return cls(faiss, result.usable, result.has_cagra)

    def __bool__(self) -> bool:
        return bool(self.numbers)


@cache
def probe_result() -> ProbeResult:
    """Return which GPUs faiss can use. Starts a process unless the result for this faiss and driver is cached."""
    spec = find_spec("faiss")
    if spec is None or spec.origin is None:
        return ProbeResult()
    file = _cache_file(Path(spec.origin))
    result = _read(file)
    if result is None:
        result = run_probe(PROBE)
        _write(file, result)
    return result


def why_no_gpu() -> str:
    """Return why faiss uses no GPU on this machine."""
    return (probe_result().why if may_have_gpu() else "") or "faiss finds no GPU"


def may_have_gpu() -> bool:
    """Whether this machine may have a GPU. Loads nothing to find out."""
    torch: Any = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        return True
    return any(map(_exists, GPU_FILES)) or shutil.which("nvidia-smi") is not None


def run_probe(program: str, *, seconds: float = MAX_PROBE_SECONDS) -> ProbeResult:
    """Run a program that prints results as `PROBE` does; return the last one, and why it ended early if it did."""
    try:
        run = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, timeout=seconds, check=False
        )
        out, err, status = run.stdout, run.stderr, run.returncode
    except subprocess.TimeoutExpired as late:
        out, err, status = _text(late.stdout), f"no answer within {seconds:.0f} s", -1
    except OSError as error:
        return ProbeResult(why=f"the probe cannot be started: {error.strerror}")
    result = _last_result(out)
    complete = result.visible == len(result.usable)
    why = "" if complete else _reason(err) or f"the probe ended with status {status}"
    return ProbeResult(result.visible, result.usable, result.has_cagra, why)


def _last_result(out: str) -> ProbeResult:
    for line in reversed(out.splitlines()):
        try:
            return ProbeResult.from_json(line)
        except (ValueError, KeyError, TypeError):
            continue
    return ProbeResult()


def _reason(err: str) -> str:
    lines = [line.strip() for line in err.splitlines() if line.strip()]
    if any("no kernel image" in line for line in lines):
        return "this faiss has no code for it (no kernel image)"
    return lines[-1][:200] if lines else ""


def _text(out: str | bytes | None) -> str:
    return out.decode(errors="replace") if isinstance(out, bytes) else out or ""


def _cache_file(faiss: Path) -> Path:
    """Return the file for the result of this faiss, with this driver and the GPUs that are visible to us."""
    try:
        driver = DRIVER.read_text()
    except OSError:
        driver = ""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    stamp = f"{faiss} {_modified(faiss)} {driver} {visible}"
    default = os.environ.get("LOCALAPPDATA") if sys.platform == "win32" else None
    folder = Path(default or os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "bindsearch"
    return folder / f"faiss-gpus-{hashlib.sha256(stamp.encode()).hexdigest()[:16]}.json"


def _modified(faiss: Path) -> int:
    try:
        return faiss.stat().st_mtime_ns
    except OSError:
        return 0


def _read(file: Path) -> ProbeResult | None:
    try:
        return ProbeResult.from_json(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _write(file: Path, result: ProbeResult) -> None:
    """Cache a result. If that is not possible, the next process probes again."""
    draft = file.with_suffix(f".{os.getpid()}")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        draft.write_text(json.dumps(asdict(result)), encoding="utf-8")
        draft.replace(file)
    except OSError:
        return


def _exists(file: str) -> bool:
    try:
        return Path(file).exists()
    except OSError:
        return False
