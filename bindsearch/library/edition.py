"""An open edition: the ledger, indexes, calibration and encoders of one space, which always belong together."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from bindsearch.calibration.background_queries import background_texts
from bindsearch.calibration.calibration import Calibration
from bindsearch.calibration.null_distribution import CalibrationOptions
from bindsearch.calibration.store import CalibrationStore
from bindsearch.errors import MissingWeights
from bindsearch.indexing.index_store import IndexStore, ProgressCallback
from bindsearch.indexing.recall_queries import recall_query_vectors
from bindsearch.ports import Index
from bindsearch.spaces.space import Space
from bindsearch.spaces.text_vectors import cached_text_vectors
from bindsearch.storage.ledger import Ledger
from bindsearch.storage.manifest import Edition, read_manifest
from bindsearch.storage.snapshot import Snapshot
from bindsearch.types import Modality, Vectors

MAX_RENEWAL_PASSES = 3
"""How often `renew` starts over while others keep changing the library; the next indexing run does the rest."""


class OpenEdition:
    """The resources of one edition. An operation gets hold of it once, so that it never mixes two spaces."""

    def __init__(self, folder: Path, edition: Edition, space: Space | None, *, create: bool = False) -> None:
        self.edition = edition
        self._folder = folder
        self._space = space
        self.ledger = Ledger.open(edition.ledger(folder), dim=edition.dim, create=create)
        indexes = edition.index(folder)
        self.index_store = IndexStore(
            indexes,
            dim=edition.dim,
            settings=lambda: read_manifest(folder).settings,
            recall_queries=self.typical_queries,
        )
        self._calibration = CalibrationStore(
            indexes,
            dim=edition.dim,
            texts=lambda: cached_text_vectors(
                background_texts(), lambda: self.space, indexes / "background", dim=edition.dim
            ),
        )

    @property
    def space(self) -> Space:
        """The encoders, loaded on first use. Raises `SpaceMismatch` if the vectors are of another space."""
        if self._space is None:
            try:
                space = Space.named(self.edition.space)
            except MissingWeights as error:
                raise MissingWeights(f"{error}{self.edition.hint_if_moved}") from error
            self.edition.check(space.spec, self._folder)
            self._space = space
        return self._space

    def typical_queries(self) -> Vectors:
        """Return the vectors of typical text queries. *Shape:* (n, dim)"""
        return recall_query_vectors(lambda: self.space, self.edition.index(self._folder), self.edition.dim)

    def calibration(
        self, snapshot: Snapshot, indexes: Mapping[Modality, Index], kinds: frozenset[Modality]
    ) -> Calibration:
        """Return the calibration of a snapshot, fitted for queries of these kinds."""
        settings = read_manifest(self._folder).settings
        options = CalibrationOptions(settings.centring, settings.hubness)
        return self._calibration.at(snapshot, indexes, kinds, options)

    def rows(self, snapshot: Snapshot, item: int) -> Vectors:
        """Return the unit vectors of an item's segments. *Shape:* (number of segments, dim)"""
        blocks = [snapshot.vectors(run.first) for run in snapshot.runs_of(item)]
        return np.concatenate(blocks) if blocks else np.empty((0, self.edition.dim), dtype=np.float32)

    def save(self, *, everything: bool = False) -> None:
        """Write the indexes, and prune the part of the log that they have caught up with.

        The caller must hold the writer's lock.
        """
        with self.ledger.read() as snapshot:
            self.index_store.follow(snapshot)
        self.ledger.prune_log(self.index_store.save(everything=everything))

    def renew(self, on_progress: ProgressCallback = lambda building: None, *, everything: bool = False) -> int:
        """Write the indexes while others search and write; return the position of the log that they have reached.

        Raises `LibraryBusy` as `IndexStore.save` does.
        """
        for _ in range(MAX_RENEWAL_PASSES):
            with self.ledger.read() as snapshot:
                self.index_store.follow(snapshot)
                position = snapshot.position()
            reached = self.index_store.save(everything=everything, on_progress=on_progress)
            everything = False
            with self.ledger.read() as snapshot:
                if snapshot.position() == position:  # no writer changed anything meanwhile and relied on this pass
                    break
        with self.ledger.read() as snapshot:
            self.calibration(snapshot, self.index_store.follow(snapshot), frozenset({Modality.TEXT}))
        return reached

    def close(self) -> None:
        """Close the files."""
        self.ledger.close()
