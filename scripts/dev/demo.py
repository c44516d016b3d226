"""A first look: index the sample collection and search it, as one would type it. Run by `make demo`."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import textwrap
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PLACE = ROOT / ".demo"
LIBRARY = "demo.library"

STEPS = [
    (
        "Everything goes into one library: pictures, sounds, videos and texts. Sounds and videos are taken in over "
        "their full length, in windows of a few seconds. A second run only looks for what has changed.",
        "bindsearch index samples",
    ),
    (
        "Words find sounds. Each result says where in the recording its best moment is, and how often chance alone "
        "would bring one as good.",
        "bindsearch search birdsong -m audio -k 3",
    ),
    (
        "A sound finds pictures: any file can be the question. This is wind.",
        "bindsearch search samples/sounds/weather/wind.mp3 -m image -k 3",
    ),
    (
        "A picture finds texts.",
        "bindsearch search samples/photos/nature/blue_sea_with_a_boat.jpg -m text -k 2",
    ),
    (
        "Questions are composed of words and files by + and -: this sunset over the sea, but at night.",
        "bindsearch search samples/photos/nature/sunset_over_the_sea.jpg + night - sunset -k 3",
    ),
    (
        "What else is like this sound, of whatever kind?",
        "bindsearch similar samples/sounds/weather/sea_waves.mp3 -k 4",
    ),
    (
        "Labels of your own, without training. They compete: their percentages add up to 100.",
        'bindsearch classify samples/photos/nature --labels "a desert,a rainbow,a forest,the sea" -k 2',
    ),
    (
        "What is in the library?",
        "bindsearch status",
    ),
]

END = """\
Now your own files:

    bindsearch index ~/Pictures ~/Recordings
    bindsearch search "a dog barking in the rain"

Everything stays on this machine. `bindsearch --help` lists all verbs, and `bindsearch spaces` the models.
The collection of this demo lies in .demo/samples; most terminals open a path above on Ctrl-click."""


def main() -> int:
    """Make the collection if it is not there, and run every step; give the first exit status that is not 0."""
    make_collection()
    for words, line in STEPS:
        print(styled(textwrap.fill(words, 100), "36"))
        print(styled(f"$ {line}", "1"), flush=True)
        status = run(line)
        if status:
            print(
                f"This should have worked, but ended with status {status}; `rm -r .demo` starts over.", file=sys.stderr
            )
            return status
        print()
    print(END)
    return 0


def make_collection() -> None:
    """Draw, play and write the files, which takes some seconds, unless that was done since its makers changed."""
    made = PLACE / "samples.made"
    if made.exists() and all(made.stat().st_mtime > maker.stat().st_mtime for maker in (ROOT / "data").glob("*.py")):
        return
    print("Making the sample collection in .demo/samples: some pictures, sounds, videos and texts.\n", flush=True)
    sys.path.insert(0, str(ROOT / "data"))
    from make_samples import make_samples

    make_samples(PLACE / "samples")
    made.touch()


def run(line: str) -> int:
    """Run a command line as it stands, with the demo's library."""
    command = [sys.executable, "-m", *shlex.split(line)]
    return subprocess.run(command, cwd=PLACE, env=os.environ | {"BINDSEARCH_LIBRARY": LIBRARY}, check=False).returncode


def styled(words: str, code: str) -> str:
    """Colour words on a terminal."""
    plain = not sys.stdout.isatty() or os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    return words if plain else f"\x1b[{code}m{words}\x1b[0m"


if __name__ == "__main__":
    sys.exit(main())
