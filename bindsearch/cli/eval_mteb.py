"""`bindsearch eval mteb`: run tasks of the mteb package with a space as model, or a library as search engine."""

from __future__ import annotations

import argparse
import json
import sys
from typing import TYPE_CHECKING

from bindsearch.cli.faults import DONE
from bindsearch.cli.screen import Screen, columns, escaped, padded
from bindsearch.errors import BadQuery

if TYPE_CHECKING:
    from bindsearch.integrations.mteb_run import TaskScore

WORD = "mteb"
HEADER = ("task", "type", "split", "subset", "measure", "score")


def run(args: argparse.Namespace) -> int:
    """Run the named tasks, and print their main scores."""
    from bindsearch.integrations.mteb_run import run_tasks
    from bindsearch.registry import default_space
    from bindsearch.spaces.space import Space

    names = args.paths[1:]
    if not names:
        raise BadQuery("name a task of mteb, or a folder with corpus.jsonl, as in `bindsearch eval mteb NFCorpus`")
    space = Space.named(args.space or default_space())
    screen = Screen.of(sys.stdout)
    done = []
    for scored in run_tasks(names, space, through=args.through, on_progress=lambda name: None):
        done.append(scored)
        if args.json:
            screen.write(json.dumps(scored.as_json()))
    if not args.json:
        _write(done, screen, quiet=args.quiet)
    return DONE


def _write(done: list[TaskScore], screen: Screen, *, quiet: bool) -> None:
    rows = [
        (*map(escaped, (each.task, each.kind, each.split, each.subset, each.measure)), f"{each.main:.3f}")
        for each in done
    ]
    lines = rows if quiet else [HEADER, *rows]
    widths = [max(columns(row[place]) for row in lines) for place in range(len(HEADER))]
    for number, row in enumerate(lines):
        cells = [
            padded(cell, width, right=place == 5) for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        line = "  ".join(cells).rstrip()
        screen.write(screen.styled(line, "dim") if number == 0 and not quiet else line)
