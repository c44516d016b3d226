"""`bindsearch spaces`: the embedding spaces that a library can be made with."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from bindsearch.cli.parser import Parser, Verbs, add_common
from bindsearch.cli.screen import Screen
from bindsearch.errors import BindsearchError

DESCRIPTION = "List the embedding spaces that a library can be made with, and what their licences allow."


def add(verbs: Verbs) -> None:
    """Add the verb."""
    parser: Parser = verbs.add_parser(
        "spaces", help="list the embedding spaces", usage="%(prog)s [options]", description=DESCRIPTION
    )
    add_common(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """List them all; one that cannot be used on this machine says why."""
    from bindsearch.registry import DEFAULT_SPACE, spaces

    screen = Screen.of(sys.stdout)
    for name in sorted(spaces()):
        card = _card(name) | {"default": name == DEFAULT_SPACE}
        if args.json:
            screen.write(json.dumps(card))
        else:
            for line in _lines(card, screen):
                screen.write(line)
    return 0


def _card(name: str) -> dict[str, Any]:
    from bindsearch.registry import load_space
    from bindsearch.types import Modality

    if name.endswith(":"):
        return {"name": name, "available": False, "reason": f"a family: write what follows, as in {name}NAME"}
    try:
        spec = load_space(name).spec
    except BindsearchError as error:
        return {"name": name, "available": False, "reason": str(error)}
    return {
        "name": name,
        "available": True,
        "dim": spec.dim,
        "modalities": [str(modality) for modality in Modality if modality in spec.modalities],
        "licence": spec.licence,
        "commercial": spec.commercial,
        "summary": spec.summary,
        "fingerprint": spec.fingerprint,
    }


def _lines(card: dict[str, Any], screen: Screen) -> list[str]:
    title = screen.styled(card["name"], "bold") + (" (default)" if card["default"] else "")
    if not card["available"]:
        return [title, f"    {card['reason']}"]
    terms = card["licence"] + ("" if card["commercial"] else ", not for commercial use")
    facts = f"{', '.join(card['modalities'])} · {card['dim']} dimensions · licence: {terms}"
    return [title, f"    {card['summary']}", f"    {facts}"]
