"""Kill -9 migrations at random moments, restart them, and compare with a library that was indexed in the new space.

    python tests/stress/stress_migrate.py [--times 10] [--seed 0] [--files 240] [--readers 1]

After each kill the library must return all hits from one space and `doctor` must find nothing; the next run must not
embed again what was done. Other processes search during a migration and rollbacks: each list of hits must be that of
one of the two spaces. Exit status 1 otherwise.
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
from dataclasses import dataclass, field
from pathlib import Path

import plugin_space
from stress_kill import Contents, contents_of, find_problems, kill_after, make_media, print_problems

import bindsearch

QUERY = "Text 7 of the collection."
MIN_SECONDS_TO_KILL = 0.3
READER_PAUSE_SECONDS = 0.02
READER_TIMEOUT_SECONDS = 120
ROLLBACKS = 4

Hits = list[tuple[str, float]]


@dataclass
class MigrationReport:
    kills: int = 0
    old_hits: int = 0
    """How often readers got the hits of the old space."""
    new_hits: int = 0
    """How often readers got the hits of the new space."""
    other_hits: int = 0
    """How often readers got any other list of hits."""
    problems: list[str] = field(default_factory=list)

    def count(self, hits: Hits, *, old: Hits, new: Hits) -> None:
        """Count the hits of one search."""
        if hits == old:
            self.old_hits += 1
        elif hits == new:
            self.new_hits += 1
        else:
            self.other_hits += 1


def command(*words: str | Path) -> list[str]:
    """Return a command line for another process."""
    return [sys.executable, "-m", "bindsearch", *map(str, words)]


def run(*words: str | Path) -> subprocess.CompletedProcess[str]:
    """Run a command line to its end."""
    return subprocess.run(command(*words), capture_output=True, text=True, check=True)


def hits_of(library: bindsearch.Library) -> Hits:
    """Return paths and scores of the hits, ordered by score."""
    return [(str(hit.path), round(hit.score, 5)) for hit in library.search(QUERY, k=50, raw=True)]


def check_library(library: Path, expected: dict[str, Contents]) -> tuple[str, int, list[str]]:
    """Return the current space, the number of files in the pending edition, and the problems."""
    with bindsearch.open(library) as opened:
        status = opened.status()
    done = 0 if status.pending is None else status.pending.files
    return status.space, done, find_problems(library, expected[status.space])


def search_until(library: Path, end_file: Path, old: Hits, new: Hits) -> int:
    """Search until a file appears; print how often the hits of each space came, and how often others, as JSON."""
    report = MigrationReport()
    with bindsearch.open(library) as opened:
        while not end_file.exists():
            report.count(hits_of(opened), old=old, new=new)
            end_file.with_name(f"reading-{os.getpid()}").touch()
            time.sleep(READER_PAUSE_SECONDS)
    print(json.dumps([report.old_hits, report.new_hits, report.other_hits]))
    return 0


def start_readers(folder: Path, library: Path, old: Hits, new: Hits, *, count: int) -> list[subprocess.Popen[str]]:
    """Start processes that search until a file `end` exists; return when all of them have searched once."""
    hits_file = folder / "hits.json"
    hits_file.write_text(json.dumps([old, new]))
    end_file = folder / "end"
    reader = [sys.executable, __file__, "--read", str(library), "--until", str(end_file), "--hits", str(hits_file)]
    processes = [subprocess.Popen(reader, stdout=subprocess.PIPE, text=True) for _ in range(count)]
    while len(list(folder.glob("reading-*"))) < count and all(process.poll() is None for process in processes):
        time.sleep(0.05)
    return processes


class MigrationKiller:
    """Two libraries of the same media, in the old and in the new space, and migrations of copies of the old one."""

    def __init__(self, folder: Path, *, files: int, seed: int, verbose: bool) -> None:
        self._folder, self._seed, self._verbose = folder, seed, verbose
        self._old, new = folder / "old.library", folder / "new.library"
        media = folder / "media"
        make_media(media, files=files, seed=seed)
        run("index", "--quiet", "-l", self._old, "--space", "toy", media)
        began = time.monotonic()
        run("index", "--quiet", "-l", new, "--space", "plugin", media)
        self._whole_seconds = time.monotonic() - began
        self._expected = {"toy": contents_of(self._old), "plugin": contents_of(new)}
        self._hits = []
        for library in (self._old, new):
            with bindsearch.open(library) as opened:
                self._hits.append(hits_of(opened))
        self.report = MigrationReport()

    def kill(self, times: int) -> None:
        """Kill migrations; complete each library's migration, roll it back and forward, and check it at each step."""
        rng = random.Random(self._seed)
        library_number = 0
        while self.report.kills < times:
            library_number += 1
            library = self._folder / f"{library_number}.library"
            shutil.copytree(self._old, library)
            done = self._kill_in(library, rng, times=times)
            self._complete(library, done_before=done)
            shutil.rmtree(library)

    def _kill_in(self, library: Path, rng: random.Random, *, times: int) -> int:
        """Kill migrations of one library until one completes; return how many files the last one found done."""
        migration = command("migrate", "--space", "plugin", "--quiet", "-l", library)
        done_before = 0
        while self.report.kills < times:
            if not kill_after(migration, seconds=rng.uniform(MIN_SECONDS_TO_KILL, self._whole_seconds)):
                break
            self.report.kills += 1
            space, done, problems = check_library(library, self._expected)
            self.report.problems += problems
            if space == "toy" and done < done_before:
                self.report.problems.append(f"{done_before} files were done, but only {done} after another kill")
            done_before = done
            if self._verbose:
                print(
                    f"library {library.stem}, kill {self.report.kills}: space {space}, {done} files done, "
                    f"{len(self.report.problems)} problems"
                )
        return done_before

    def _complete(self, library: Path, *, done_before: int) -> None:
        """Complete a migration, roll it back, forward, and drop the old edition; check the library at each step."""
        with bindsearch.open(library) as opened:
            migrated = opened.status().space == "plugin"
        if not migrated:
            self._migrate(library, done_before=done_before)
        self._check(library, space="plugin")
        for option, space in (("--rollback", "toy"), ("--rollback", "plugin"), ("--drop-old", "plugin")):
            run("migrate", option, "-l", library)
            self._check(library, space=space)

    def _migrate(self, library: Path, *, done_before: int) -> None:
        """Migrate; check that only what was not done before is embedded."""
        report = json.loads(run("migrate", "--json", "-l", library, "--space", "plugin").stdout)
        contents = len({digest for digest, _, _ in self._expected["plugin"].values()})
        embedded, reported = report["embedded"], report["done_before"]
        if embedded + reported != contents or bool(done_before) != bool(reported):
            self.report.problems.append(
                f"of {contents} contents {reported} were done before and {embedded} were embedded"
            )

    def _check(self, library: Path, *, space: str) -> None:
        current, _, problems = check_library(library, self._expected)
        self.report.problems += problems
        if current != space:
            self.report.problems.append(f"the current space is {current}, not {space}")

    def migrate_during_searches(self, readers: int) -> None:
        """Migrate, roll back and forward while other processes search; count the hits that they get."""
        library = self._folder / "searched.library"
        shutil.copytree(self._old, library)
        old, new = self._hits
        processes = start_readers(self._folder, library, old, new, count=readers)
        run("migrate", "--space", "plugin", "-l", library)
        for _ in range(ROLLBACKS):
            time.sleep(0.3)
            run("migrate", "--rollback", "-l", library)
        time.sleep(0.5)
        (self._folder / "end").touch()
        for process in processes:
            self._add_counts_of(process)
        if self.report.other_hits:
            self.report.problems.append(f"{self.report.other_hits} lists of hits were of neither space")
        if not (self.report.old_hits and self.report.new_hits):
            self.report.problems.append(
                "readers did not get hits of both spaces: "
                f"{self.report.old_hits} times of the old, {self.report.new_hits} times of the new"
            )

    def _add_counts_of(self, process: subprocess.Popen[str]) -> None:
        output, _ = process.communicate(timeout=READER_TIMEOUT_SECONDS)
        if process.returncode:
            self.report.problems.append(f"a reader ended with status {process.returncode}")
            return
        old, new, other = json.loads(output)
        self.report.old_hits += old
        self.report.new_hits += new
        self.report.other_hits += other


def kill_migrations(
    folder: Path, *, times: int, files: int, seed: int, readers: int, verbose: bool = False
) -> MigrationReport:
    """Kill migrations `times` times, then migrate and roll back a library in which `readers` processes search."""
    python_path = plugin_space.install_plugin(folder / "plug")
    os.environ["PYTHONPATH"] = os.pathsep.join([python_path, os.environ.get("PYTHONPATH", "")])
    sys.path.insert(0, str(folder / "plug"))  # so that this process finds the plug-in, too
    killer = MigrationKiller(folder, files=files, seed=seed, verbose=verbose)
    killer.kill(times)
    if readers:
        killer.migrate_during_searches(readers)
    return killer.report


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--times", type=int, default=10)
    parser.add_argument("--files", type=int, default=240)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--readers", type=int, default=1)
    parser.add_argument("--read", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--until", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--hits", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.read:
        old, new = ([(path, score) for path, score in hits] for hits in json.loads(options.hits.read_text()))
        return search_until(options.read, options.until, old, new)
    with tempfile.TemporaryDirectory() as folder:
        report = kill_migrations(
            Path(folder),
            times=options.times,
            files=options.files,
            seed=options.seed,
            readers=options.readers,
            verbose=True,
        )
    print_problems(report.problems)
    print(
        f"{report.kills} kills; hits of the old space {report.old_hits}, of the new {report.new_hits}, "
        f"others {report.other_hits}; {len(report.problems)} problems"
    )
    return 1 if report.problems else 0


if __name__ == "__main__":
    sys.exit(main())
