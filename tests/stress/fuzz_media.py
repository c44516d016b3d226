"""Damage small media files of every kind in many ways, and check that identifying and decoding them is safe.

    python tests/stress/fuzz_media.py --count 10000 --seed 0 --jobs 2 --keep FOLDER

A file passes if it gives pieces or a MediaError, within ten seconds and two gigabytes, with no output on standard
error. Every other outcome is printed, and the file copied to --keep; the exit status is then 1.
"""

from __future__ import annotations

import argparse
import random
import resource
import select
import shutil
import struct
import subprocess
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TIMEOUT_SECONDS = 10
MAX_MEGABYTES = 2048
MAX_FILES_PER_WORKER = 500
"""A worker is replaced after this many files, so that its peak memory is that of recent files."""
HEADER_BYTES = 256
"""Where half of the changes are made."""
NUMBER_BYTES = 512
"""Where `set_number` overwrites lengths, counts, sizes and rates."""
OTHER_SUFFIX_RATE = 0.07
"""The share of files that get the suffix of another format."""
OTHER_SUFFIXES = (".jpg", ".png", ".wav", ".mp3", ".mp4", ".txt", ".bin", "", ".html", ".mkv", ".tga", ".ogg")

Mutation = Callable[[random.Random, bytes, list[bytes]], bytes]


class Outcome(StrEnum):
    """What became of a damaged file."""

    DECODED = "decoded"
    REFUSED = "refused"
    """By a MediaError."""
    IGNORED = "ignored"
    """Not a media file."""
    MEMORY = "memory"
    """More than MAX_MEGABYTES."""
    UNEXPECTED = "unexpected"
    """An error that is not a MediaError."""
    HANG = "hang"
    """More than TIMEOUT_SECONDS."""
    CRASH = "crash"
    """The process ended."""
    NOISE = "noise"
    """Output on standard error, or on standard output."""


PASSED = (Outcome.DECODED, Outcome.REFUSED, Outcome.IGNORED)
REPLACES_WORKER = (Outcome.HANG, Outcome.CRASH, Outcome.MEMORY)


@dataclass(frozen=True)
class Result:
    """The outcome of one file, and details of a failure. A worker prints it as one line."""

    outcome: Outcome
    details: str = ""

    def __str__(self) -> str:
        return f"{self.outcome}: {self.details}" if self.details else self.outcome.value

    @classmethod
    def parse(cls, line: str) -> Result:
        """Parse a line of a worker; any other line on its standard output is noise."""
        outcome, _, details = line.partition(": ")
        return cls(Outcome(outcome), details) if outcome in list(Outcome) else cls(Outcome.NOISE, line)


# -- damage


def truncate(rng: random.Random, data: bytes, others: list[bytes]) -> bytes:
    return data[: rng.randrange(len(data))]


def flip_bits(rng: random.Random, data: bytes, others: list[bytes]) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 4, 16, 64))):
        changed[_random_offset(rng, data)] ^= 1 << rng.randrange(8)
    return bytes(changed)


def overwrite(rng: random.Random, data: bytes, others: list[bytes]) -> bytes:
    offset, length = _random_offset(rng, data), rng.choice((1, 2, 4, 16, 256))
    filling = rng.choice((b"\0" * length, b"\xff" * length, rng.randbytes(length), b"\x7f" * length))
    return data[:offset] + filling + data[offset + length :]


def splice_header(rng: random.Random, data: bytes, others: list[bytes]) -> bytes:
    size = rng.choice((4, 8, 12, 16, 32, 64, 512))
    return rng.choice(others)[:size] + data[size:]


def swap_blocks(rng: random.Random, data: bytes, others: list[bytes]) -> bytes:
    size = max(1, min(rng.choice((4, 64, 1024)), len(data) // 2))
    one, other = sorted((rng.randrange(len(data) - size + 1), rng.randrange(len(data) - size + 1)))
    if other < one + size:
        return data[:one] + data[one + size :]
    middle = data[one + size : other]
    return data[:one] + data[other : other + size] + middle + data[one : one + size] + data[other + size :]


def set_number(rng: random.Random, data: bytes, others: list[bytes]) -> bytes:
    """Overwrite bytes near the beginning, where lengths, counts, sizes and rates are stored."""
    value = rng.choice((0, 1, 2, 0x7F, 0xFF, 0xFFFF, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF, 0xFFFF_FFF0, len(data)))
    packed = struct.pack(rng.choice(("<I", ">I")), value)[:: rng.choice((1, -1))][-rng.choice((1, 2, 4)) :]
    offset = rng.randrange(min(len(data), NUMBER_BYTES))
    return data[:offset] + packed + data[offset + len(packed) :]


def add_before(rng: random.Random, data: bytes, others: list[bytes]) -> bytes:
    return rng.randbytes(rng.choice((1, 16, 1000))) + data


def add_after(rng: random.Random, data: bytes, others: list[bytes]) -> bytes:
    return data + rng.choice((rng.randbytes(rng.choice((1, 16, 5000))), rng.choice(others), data))


def repeat_block(rng: random.Random, data: bytes, others: list[bytes]) -> bytes:
    offset, length = _random_offset(rng, data), rng.choice((4, 32, 512))
    return data[:offset] + data[offset : offset + length] * rng.choice((2, 50)) + data[offset + length :]


MUTATIONS: tuple[Mutation, ...] = (
    truncate,
    flip_bits,
    flip_bits,
    overwrite,
    overwrite,
    splice_header,
    swap_blocks,
    set_number,
    set_number,
    add_before,
    add_after,
    repeat_block,
)


def _random_offset(rng: random.Random, data: bytes) -> int:
    """Return a random offset, half of the time in the header."""
    return rng.randrange(len(data) if rng.random() < 0.5 else min(len(data), HEADER_BYTES))


def damaged_file(number: int, seed: int, samples: list[tuple[str, bytes]]) -> tuple[str, bytes]:
    """Return the suffix and the bytes of one damaged file, always the same for a seed and a number."""
    rng = random.Random(f"{seed}/{number}")
    suffix, data = rng.choice(samples)
    others = [content for _, content in samples]
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        data = rng.choice(MUTATIONS)(rng, data, others) or b"\0"
    return (rng.choice(OTHER_SUFFIXES) if rng.random() < OTHER_SUFFIX_RATE else suffix), data


# -- the worker: identifies and decodes the files whose paths it reads from standard input


def work() -> None:
    """Print one result for each path on standard input."""
    sys.path.insert(0, str(ROOT))
    resource.setrlimit(resource.RLIMIT_AS, (2 * MAX_MEGABYTES << 20, 2 * MAX_MEGABYTES << 20))
    for line in sys.stdin:
        result = decode_file(Path(line.rstrip("\n")))
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        if peak > MAX_MEGABYTES:
            result = Result(Outcome.MEMORY, f"{peak} MB")
        sys.stdout.write(f"{result}\n")
        sys.stdout.flush()


def decode_file(path: Path) -> Result:
    """Identify and decode a file to its end; return any error as a result."""
    from bindsearch.errors import MediaError
    from bindsearch.media import decode, identify
    from bindsearch.types import Modality, Windowing

    try:
        kind = identify(path)
        if kind is None:
            return Result(Outcome.IGNORED)
        with decode(path, kind, Windowing(), wanted=frozenset(Modality)) as pieces:
            for _ in pieces:
                pass
        return Result(Outcome.DECODED)
    except MediaError as error:
        if type(error.__cause__) is MemoryError:
            return Result(Outcome.MEMORY, str(error).replace("\n", " | "))
        return Result(Outcome.REFUSED)
    except BaseException:
        return Result(Outcome.UNEXPECTED, traceback.format_exc().replace("\n", " | "))


class Worker:
    """A process that may crash or hang without harm to this one."""

    def __init__(self, folder: Path) -> None:
        self._stderr = tempfile.TemporaryFile(dir=folder)
        self._process = subprocess.Popen(
            [sys.executable, "-W", "always", __file__, "--worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
        )
        self._stderr_offset = 0
        self.files = 0

    def decode_file(self, path: Path) -> Result:
        """Let the process identify and decode a file."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self.files += 1
        self._process.stdin.write(f"{path}\n".encode())
        self._process.stdin.flush()
        if not select.select([self._process.stdout], [], [], TIMEOUT_SECONDS)[0]:
            return Result(Outcome.HANG, f"more than {TIMEOUT_SECONDS} s")
        line = self._process.stdout.readline().decode().strip()
        messages = self._new_messages()
        if not line:
            return Result(Outcome.CRASH, f"status {self._process.wait()} {messages}")
        result = Result.parse(line)
        if messages and result.outcome != Outcome.UNEXPECTED:
            return Result(Outcome.NOISE, messages)
        return result

    def _new_messages(self) -> str:
        """Return what the process has written to standard error since the last call."""
        self._stderr.seek(self._stderr_offset)
        output = self._stderr.read()
        self._stderr_offset += len(output)
        return output.decode(errors="replace").strip()

    def end(self) -> None:
        self._process.kill()
        self._process.communicate()
        self._stderr.close()


@dataclass
class Tally:
    """How many files had each outcome."""

    counts: Counter[Outcome] = field(default_factory=Counter)
    failures: int = 0

    def add(self, path: Path, result: Result, keep: Path | None) -> None:
        """Count a result; print a failure, and copy its file to `keep`."""
        self.counts[result.outcome] += 1
        if result.outcome in PASSED:
            return
        self.failures += 1
        print(f"{path.name}: {result}", flush=True)
        if keep:
            shutil.copy(path, keep)


def run_share(numbers: range, seed: int, samples: list[tuple[str, bytes]], keep: Path | None) -> Tally:
    """Decode the damaged files of these numbers in a worker of their own."""
    tally = Tally()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        worker = Worker(folder)
        for number in numbers:
            suffix, data = damaged_file(number, seed, samples)
            path = folder / f"{seed}-{number}{suffix}"
            path.write_bytes(data)
            result = worker.decode_file(path)
            tally.add(path, result, keep)
            path.unlink()
            if result.outcome in REPLACES_WORKER or worker.files >= MAX_FILES_PER_WORKER:
                worker.end()
                worker = Worker(folder)
        worker.end()
    return tally


def samples() -> list[tuple[str, bytes]]:
    """Return the suffix and the bytes of a small file of each format."""
    sys.path.insert(0, str(ROOT / "tests" / "media"))
    from media_makers import files_of_all_formats

    with tempfile.TemporaryDirectory() as name:
        return [(path.suffix, path.read_bytes()) for path in files_of_all_formats(Path(name))]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="number of the first file")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--keep", type=Path, help="folder for the files that fail")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        work()
        return 0
    if options.keep:
        options.keep.mkdir(parents=True, exist_ok=True)
    originals = samples()
    last = options.first + options.count
    shares = [range(options.first + job, last, options.jobs) for job in range(options.jobs)]
    with ThreadPoolExecutor(options.jobs) as pool:
        tallies = list(pool.map(lambda share: run_share(share, options.seed, originals, options.keep), shares))
    total = sum((tally.counts for tally in tallies), Counter())
    print(", ".join(f"{count} {outcome}" for outcome, count in sorted(total.items())))
    return 1 if any(tally.failures for tally in tallies) else 0


if __name__ == "__main__":
    sys.exit(main())
