"""`bindsearch train`: train an audio tower for a space, from sounds and images of the same things."""

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
Train an audio tower for a space with images: it learns to embed each sound near images of the same thing. If the space
also has texts, sounds then match texts without ever having been paired with them. The space itself does not change.

MANIFEST is a CSV file with the columns image and sound (files or folders), or video, and optionally concept, split
(train or dev) and recording. Concepts are not trained on: they only serve to measure, on held-out recordings, how well
text and sound align.
"""
EPILOG = """\
examples:
  bindsearch train pairs.csv --out audio-tower --space openclip:ViT-B-32/laion2b_s34b_b79k
  bindsearch train films.csv --out audio-tower --steps 20000 --batch 1024

To resume a run that was stopped or killed, repeat the same command.
"""


def add(verbs: Verbs) -> None:
    """Add the verb."""
    parser: Parser = verbs.add_parser(
        "train", help="train an audio tower for a space", description=DESCRIPTION, epilog=EPILOG
    )
    parser.add_argument("manifest", metavar="MANIFEST", help="a CSV file that pairs images and sounds")
    parser.add_argument(
        "--out", required=True, metavar="FOLDER", help="folder to write weights, model card and checkpoint to"
    )
    parser.add_argument("--space", metavar="NAME", help="the space to train for (default: the built-in one)")
    parser.add_argument(
        "--tower",
        default="pocket",
        metavar="NAME",
        help="`pocket` (pretrained), `pocket-new` (random weights) or `pocket-small` (default: pocket)",
    )
    parser.add_argument(
        "--steps", type=at_least_one, default=2000, metavar="N", help="number of training steps (default: 2000)"
    )
    parser.add_argument("--batch", type=at_least_one, default=256, metavar="N", help="sounds per step (default: 256)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="seed of the random generator (default: 0)")
    parser.add_argument(
        "--permuted", action="store_true", help="train a control, with every sound paired with wrong images"
    )
    parser.add_argument("--licence", default="", metavar="TEXT", help="the licence of the data, for the model card")
    add_common(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Train, with progress on stderr and the final figures on stdout."""
    from dataclasses import asdict

    from bindsearch.registry import default_space
    from bindsearch.spaces.space import Space
    from bindsearch.training.pipeline import bind
    from bindsearch.training.towers import architecture

    architecture(args.tower)  # report an unknown tower before anything is loaded
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
