"""A small second space for trials of migration, as a plug-in: other dimensions and other windows than `toy`.

Words, pictures and sounds go through fixed random matrices; it means nothing, and is the same everywhere.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from zlib import crc32

import numpy as np
from PIL.Image import Image

from bindsearch.types import Modality, Piece, SpaceSpec, Vectors, Windowing

DIM = 40
FEATURES = 192
_MATRIX = np.random.default_rng(0).normal(size=(FEATURES, DIM)).astype(np.float32)


class TrialEncoder:
    """Keeps the `Encoder` protocol."""

    spec = SpaceSpec(
        name="trial",
        dim=DIM,
        modalities=frozenset(Modality),
        licence="MIT",
        fingerprint="7" * 32,
        summary="Random, for trials.",
        windowing=Windowing(window=1.5, hop=1.0, passage=300),
    )

    def prepare(self, piece: Piece) -> Vectors:
        """Measure a piece. *Shape:* (FEATURES,)"""
        features = np.zeros(FEATURES, dtype=np.float32)
        features[-1] = 1.0  # so that silence, too, has a direction
        if isinstance(piece.content, str):
            for word in piece.content.lower().split():
                features[crc32(word.encode()) % (FEATURES - 1)] += 1
        elif isinstance(piece.content, Image):
            features[:-1] = np.asarray(piece.content.resize((8, 8)), dtype=np.float32).ravel()[:-1] / 128 - 1
        else:
            spectrum = np.abs(np.fft.rfft(piece.content))
            bands = np.array_split(spectrum, FEATURES - 1)
            features[:-1] = [np.log1p(band.sum()) if len(band) else 0.0 for band in bands]
        return features

    def encode(self, modality: Modality, batch: Sequence[Vectors]) -> Vectors:
        """Embed one by one: a sum in another order would be another vector. *Shape:* (len(batch), DIM)"""
        return np.stack([features @ _MATRIX for features in batch])


class SlowEncoder(TrialEncoder):
    """The same, and slow enough to be killed at work."""

    def encode(self, modality: Modality, batch: Sequence[Vectors]) -> Vectors:
        """Embed after a while."""
        import time

        time.sleep(0.01 * len(batch))
        return super().encode(modality, batch)


def install(folder: Path) -> str:
    """Make a plug-in of this file that processes find whose PYTHONPATH is the answer."""
    told = folder / "bindsearch_trial-1.dist-info"
    told.mkdir(parents=True)
    (told / "METADATA").write_text("Metadata-Version: 2.1\nName: bindsearch-trial\nVersion: 1\n")
    (told / "entry_points.txt").write_text("[bindsearch.spaces]\ntrial = trial_space:SlowEncoder\n")
    return f"{folder}{':' if sys.platform != 'win32' else ';'}{Path(__file__).resolve().parent}"
