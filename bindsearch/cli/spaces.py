"""`bindsearch spaces`: list the embedding spaces that a library can use."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from bindsearch.cli import spaces_get
from bindsearch.cli.parser import Parser, Verbs, add_common
from bindsearch.cli.screen import Screen, complain
from bindsearch.errors import BindsearchError, MissingExtra, MissingWeights

DESCRIPTION = "List the embedding spaces that a library can use, and what their licences allow."
FAMILIES = {
    "bound:": ("FOLDER", "another space with the audio tower that `bindsearch train --out FOLDER` trained"),
    "clap:": ("REPOSITORY", "CLAP models from the Hugging Face hub, such as clap:laion/clap-htsat-unfused"),
    "imagebind/local:": ("FOLDER", "ImageBind with the weights in your own folder"),
    "local:": ("FOLDER", "your own model, in the layout of open_clip"),
    "openclip:": ("MODEL/TAG", "a model of open_clip; `bindsearch spaces --all` lists them"),
}
"""Family -> the syntax after its colon, and its description."""


def add(verbs: Verbs) -> None:
    """Add the verb."""
    parser: Parser = verbs.add_parser(
        "spaces", help="list the embedding spaces", usage="%(prog)s [options]", description=DESCRIPTION
    )
    parser.add_argument(
        "--all",
        metavar="PATTERN",
        nargs="?",
        const="*",
        help="list the members of the families, all or by a pattern: --all 'PE-Core*'; nothing is downloaded",
    )
    add_common(parser)
    parser.set_defaults(run=run)
    spaces_get.add(parser.add_subparsers(title="verbs", metavar="VERB", prog="bindsearch spaces"))


def run(args: argparse.Namespace) -> int:
    """List all spaces, with the reason for those that cannot be used on this machine."""
    from bindsearch.registry import default_space, spaces

    screen = Screen.of(sys.stdout)
    if args.all is not None:
        return _list_members(args.all, screen, as_json=args.json)
    for name in sorted(spaces()):
        description = _describe(name) | {"default": name == default_space()}
        if args.json:
            screen.write(json.dumps(description))
        else:
            for line in _lines(description, screen):
                screen.write(line)
    return 0


def _list_members(pattern: str, screen: Screen, *, as_json: bool) -> int:
    """List the spaces whose name, with or without its family, matches a pattern; and whether their weights are here."""
    from bindsearch.registry import members, spaces

    found = 0
    for family in (name for name in sorted(spaces()) if name.endswith(":")):
        try:
            matching = [each for each in members(family) if _matches(each.name, pattern)]
        except MissingExtra as error:  # other families may still have a match
            complain(str(error))
            continue
        found += len(matching)
        for each in matching:
            where = "installed" if each.here else "not installed"
            terms = _terms(each.licence, commercial=each.commercial)
            line = f"{screen.styled(each.name, 'bold')}  {where} · licence: {terms}"
            screen.write(json.dumps(each.as_json()) if as_json else line)
    if not found:
        complain(f"no space of a family matches {pattern!r}; `bindsearch spaces` lists the families")
    return 0 if found else 1


def _terms(licence: str, *, commercial: bool) -> str:
    if commercial:
        return licence
    reason = "so " if licence == "not stated" else ""
    return f"{licence}, {reason}not for commercial use"


def _matches(name: str, pattern: str) -> bool:
    from fnmatch import fnmatch

    return any(fnmatch(each.lower(), pattern.lower()) for each in (name, name.partition(":")[2]))


def _describe(name: str) -> dict[str, Any]:
    from bindsearch.registry import load_space
    from bindsearch.types import Modality

    if name.endswith(":"):
        follows, what = FAMILIES.get(name, ("NAME", "a family: add what follows the colon"))
        return {"name": name, "available": False, "follows": follows, "reason": what}
    try:
        spec = load_space(name).spec
    except MissingWeights as error:
        return {"name": name, "available": False, "reason": _how_to_get(name) or str(error)}
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


def _how_to_get(name: str) -> str:
    """Return how to get the weights of a space; empty if that is not known."""
    from bindsearch.spaces.catalogue import CATALOGUE
    from bindsearch.spaces.locate import format_bytes

    if name not in CATALOGUE:
        return ""
    size = sum(file.approximate_size for file in CATALOGUE[name].files)
    get = f"`bindsearch spaces get {name}` fetches {format_bytes(size)}"
    return f"not on this machine: {get}; {CATALOGUE[name].licence_summary}"


def _lines(description: dict[str, Any], screen: Screen) -> list[str]:
    title = (
        screen.styled(description["name"], "bold")
        + description.get("follows", "")
        + (" (default)" if description["default"] else "")
    )
    if not description["available"]:
        return [title, f"    {description['reason']}"]
    terms = _terms(description["licence"], commercial=description["commercial"])
    facts = f"{', '.join(description['modalities'])} · {description['dim']} dimensions · licence: {terms}"
    return [title, f"    {description['summary']}", f"    {facts}"]
