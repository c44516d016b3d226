"""`bindsearch doctor`: prove that the library is sound."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING

from bindsearch.cli.faults import DONE, FAILED
from bindsearch.cli.parser import Parser, Verbs, add_common
from bindsearch.cli.screen import Screen, escaped
from bindsearch.cli.wording import counted

if TYPE_CHECKING:
    from bindsearch.library.doctor import Drift

DESCRIPTION = """\
Prove that ledger, files and indexes agree, or say what does not hold, and end with status 1. With --repair, mend it;
what must be embedded again is left to the next `bindsearch index`. Files that have openly changed or gone since the
last `bindsearch index` are no fault: they are counted, left to the next one too, and the status stays 0.
"""


def add(verbs: Verbs) -> None:
    """Add the verb."""
    parser: Parser = verbs.add_parser(
        "doctor", help="prove that the library is sound", usage="%(prog)s [options]", description=DESCRIPTION
    )
    parser.add_argument("--repair", action="store_true", help="mend what does not hold")
    parser.add_argument("--quick", action="store_true", help="do not read the files again to compare their content")
    add_common(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Examine, and repair if asked to; give 1 if faults remain."""
    from bindsearch.library.library import Library

    with Library.open(args.library, create=False) as library:
        status = library.status()
        findings = library.doctor(repair=args.repair, read_files=not args.quick)
        drift = library.drift()
    screen = Screen.of(sys.stdout)
    if args.json:
        told = {"findings": findings, "repaired": args.repair, "items": status.items, "segments": status.segments}
        screen.write(json.dumps(told | asdict(drift)))
    else:
        for finding in findings:
            screen.write(escaped(finding))
        if not args.quiet:
            examined = f"{counted(status.items, 'item')}, {counted(status.segments, 'segment')}"
            screen.write(_verdict(len(findings), examined, repaired=args.repair))
            if drift.changed or drift.gone:
                screen.write(_drifted(drift))
    return FAILED if findings and not args.repair else DONE


def _drifted(drift: Drift) -> str:
    changed = [f"{counted(drift.changed, 'file')} changed"] if drift.changed else []
    gone = [f"{counted(drift.gone, 'file is', 'files are')} gone"] if drift.gone else []
    return f"since they were indexed, {' and '.join(changed + gone)}: `bindsearch index` looks again"


def _verdict(faults: int, examined: str, *, repaired: bool) -> str:
    if not faults:
        return f"no fault found in {examined}"
    if repaired:
        return f"mended {counted(faults, 'fault')}; `bindsearch index` embeds what is missing now"
    return f"{counted(faults, 'fault')} found in {examined}; `bindsearch doctor --repair` mends them"
