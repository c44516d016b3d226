"""Type-check the engine, the encoders and the indexes in one mypy run; arguments are passed to mypy.

mypy cannot map the folder `encoders` to the package `bindsearch.encoders`. So it checks a tree of links that has the
package layout, and the paths in its messages are mapped back.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
STAGE = ROOT / "build" / "typed"


def stage() -> None:
    """Build `build/typed/bindsearch`: links to the contents of the engine and to the adapters' folders."""
    shutil.rmtree(STAGE, ignore_errors=True)
    package = STAGE / "bindsearch"
    package.mkdir(parents=True)
    for entry in [*(ROOT / "bindsearch").iterdir(), ROOT / "encoders", ROOT / "indexes"]:
        (package / entry.name).symlink_to(entry, target_is_directory=entry.is_dir())


def check(*arguments: str) -> int:
    """Run mypy over the staged tree and return its exit status."""
    command = [
        sys.executable,
        "-m",
        "mypy",
        "--package=bindsearch",
        "--no-color-output",
        f"--config-file={ROOT / 'pyproject.toml'}",
    ]
    cache = f"--cache-dir={ROOT / '.mypy_cache'}"
    done = subprocess.run([*command, cache, *arguments], cwd=STAGE, stdout=subprocess.PIPE, text=True, check=False)
    print(re.sub(r"^bindsearch/(encoders|indexes)/", r"\1/", done.stdout, flags=re.MULTILINE), end="")
    return done.returncode


if __name__ == "__main__":
    stage()
    sys.exit(check(*sys.argv[1:]))
