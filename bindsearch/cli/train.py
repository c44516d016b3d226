"""`bindsearch train`: bind a sound tower to a space, from sounds and images of the same things."""

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
    from bindsearch.training.config import TrainingConfig

DESCRIPTION = """\
Bind a new sound tower to a space of images: training moves each sound towards images of the same thing. If the space
has texts, sound and text then align without ever having been paired. The space itself does not change.

The manifest is a CSV file with the columns image and sound (files or folders), or video, and optionally concept,
split (train or dev) and recording. Concepts are used only to measure, on held-out recordings, how well text and sound
align.
"""
EPILOG = """\
examples:
  bindsearch train pairs.csv --out hearing --space openclip:ViT-B-32/laion2b_s34b_b79k
  bindsearch train films.csv --out hearing --steps 20000 --batch 1024

To resume a run that was stopped or killed, repeat the same command.
"""


def add(verbs: Verbs) -> None:
    """Add the verb."""
    parser: Parser = verbs.add_parser("train", help="add sound to a space", description=DESCRIPTION, epilog=EPILOG)
    parser.add_argument("manifest", metavar="MANIFEST", help="a CSV file that pairs images and sounds")
    parser.add_argument("--out", required=True, metavar="FOLDER", help="folder for weights, model card and checkpoint")
    parser.add_argument("--space", metavar="NAME", help="the space to bind to (the built-in one)")
    parser.add_argument(
        "--tower",
        default="pocket",
        metavar="NAME",
        help="pocket (pretrained), pocket-new (random weights) or pocket-small (pocket)",
    )
    parser.add_argument("--steps", type=at_least_one, default=2000, metavar="N", help="number of training steps (2000)")
    parser.add_argument("--batch", type=at_least_one, default=256, metavar="N", help="sounds per step (256)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="seed of the random generator (0)")
    parser.add_argument("--permuted", action="store_true", help="the control: pair every sound with the wrong images")
    parser.add_argument("--licence", default="", metavar="WORDS", help="licence of the data, for the model card")
    add_common(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Train, with progress on stderr and the final figures on stdout."""
    from dataclasses import asdict

    from bindsearch.registry import default_space
    from bindsearch.spaces.space import Space
    from bindsearch.training.pipeline import bind
    from bindsearch.training.towers import architecture

    architecture(args.tower)  # so that an unknown tower is reported before anything is loaded
    errors = Screen.of(sys.stderr)
    space = Space.named(args.space or default_space())
    out = Path(args.out).expanduser()
    figures = bind(
        Path(args.manifest).expanduser(),
        out,
        space,
        config=_config(args),
        licence=args.licence,
        on_progress=(lambda line: None) if args.quiet else (lambda line: errors.write(escaped(line))),
    )
    as_json = {"out": str(out), **asdict(figures)}
    Screen.of(sys.stdout).write(json.dumps(as_json) if args.json else escaped(str(figures)))
    if not args.quiet:
        name = shown(out)
        errors.write(f"written to {name}; to use it: bindsearch index FOLDER --space bound:{name}")
    return DONE


def _config(args: argparse.Namespace) -> TrainingConfig:
    from bindsearch.training.config import TrainingConfig

    return TrainingConfig(tower=args.tower, steps=args.steps, batch=args.batch, seed=args.seed, permuted=args.permuted)
