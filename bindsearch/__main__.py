"""Runs `bindsearch` for `python -m bindsearch`."""

from __future__ import annotations

import sys

from bindsearch.cli import main

if __name__ == "__main__":
    sys.exit(main())
