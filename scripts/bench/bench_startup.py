"""Measure how long `bindsearch --help` takes, compared with a Python that does nothing: medians and ratios."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

RUNS = 21
COMMANDS = {
    "python -c pass": ["-c", "pass"],
    "import bindsearch": ["-c", "import bindsearch"],
    "bindsearch --help": ["-c", "import sys; from bindsearch.cli import main; sys.exit(main())", "--help"],
}


def seconds(arguments: list[str]) -> float:
    """Run this Python once with arguments; return the seconds that it took."""
    start = time.perf_counter()
    subprocess.run([sys.executable, *arguments], stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - start


def main() -> None:
    """Run the commands in turns, so that a busy moment of the machine affects all of them."""
    runs = [[seconds(arguments) for arguments in COMMANDS.values()] for _ in range(RUNS)]
    medians = [statistics.median(times) for times in zip(*runs, strict=True)]
    for name, median in zip(COMMANDS, medians, strict=True):
        print(f"{name:<20}{1000 * median:6.0f} ms  {median / medians[0]:4.1f} times")


if __name__ == "__main__":
    main()
