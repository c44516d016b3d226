"""`bindsearch train`: teach a space to hear, from sounds and pictures of the same things."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from bindsearch.cli.faults import DONE
from bindsearch.cli.parser import Parser, Verbs, add_common, at_least_one
from bindsearch.cli.screen import Screen, escaped, shown

if TYPE_CHECKING:
    from bindsearch.training.recipe import Recipe

DESCRIPTION = """\
Bind a new tower for sound to a space that knows pictures: sounds are brought to where pictures of the same things
are, and meet words there without ever having seen any. The space itself stays as it is.

The manifest is a CSV file with the columns image and sound (files or folders), or video, and if wanted concept,
split (train or dev) and recording. Concepts are read only to measure what emerges on the recordings held out.
"""
EPILOG = """\
examples:
  bindsearch train pairs.csv --out hearing --space openclip:ViT-B-32/laion2b_s34b_b79k
  bindsearch train films.csv --out hearing --steps 20000 --batch 1024

A run that was stopped in any way goes on when the same command is given again.
"""


def add(verbs: Verbs) -> None:
    """Add the verb."""
    parser: Parser = verbs.add_parser("train", help="teach a space to hear", description=DESCRIPTION, epilog=EPILOG)
    parser.add_argument("manifest", metavar="MANIFEST", help="a CSV file: what goes with what")
    parser.add_argument("--out", required=True, metavar="FOLDER", help="where weights, card and checkpoint are written")
    parser.add_argument("--space", metavar="NAME", help="the space to bind to, if not the built-in one")
    parser.add_argument(
        "--tower", default="pocket", metavar="NAME", help="pocket, which can hear, -new or -small (pocket)"
    )
    parser.add_argument("--steps", type=at_least_one, default=2000, metavar="N", help="how long to train (2000)")
    parser.add_argument("--batch", type=at_least_one, default=256, metavar="N", help="sounds a step (256)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="what chance begins with (0)")
    parser.add_argument("--permuted", action="store_true", help="the control: pair every sound with the wrong pictures")
    parser.add_argument("--licence", default="", metavar="WORDS", help="of the data, for the card")
    add_common(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Train, telling on stderr how it goes; the figures at the end are the answer."""
    from dataclasses import asdict

    from bindsearch.registry import default_space
    from bindsearch.spaces.space import Space
    from bindsearch.training.session import bind
    from bindsearch.training.towers import architecture

    architecture(args.tower)  # before anything is loaded for one that there is not
    errors = Screen.of(sys.stderr)
    space = Space.named(args.space or default_space())
    out = Path(args.out).expanduser()
    result = bind(
        Path(args.manifest).expanduser(),
        out,
        space,
        recipe=_recipe(args),
        licence=args.licence,
        on_progress=(lambda line: None) if args.quiet else (lambda line: errors.write(escaped(line))),
    )
    Screen.of(sys.stdout).write(json.dumps({"out": str(out), **asdict(result)}) if args.json else escaped(str(result)))
    if not args.quiet:
        name = shown(out)
        errors.write(f"written to {name}: `bindsearch index FOLDER --space bound:{name}` hears with it")
    return DONE


def _recipe(args: argparse.Namespace) -> Recipe:
    from bindsearch.training.recipe import Recipe

    return Recipe(tower=args.tower, steps=args.steps, batch=args.batch, seed=args.seed, permuted=args.permuted)
