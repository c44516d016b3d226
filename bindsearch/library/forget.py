"""Remove files from a library."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from bindsearch.library.edition import OpenEdition


def forget(edition: OpenEdition, tops: Mapping[Path, None]) -> int:
    """Drop what is known at some paths and below them; give the number of paths."""
    with edition.ledger.read() as view:
        records = [record for top in tops for record in view.paths(top)]
        roots = [root for root in view.roots() if not any(top in tops for top in (root, *root.parents))]
    edition.ledger.write_each("forget", records)
    edition.ledger.write(lambda change: change.set_roots(roots))
    edition.save()
    return len(records)


def forget_gone(edition: OpenEdition) -> int:
    """Drop the items that no path has any more; give their number."""
    with edition.ledger.read() as view:
        live = {item for item, _ in view.live_items()}
        dormant = [item for item, _ in view.items() if item not in live]
    edition.ledger.write_each("drop_item", dormant)
    edition.save()
    return len(dormant)
