"""A small second space for tests of migration, installed as a plug-in: its dimension and windowing differ from `toy`.

Features of words, pictures and sounds are multiplied by one fixed random matrix: the vectors mean nothing, but are
the same on every machine.
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


class PluginEncoder:
    """Implements the `Encoder` protocol with a random projection."""

    spec = SpaceSpec(
        name="plugin",
        dim=DIM,
        modalities=frozenset(Modality),
        licence="MIT",
        fingerprint="7" * 32,
        summary="Random vectors, for tests.",
        windowing=Windowing(window=1.5, hop=1.0, passage=300),
    )

    def prepare(self, piece: Piece) -> Vectors:
        """Compute the features of a piece. *Shape:* (FEATURES,)"""
        features = np.zeros(FEATURES, dtype=np.float32)
        features[-1] = 1.0  # so that silence has a direction, too
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
        """Embed piece by piece, so that vectors do not depend on the batch. *Shape:* (len(batch), DIM)

        A batched product may sum in another order, and its vectors would differ in the last bits.
        """
        return np.stack([features @ _MATRIX for features in batch])


class SlowPluginEncoder(PluginEncoder):
    """The same vectors, slowly enough that a migration can be killed while it embeds."""

    def encode(self, modality: Modality, batch: Sequence[Vectors]) -> Vectors:
        """Embed after a pause of 10 ms for each piece."""
        import time

        time.sleep(0.01 * len(batch))
        return super().encode(modality, batch)


def install_plugin(folder: Path) -> str:
    """Install this file as a plug-in in a folder; return the PYTHONPATH with which processes find it."""
    dist_info = folder / "bindsearch_plugin-1.dist-info"
    dist_info.mkdir(parents=True)
    (dist_info / "METADATA").write_text("Metadata-Version: 2.1\nName: bindsearch-plugin\nVersion: 1\n")
    (dist_info / "entry_points.txt").write_text("[bindsearch.spaces]\nplugin = plugin_space:SlowPluginEncoder\n")
    return f"{folder}{':' if sys.platform != 'win32' else ';'}{Path(__file__).resolve().parent}"
