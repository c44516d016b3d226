"""A first look: index and search the sample collection. Run by `make demo`."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import textwrap
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / ".demo"
LIBRARY = "demo.library"

STEPS = [
    (
        "Images, sounds, videos and texts go into one library. Sounds and videos are indexed over their full length, "
        "in windows of a few seconds. A second run only processes what has changed.",
        "bindsearch index samples",
    ),
    (
        "Words find sounds. Each result shows its best moment, and how often chance alone would bring one as good.",
        "bindsearch search birdsong -m audio -k 3",
    ),
    (
        "A sound finds images: any file can be the query. This is wind.",
        "bindsearch search samples/sounds/weather/wind.mp3 -m image -k 3",
    ),
    (
        "An image finds texts.",
        "bindsearch search samples/photos/nature/blue_sea_with_a_boat.jpg -m text -k 2",
    ),
    (
        "Combine words and files with + and -: this sunset over the sea, but at night.",
        "bindsearch search samples/photos/nature/sunset_over_the_sea.jpg + night - sunset -k 3",
    ),
    (
        "What is similar to this sound, of any kind?",
        "bindsearch similar samples/sounds/weather/sea_waves.mp3 -k 4",
    ),
    (
        "Classify with your own labels, without training. The percentages of a file add up to 100.",
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

Everything stays on this machine. `bindsearch --help` lists the verbs, `bindsearch spaces` the models.
The sample collection is in .demo/samples; most terminals open a path above on Ctrl-click."""


def main() -> int:
    """Create the collection and run every step; return the first exit status that is not 0."""
    create_collection()
    for description, line in STEPS:
        print(styled(textwrap.fill(description, 100), "36"))
        print(styled(f"$ {line}", "1"), flush=True)
        status = run(line)
        if status:
            print(f"This step failed with status {status}; `rm -r .demo` starts over.", file=sys.stderr)
            return status
        print()
    print(END)
    return 0


def create_collection() -> None:
    """Create the sample files, unless they are newer than their generators. Takes some seconds."""
    done = FOLDER / "samples.made"
    if done.exists() and all(done.stat().st_mtime > source.stat().st_mtime for source in (ROOT / "data").glob("*.py")):
        return
    print("Creating the sample collection in .demo/samples: some images, sounds, videos and texts.\n", flush=True)
    sys.path.insert(0, str(ROOT / "data"))
    from make_samples import make_samples

    make_samples(FOLDER / "samples")
    done.touch()


def run(line: str) -> int:
    """Run a command line with the demo's library."""
    command = [sys.executable, "-m", *shlex.split(line)]
    return subprocess.run(command, cwd=FOLDER, env=os.environ | {"BINDSEARCH_LIBRARY": LIBRARY}, check=False).returncode


def styled(text: str, code: str) -> str:
    """Colour text on a terminal."""
    plain = not sys.stdout.isatty() or os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    return text if plain else f"\x1b[{code}m{text}\x1b[0m"


if __name__ == "__main__":
    sys.exit(main())
