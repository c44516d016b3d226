"""Damages small media files of every kind in many ways, and sees that identifying and decoding them ends well.

    python tests/stress/fuzz_media.py --count 10000 --seed 0 --jobs 2 --keep FOLDER

Ends well: pieces, or a MediaError, within ten seconds and two gigabytes, with nothing said on standard error.
Everything else is counted, and the file kept in --keep; the exit status is then 1.
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
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 10
MEGABYTES = 2048
FILES_A_WORKER = 500
"""After so many a worker is replaced, so that its peak of memory says something about recent files."""
MODALITIES = ("image", "audio", "video", "text")
OTHER_SUFFIXES = (".jpg", ".png", ".wav", ".mp3", ".mp4", ".txt", ".bin", "", ".html", ".mkv", ".tga", ".ogg")

Mutation = Callable[[random.Random, bytes, list[bytes]], bytes]


# -- damaging


def truncate(dice: random.Random, data: bytes, others: list[bytes]) -> bytes:
    return data[: dice.randrange(len(data))]


def flip_bits(dice: random.Random, data: bytes, others: list[bytes]) -> bytes:
    changed = bytearray(data)
    for _ in range(dice.choice((1, 1, 4, 16, 64))):
        changed[_place(dice, data)] ^= 1 << dice.randrange(8)
    return bytes(changed)


def overwrite(dice: random.Random, data: bytes, others: list[bytes]) -> bytes:
    place, length = _place(dice, data), dice.choice((1, 2, 4, 16, 256))
    filling = dice.choice((b"\0" * length, b"\xff" * length, dice.randbytes(length), b"\x7f" * length))
    return data[:place] + filling + data[place + length :]


def splice_header(dice: random.Random, data: bytes, others: list[bytes]) -> bytes:
    size = dice.choice((4, 8, 12, 16, 32, 64, 512))
    return dice.choice(others)[:size] + data[size:]


def swap_blocks(dice: random.Random, data: bytes, others: list[bytes]) -> bytes:
    size = max(1, min(dice.choice((4, 64, 1024)), len(data) // 2))
    one, other = sorted((dice.randrange(len(data) - size + 1), dice.randrange(len(data) - size + 1)))
    if other < one + size:
        return data[:one] + data[one + size :]
    middle = data[one + size : other]
    return data[:one] + data[other : other + size] + middle + data[one : one + size] + data[other + size :]


def set_number(dice: random.Random, data: bytes, others: list[bytes]) -> bytes:
    """What lengths, counts, sizes and rates are made of, near the beginning."""
    value = dice.choice((0, 1, 2, 0x7F, 0xFF, 0xFFFF, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF, 0xFFFF_FFF0, len(data)))
    packed = struct.pack(dice.choice(("<I", ">I")), value)[:: dice.choice((1, -1))][-dice.choice((1, 2, 4)) :]
    place = dice.randrange(min(len(data), 512))
    return data[:place] + packed + data[place + len(packed) :]


def add_before(dice: random.Random, data: bytes, others: list[bytes]) -> bytes:
    return dice.randbytes(dice.choice((1, 16, 1000))) + data


def add_after(dice: random.Random, data: bytes, others: list[bytes]) -> bytes:
    return data + dice.choice((dice.randbytes(dice.choice((1, 16, 5000))), dice.choice(others), data))


def repeat_block(dice: random.Random, data: bytes, others: list[bytes]) -> bytes:
    place, length = _place(dice, data), dice.choice((4, 32, 512))
    return data[:place] + data[place : place + length] * dice.choice((2, 50)) + data[place + length :]


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


def _place(dice: random.Random, data: bytes) -> int:
    """Half of the time near the beginning, where the headers are."""
    return dice.randrange(len(data) if dice.random() < 0.5 else min(len(data), 256))


def damaged(number: int, seed: int, samples: list[tuple[str, bytes]]) -> tuple[str, bytes]:
    """Make the suffix and the bytes of one damaged file, always the same for a seed and a number."""
    dice = random.Random(f"{seed}/{number}")
    suffix, data = dice.choice(samples)
    others = [content for _, content in samples]
    for _ in range(dice.choice((1, 1, 1, 2, 3))):
        data = dice.choice(MUTATIONS)(dice, data, others) or b"\0"
    return (dice.choice(OTHER_SUFFIXES) if dice.random() < 0.07 else suffix), data


# -- the worker: identifies and decodes the files whose paths come in


def work() -> None:
    sys.path.insert(0, str(ROOT))
    resource.setrlimit(resource.RLIMIT_AS, (2 * MEGABYTES << 20, 2 * MEGABYTES << 20))
    from bindsearch.errors import MediaError
    from bindsearch.media import decode, identify
    from bindsearch.types import Modality, Windowing

    for line in sys.stdin:
        try:
            kind = identify(Path(line.rstrip("\n")))
            if kind is not None:
                with decode(Path(line.rstrip("\n")), kind, Windowing(), wanted=frozenset(Modality)) as pieces:
                    for _ in pieces:
                        pass
            result = "decoded" if kind else "ignored"
        except MediaError as error:
            result = f"memory: {error}" if type(error.__cause__) is MemoryError else "refused"
        except BaseException:
            result = "unexpected: " + traceback.format_exc().replace("\n", " | ")
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        if peak > MEGABYTES:
            result = f"memory: {peak} MB"
        sys.stdout.write(result + "\n")
        sys.stdout.flush()


class Worker:
    """A process that may crash or hang without harm."""

    def __init__(self, folder: Path) -> None:
        self._log = tempfile.TemporaryFile(dir=folder)
        self._process = subprocess.Popen(
            [sys.executable, "-W", "always", __file__, "--worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
        )
        self._heard = 0
        self.files = 0

    def try_file(self, path: Path) -> str:
        """Return what became of a file: one word, and after a colon whatever there is to say."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self.files += 1
        self._process.stdin.write(f"{path}\n".encode())
        self._process.stdin.flush()
        if not select.select([self._process.stdout], [], [], SECONDS)[0]:
            return f"hang: more than {SECONDS} s"
        answer = self._process.stdout.readline().decode().strip()
        said = self._said()
        if not answer:
            return f"crash: status {self._process.wait()} {said}"
        return f"noise: {said}" if said and not answer.startswith("unexpected") else answer

    def _said(self) -> str:
        self._log.seek(self._heard)
        said = self._log.read()
        self._heard += len(said)
        return said.decode(errors="replace").strip()

    def end(self) -> None:
        self._process.kill()
        self._process.communicate()
        self._log.close()


@dataclass
class Tally:
    counts: Counter[str] = field(default_factory=Counter)
    offences: list[str] = field(default_factory=list)

    def add(self, path: Path, result: str, keep: Path | None) -> None:
        word = result.partition(":")[0]
        self.counts[word] += 1
        if word not in ("decoded", "refused", "ignored"):
            self.offences.append(f"{path.name}: {result}")
            print(self.offences[-1], flush=True)
            if keep:
                shutil.copy(path, keep)


def run_share(numbers: range, seed: int, samples: list[tuple[str, bytes]], keep: Path | None) -> Tally:
    """Try every file whose number is in a range, in workers of its own."""
    tally = Tally()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        worker = Worker(folder)
        for number in numbers:
            suffix, data = damaged(number, seed, samples)
            path = folder / f"{seed}-{number}{suffix}"
            path.write_bytes(data)
            result = worker.try_file(path)
            tally.add(path, result, keep)
            path.unlink()
            if result.startswith(("hang", "crash", "memory")) or worker.files >= FILES_A_WORKER:
                worker.end()
                worker = Worker(folder)
        worker.end()
    return tally


def samples() -> list[tuple[str, bytes]]:
    """Make the files that are damaged."""
    sys.path.insert(0, str(ROOT / "tests" / "media"))
    from media_makers import files_of_all_formats

    with tempfile.TemporaryDirectory() as name:
        return [(path.suffix, path.read_bytes()) for path in files_of_all_formats(Path(name))]


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--count", type=int, default=1000)
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--first", type=int, default=0, help="number of the first file")
    options.add_argument("--jobs", type=int, default=1)
    options.add_argument("--keep", type=Path, help="folder for the files that did not end well")
    options.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    chosen = options.parse_args()
    if chosen.worker:
        work()
        return 0
    if chosen.keep:
        chosen.keep.mkdir(parents=True, exist_ok=True)
    made = samples()
    last = chosen.first + chosen.count
    shares = [range(chosen.first + job, last, chosen.jobs) for job in range(chosen.jobs)]
    with ThreadPoolExecutor(chosen.jobs) as pool:
        tallies = list(pool.map(lambda share: run_share(share, chosen.seed, made, chosen.keep), shares))
    total = sum((tally.counts for tally in tallies), Counter())
    print(", ".join(f"{count} {word}" for word, count in sorted(total.items())))
    return 1 if any(tally.offences for tally in tallies) else 0


if __name__ == "__main__":
    sys.exit(main())
