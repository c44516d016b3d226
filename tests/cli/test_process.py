"""The command line as a separate process: signals, pipes, a real terminal."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys

import pytest

from bindsearch.cli import main

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has neither pseudo-terminals nor SIGINT")

COMMAND = [sys.executable, "-m", "bindsearch"]
NOTES = 2_000
NEVER = r"(?!)"


@pytest.fixture
def notes(tmp_path, monkeypatch):
    """A folder with enough notes that indexing still runs when progress is first shown."""
    (tmp_path / "notes").mkdir()
    for number in range(NOTES):
        (tmp_path / "notes" / f"{number}.txt").write_text(f"note {number} about rain and stars", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BINDSEARCH_LIBRARY", str(tmp_path / "notes.library"))
    return tmp_path


class Terminal:
    """A process on a pseudo-terminal."""

    def __init__(self, *words: str) -> None:
        import pty

        self._ours, theirs = pty.openpty()
        self.process = subprocess.Popen(
            [*COMMAND, *words], stdin=theirs, stdout=theirs, stderr=theirs, env=os.environ | {"TERM": "xterm"}
        )
        os.close(theirs)
        self.shown = ""

    def read_until(self, pattern: str) -> None:
        """Read what is shown until a pattern is, or the process ends."""
        while not re.search(pattern, self.shown) and (piece := self._read()):
            self.shown += piece

    def finish(self) -> int:
        self.read_until(NEVER)
        os.close(self._ours)
        return self.process.wait()

    def _read(self) -> str:
        try:
            return os.read(self._ours, 65_536).decode(errors="replace")
        except OSError:  # how Linux says that the other end is closed
            return ""


def items(library):
    done = subprocess.run([*COMMAND, "status", "--json", "-l", library], check=True, capture_output=True)
    return json.loads(done.stdout)["items"]


def test_progress_is_drawn_and_cleared(notes):
    terminal = Terminal("index", "notes")
    assert terminal.finish() == 0, terminal.shown
    assert re.search(r"\r\x1b\[K.*[\d,]+/2,000 files  [\d,.]+ files/s  \d:\d\d left", terminal.shown)
    *_, last = terminal.shown.split("\r\x1b[K")
    assert last.startswith("\x1b[1m2,000 added\x1b[0m\r\n")


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_first_signal_stops_cleanly_and_next_run_completes(notes, number, status):
    terminal = Terminal("index", "notes")
    terminal.read_until("files/s")
    terminal.process.send_signal(number)
    assert terminal.finish() == status
    assert "stopping after this batch; press Ctrl-C again to stop at once" in terminal.shown
    assert "stopped: run the same command to continue" in terminal.shown
    assert "Traceback" not in terminal.shown
    done = items("notes.library")
    assert 0 < done < NOTES
    again = subprocess.run([*COMMAND, "index", "--json"], check=True, capture_output=True)
    report = json.loads(again.stdout)
    assert (report["added"], report["unchanged"]) == (NOTES - done, done)
    assert main(["doctor", "--quiet"]) == 0


def test_second_signal_stops_at_once_without_damage(notes):
    terminal = Terminal("index", "notes")
    terminal.read_until("files/s")
    terminal.process.send_signal(signal.SIGINT)
    terminal.read_until("stopping after")
    terminal.process.send_signal(signal.SIGINT)
    assert terminal.finish() == 130
    assert "Traceback" not in terminal.shown
    assert main(["index", "--quiet"]) == 0
    assert main(["doctor", "--quiet"]) == 0
    assert items("notes.library") == NOTES


def test_closed_pipe_is_not_an_error(place):
    command = [*COMMAND, "search", "rain", "-l", str(place / "media.library")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.close()
    _, err = process.communicate()
    assert (process.returncode, err) == (141, b"")


def test_closed_pipe_ends_the_work(tmp_path):
    for number in range(NOTES):  # whose lines are more than a pipe holds
        (tmp_path / f"{number}.txt").write_text("rain", encoding="utf-8")
    command = [*COMMAND, "classify", str(tmp_path), "--labels", "rain,snow", "--space", "toy"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline().endswith(b"0.txt\n")
    process.stdout.close()
    _, err = process.communicate()
    assert (process.returncode, err) == (141, b"")


def test_full_disk_is_one_line(place):
    if not os.path.exists("/dev/full"):
        pytest.skip("this system has no /dev/full")
    with open("/dev/full", "wb") as full:
        command = [*COMMAND, "search", "rain", "-l", str(place / "media.library")]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, check=False)
    assert done.returncode == 1
    assert done.stderr == b"bindsearch: No space left on device\n"


def test_another_writer_is_named(notes):
    terminal = Terminal("index", "notes")
    terminal.read_until("files/s")
    os.kill(terminal.process.pid, signal.SIGSTOP)  # so that it cannot be done before the other begins
    done = subprocess.run([*COMMAND, "index"], capture_output=True, text=True, check=False)
    os.kill(terminal.process.pid, signal.SIGCONT)
    assert done.returncode == 1
    assert f"is being written by process {terminal.process.pid}" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    terminal.finish()
