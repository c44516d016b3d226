"""Remove files from a library."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from bindsearch.library.edition import OpenEdition
from bindsearch.storage.write_transaction import WriteTransaction


def forget(edition: OpenEdition, tops: Mapping[Path, None]) -> int:
    """Drop the records of some paths and all below them; return how many paths were dropped."""
    with edition.ledger.read() as snapshot:
        records = [record for top in tops for record in snapshot.paths(top)]
        known = snapshot.indexed_folders()
        folders = [folder for folder in known if not any(top in tops for top in (folder, *folder.parents))]
    edition.ledger.write_each(WriteTransaction.forget, records)
    edition.ledger.write(lambda txn: txn.set_indexed_folders(folders))
    edition.save()
    return len(records)


def forget_gone(edition: OpenEdition) -> int:
    """Drop the items that no path has any more; return their number."""
    with edition.ledger.read() as snapshot:
        live = {item for item, _ in snapshot.live_items()}
        dormant = [item for item, _ in snapshot.items() if item not in live]
    edition.ledger.write_each(WriteTransaction.drop_item, dormant)
    edition.save()
    return len(dormant)
