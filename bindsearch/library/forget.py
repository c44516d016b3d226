"""Remove files from a library."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from bindsearch.library.edition import OpenEdition
from bindsearch.storage.write_transaction import WriteTransaction


def forget(edition: OpenEdition, tops: Mapping[Path, None]) -> int:
    """Drop what is known at some paths and below them; give the number of paths."""
    with edition.ledger.read() as snapshot:
        records = [record for top in tops for record in snapshot.paths(top)]
        roots = [root for root in snapshot.indexed_folders() if not any(top in tops for top in (root, *root.parents))]
    edition.ledger.write_each(WriteTransaction.forget, records)
    edition.ledger.write(lambda txn: txn.set_indexed_folders(roots))
    edition.save()
    return len(records)


def forget_gone(edition: OpenEdition) -> int:
    """Drop the items that no path has any more; give their number."""
    with edition.ledger.read() as snapshot:
        live = {item for item, _ in snapshot.live_items()}
        dormant = [item for item, _ in snapshot.items() if item not in live]
    edition.ledger.write_each(WriteTransaction.drop_item, dormant)
    edition.save()
    return len(dormant)
