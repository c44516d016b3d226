"""Cards that the faiss at hand can use: found out in a process of its own, for one that has no code for a card ends it.

FAISS sees a card whether it has code for it or not; the first search tells. An error of the card could not be taken
back in the process where it happened, so a tiny search is tried elsewhere, once, and its verdict is kept until faiss or
the driver is another one.
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
told = {"seen": int(getattr(faiss, "get_num_gpus", lambda: 0)()), "runs": [], "graphs": hasattr(faiss, "GpuIndexCagra")}
print(json.dumps(told), flush=True)
if hasattr(faiss, "StandardGpuResources"):
    vectors = numpy.eye(64, 32, dtype=numpy.float32)
    flat = faiss.IndexFlatIP(32)
    flat.add(vectors)
    for card in range(told["seen"]):
        resources = faiss.StandardGpuResources()
        options = faiss.GpuClonerOptions()
        options.useFloat16 = True
        found = faiss.index_cpu_to_gpu(resources, card, flat, options).search(vectors[:32], 1)[1][:, 0]
        if found.tolist() == list(range(32)):
            told["runs"].append(card)
        print(json.dumps(told), flush=True)
"""
SECONDS = 60.0
"""The probe may take so long: the first use of a card loads its driver."""
CARD_FILES = ("/dev/nvidiactl", "/dev/nvidia0", "/dev/dxg", "/dev/kfd")
"""Of which one is there, on Linux, where there is a card that computes."""
DRIVER = Path("/proc/driver/nvidia/version")


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """What the probe found."""

    seen: int = 0
    """Cards that faiss sees."""
    runs: tuple[int, ...] = ()
    """Those that answered, and rightly."""
    graphs: bool = False
    """Whether this faiss was built with CAGRA."""
    why: str = ""
    """Why a card that is seen does not run."""


@dataclass(frozen=True, eq=False)
class Cards:
    """A faiss that has cards, and which of them to use."""

    faiss: Any
    numbers: tuple[int, ...] = ()
    graphs: bool = False

    @classmethod
    def here(cls) -> Cards:
        """Return those that run on this machine; none is an answer too. Loads faiss only where one does."""
        told = verdict() if may_have_card() else ProbeResult()
        if not told.runs:
            return cls(None)
        import faiss

        return cls(faiss, told.runs, told.graphs)

    def __bool__(self) -> bool:
        return bool(self.numbers)


@cache
def verdict() -> ProbeResult:
    """Return which cards faiss runs on. Starts a process, if nobody did before with this faiss and driver."""
    found = find_spec("faiss")
    if found is None or found.origin is None:
        return ProbeResult()
    kept = _kept_at(Path(found.origin))
    told = _read(kept)
    if told is None:
        told = probed(PROBE)
        _write(kept, told)
    return told


def lack() -> str:
    """Say why faiss uses no card here."""
    return (verdict().why if may_have_card() else "") or "faiss sees no GPU here"


def may_have_card() -> bool:
    """ProgressCallback, without loading anything, whether there might be a card."""
    torch: Any = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        return True
    return any(map(_is_there, CARD_FILES)) or shutil.which("nvidia-smi") is not None


def probed(program: str, *, seconds: float = SECONDS) -> ProbeResult:
    """Run a program that prints what it found so far as it goes on, and say how that ended."""
    try:
        run = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, timeout=seconds, check=False
        )
        out, err, ended = run.stdout, run.stderr, run.returncode
    except subprocess.TimeoutExpired as late:
        out, err, ended = _text(late.stdout), f"no answer within {seconds:.0f} s", -1
    except OSError as error:
        return ProbeResult(why=f"it cannot be tried: {error.strerror}")
    told = _last(out)
    why = "" if told.seen == len(told.runs) else _reason(err) or f"the trial ended with status {ended}"
    return ProbeResult(told.seen, told.runs, told.graphs, why)


def _last(out: str) -> ProbeResult:
    for line in reversed(out.splitlines()):
        try:
            told = json.loads(line)
            return ProbeResult(int(told["seen"]), tuple(map(int, told["runs"])), bool(told["graphs"]))
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


def _kept_at(faiss: Path) -> Path:
    """Return the file for the verdict on this faiss, with this driver and the cards that are shown to us."""
    try:
        driver = DRIVER.read_text()
    except OSError:
        driver = ""
    shown = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    stamp = f"{faiss} {_changed(faiss)} {driver} {shown}"
    default = os.environ.get("LOCALAPPDATA") if sys.platform == "win32" else None
    folder = Path(default or os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "bindsearch"
    return folder / f"faiss-cards-{hashlib.sha256(stamp.encode()).hexdigest()[:16]}.json"


def _changed(faiss: Path) -> int:
    try:
        return faiss.stat().st_mtime_ns
    except OSError:
        return 0


def _read(file: Path) -> ProbeResult | None:
    try:
        told = json.loads(file.read_text(encoding="utf-8"))
        return ProbeResult(int(told["seen"]), tuple(map(int, told["runs"])), bool(told["graphs"]), str(told["why"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _write(file: Path, told: ProbeResult) -> None:
    """Keep a verdict; where it cannot be written it is found out again."""
    draft = file.with_suffix(f".{os.getpid()}")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        draft.write_text(json.dumps(asdict(told)), encoding="utf-8")
        draft.replace(file)
    except OSError:
        return


def _is_there(file: str) -> bool:
    try:
        return Path(file).exists()
    except OSError:
        return False
