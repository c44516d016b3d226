"""Kill -9 migrations at random moments, run them again, and compare with a library made with the new space at once.

    python tests/stress/stress_migrate.py [--times 10] [--seed 0] [--files 240] [--readers 1]

After each kill the library must answer from one space, whole, and `doctor` must find nothing; the next run must not
embed again what was done. Other processes search all the while: each of their answers must be that of one of the two
spaces. Exit status 1 if anything else is seen.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import trial_space
from stress_kill import Truth, faults, killed, make_media, truth_of

import bindsearch

QUERY = "Text 7 of the trial."
Answer = list[tuple[str, float]]


def command(*words: str | Path) -> list[str]:
    """Return a command line for another process."""
    return [sys.executable, "-m", "bindsearch", *map(str, words)]


def run(*words: str | Path) -> subprocess.CompletedProcess[str]:
    """Run a command line to its end."""
    return subprocess.run(command(*words), capture_output=True, text=True, check=True)


def answer_of(library: bindsearch.Library) -> Answer:
    """Return a whole answer in plain order: paths and scores."""
    return [(str(hit.path), round(hit.score, 5)) for hit in library.search(QUERY, k=50, raw=True)]


def look(library: Path, expected: dict[str, Truth]) -> tuple[str, int, list[str]]:
    """Return the space that answers, how many files the migration has settled, and what is wrong."""
    with bindsearch.open(library) as opened:
        status = opened.status()
    return status.space, 0 if status.pending is None else status.pending.files, faults(library, expected[status.space])


def read(library: Path, until: Path, right: list[Answer]) -> int:
    """Search until a file appears; print how often each right answer came, and how often another."""
    counts = [0] * (len(right) + 1)
    with bindsearch.open(library) as opened:
        while not until.exists():
            told = answer_of(opened)
            counts[right.index(told) if told in right else len(right)] += 1
            until.with_name(f"reading-{os.getpid()}").touch()
            time.sleep(0.02)
    print(json.dumps(counts))
    return 0


def start_readers(folder: Path, library: Path, answers: list[Answer], *, number: int) -> list[subprocess.Popen[str]]:
    """Let processes search a library until a file `end` is there; return when all of them read."""
    right = folder / "right.json"
    right.write_text(json.dumps(answers))
    reading = [sys.executable, __file__, "--read", str(library), "--until", str(folder / "end"), "--right", str(right)]
    processes = [subprocess.Popen(reading, stdout=subprocess.PIPE, text=True) for _ in range(number)]
    while len(list(folder.glob("reading-*"))) < number and all(process.poll() is None for process in processes):
        time.sleep(0.05)
    return processes


def trial(
    folder: Path, *, times: int, files: int, seed: int, readers: int, say: bool = False
) -> tuple[int, list[int], list[str]]:
    """Return how often a migration was killed, how often readers saw the old, the new or another answer, and all "
    f"faults.

    The readers' library is migrated, rolled back and migrated while they search.
    """
    os.environ["PYTHONPATH"] = os.pathsep.join([trial_space.install(folder / "plug"), os.environ.get("PYTHONPATH", "")])
    sys.path.insert(0, str(folder / "plug"))  # this process, too, is to find the plug-in
    media, old, new = folder / "media", folder / "old.library", folder / "new.library"
    make_media(media, files=files, seed=seed)
    run("index", "--quiet", "-l", old, "--space", "toy", media)
    began = time.monotonic()
    run("index", "--quiet", "-l", new, "--space", "trial", media)
    whole = time.monotonic() - began
    expected = {"toy": truth_of(old), "trial": truth_of(new)}
    answers = []
    for library in (old, new):
        with bindsearch.open(library) as opened:
            answers.append(answer_of(opened))
    told = _kill(folder, old, expected, whole, times=times, seed=seed, say=say)
    seen = _watch(folder, old, answers, told, readers=readers) if readers else []
    return times, seen, told


def _kill(
    folder: Path, old: Path, expected: dict[str, Truth], whole: float, *, times: int, seed: int, say: bool
) -> list[str]:
    moments = random.Random(seed)
    kills, told, round_number = 0, [], 0
    while kills < times:
        round_number += 1
        library = folder / f"{round_number}.library"
        shutil.copytree(old, library)
        migration = command("migrate", "--space", "trial", "--quiet", "-l", library)
        before = 0
        while kills < times and killed(migration, after=moments.uniform(0.3, whole)):
            kills += 1
            space, done, wrong = look(library, expected)
            told += wrong
            if space == "toy" and done < before:
                told.append(f"{before} files were settled, {done} are after another kill")
            before = done
            if say:
                print(f"library {round_number}, kill {kills}: space {space}, {done} files done, {len(told)} faults")
        told += _finish(library, expected, before)
        shutil.rmtree(library)
    return told


def _finish(library: Path, expected: dict[str, Truth], settled: int) -> list[str]:
    """Let a migration end; say what is wrong with the library, with the way back, and with the way forward."""
    told = []
    with bindsearch.open(library) as opened:
        migrated = opened.status().space == "trial"
    if not migrated:
        report = json.loads(run("migrate", "--json", "-l", library, "--space", "trial").stdout)
        contents = len({content for content, _, _ in expected["trial"].values()})
        if report["embedded"] + report["done_before"] != contents or bool(settled) != bool(report["done_before"]):
            told.append(f"of {contents} contents {report['done_before']} were done and {report['embedded']} embedded")
    for space, step in (("trial", ["--rollback"]), ("toy", ["--rollback"]), ("trial", ["--drop-old"]), ("trial", [])):
        found, _, wrong = look(library, expected)
        told += wrong + ([] if found == space else [f"space {found} answers, and not {space}"])
        if step:
            run("migrate", *step, "-l", library)
    return told


def _watch(folder: Path, old: Path, answers: list[Answer], told: list[str], *, readers: int) -> list[int]:
    """Migrate, go back and forward while others search; give how often they saw each answer, and another."""
    library = folder / "watched.library"
    shutil.copytree(old, library)
    processes = start_readers(folder, library, answers, number=readers)
    run("migrate", "--space", "trial", "-l", library)
    for _ in range(4):
        time.sleep(0.3)
        run("migrate", "--rollback", "-l", library)
    time.sleep(0.5)
    (folder / "end").touch()
    seen = [0] * (len(answers) + 1)
    for process in processes:
        output, _ = process.communicate(timeout=120)
        if process.returncode:
            told.append(f"a reader ended with {process.returncode}")
            continue
        seen = [one + another for one, another in zip(seen, json.loads(output), strict=True)]
    if seen[-1]:
        told.append(f"{seen[-1]} answers were neither of the old space nor of the new")
    if not all(seen[:-1]):
        told.append(f"readers should have seen both spaces answer, and saw {seen}")
    return seen


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--times", type=int, default=10)
    options.add_argument("--files", type=int, default=240)
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--readers", type=int, default=1)
    options.add_argument("--read", type=Path, help=argparse.SUPPRESS)
    options.add_argument("--until", type=Path, help=argparse.SUPPRESS)
    options.add_argument("--right", type=Path, help=argparse.SUPPRESS)
    chosen = options.parse_args()
    if chosen.read:
        right = [[(path, score) for path, score in answer] for answer in json.loads(chosen.right.read_text())]
        return read(chosen.read, chosen.until, right)
    with tempfile.TemporaryDirectory() as folder:
        kills, seen, told = trial(
            Path(folder),
            times=chosen.times,
            files=chosen.files,
            seed=chosen.seed,
            readers=chosen.readers,
            say=True,
        )
    print("\n".join(told[:20]))
    print(f"{kills} kills; answers of the old space, the new, another: {seen}; {len(told)} faults")
    return 1 if told else 0


if __name__ == "__main__":
    sys.exit(main())
