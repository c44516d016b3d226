"""`bindsearch spaces`: the embedding spaces that a library can be made with."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from typing import Any

from bindsearch.cli import spaces_get
from bindsearch.cli.parser import Parser, Verbs, add_common
from bindsearch.cli.screen import Screen, complain
from bindsearch.errors import BindsearchError, MissingExtra, MissingWeights

DESCRIPTION = "List the embedding spaces that a library can be made with, and what their licences allow."
FAMILIES = {
    "bound:": ("FOLDER", "another space that `bindsearch train --out FOLDER` taught to hear"),
    "clap:": ("REPOSITORY", "CLAP models of the hub, for comparison: clap:laion/clap-htsat-unfused"),
    "imagebind/local:": ("FOLDER", "ImageBind's files in a folder of your own"),
    "local:": ("FOLDER", "a model of your own, as open_clip saves them"),
    "openclip:": ("MODEL/TAG", "one of open_clip's models: `bindsearch spaces --all` lists them"),
}
"""Family -> what follows its colon, and what it holds."""


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
        help="list what families hold as well, as in --all 'PE-Core*'; nothing is downloaded",
    )
    add_common(parser)
    parser.set_defaults(run=run)
    spaces_get.add(parser.add_subparsers(title="verbs", metavar="VERB", prog="bindsearch spaces"))


def run(args: argparse.Namespace) -> int:
    """List them all; one that cannot be used on this machine says why."""
    from bindsearch.registry import default_space, spaces

    screen = Screen.of(sys.stdout)
    if args.all is not None:
        return _list_members(args.all, screen, as_json=args.json)
    for name in sorted(spaces()):
        manifest = _manifest(name) | {"default": name == default_space()}
        if args.json:
            screen.write(json.dumps(manifest))
        else:
            for line in _lines(manifest, screen):
                screen.write(line)
    return 0


def _list_members(pattern: str, screen: Screen, *, as_json: bool) -> int:
    """List the spaces whose name, with or without its family, fits a pattern; whether their weights are here."""
    from bindsearch.registry import members, spaces

    found = 0
    for family in (name for name in sorted(spaces()) if name.endswith(":")):
        try:
            told = [each for each in members(family) if _fits(each["name"], pattern)]
        except MissingExtra as error:  # the others may still have what is looked for
            complain(str(error))
            continue
        found += len(told)
        for each in told:
            where = "here" if each["here"] else "to be had"
            line = f"{screen.styled(each['name'], 'bold')}  {where} · licence: {_terms(each)}"
            screen.write(json.dumps(each) if as_json else line)
    if not found:
        complain(f"no family holds a space like {pattern!r}; `bindsearch spaces` lists the families")
    return 0 if found else 1


def _terms(told: Mapping[str, Any]) -> str:
    why = "so " if told["licence"] == "not stated" else ""
    return f"{told['licence']}" + ("" if told["commercial"] else f", {why}not for commercial use")


def _fits(name: str, pattern: str) -> bool:
    from fnmatch import fnmatch

    return any(fnmatch(each.lower(), pattern.lower()) for each in (name, name.partition(":")[2]))


def _manifest(name: str) -> dict[str, Any]:
    from bindsearch.registry import load_space
    from bindsearch.types import Modality

    if name.endswith(":"):
        follows, what = FAMILIES.get(name, ("NAME", "a family: write what follows"))
        return {"name": name, "available": False, "follows": follows, "reason": what}
    try:
        spec = load_space(name).spec
    except MissingWeights as error:
        return {"name": name, "available": False, "reason": _to_be_had(name) or str(error)}
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


def _to_be_had(name: str) -> str:
    """Say in a few words how to come by the weights of a space; nothing where that is not known."""
    from bindsearch.spaces.weights import KNOWN, in_words

    if name not in KNOWN:
        return ""
    size = sum(file.about for file in KNOWN[name].files)
    return f"not on this machine: `bindsearch spaces get {name}` fetches {in_words(size)}; {KNOWN[name].permit}"


def _lines(manifest: dict[str, Any], screen: Screen) -> list[str]:
    title = (
        screen.styled(manifest["name"], "bold")
        + manifest.get("follows", "")
        + (" (default)" if manifest["default"] else "")
    )
    if not manifest["available"]:
        return [title, f"    {manifest['reason']}"]
    facts = f"{', '.join(manifest['modalities'])} · {manifest['dim']} dimensions · licence: {_terms(manifest)}"
    return [title, f"    {manifest['summary']}", f"    {facts}"]
