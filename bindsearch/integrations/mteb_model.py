"""Adapts a space as a model of the `mteb` package, and a library as its search engine.

The package recognises models by their methods, so that nothing of it has to be imported here.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

import bindsearch
from bindsearch.core.vectors import unit
from bindsearch.errors import UnsupportedMedia
from bindsearch.media.text import passage_ranges
from bindsearch.query.language import Query, file, text
from bindsearch.spaces.space import MediaInput, Space
from bindsearch.types import Modality, Piece, Vectors

Row = Mapping[str, Any]
"""A query or a document: its id, and a value for each of its modalities."""

MEDIA = (Modality.TEXT, Modality.IMAGE, Modality.AUDIO, Modality.VIDEO)
BATCH_ROWS = 64
_SUFFIXES = {Modality.TEXT: ".txt", Modality.IMAGE: ".png", Modality.AUDIO: ".wav", Modality.VIDEO: ".mp4"}


class SpaceModel:
    """Implements mteb's `EncoderProtocol`: one unit vector for each input."""

    def __init__(self, space: Space) -> None:
        self.space = space

    @property
    def mteb_model_meta(self) -> Any:
        """Metadata of the model for the package."""
        return _meta(self.space, "")

    def encode(self, inputs: Any, **kwargs: Any) -> Vectors:
        """Embed all rows of a data loader. *Shape:* (rows, dim)"""
        rows, blocks = _rows(inputs), []
        while batch := list(islice(rows, BATCH_ROWS)):
            blocks.append(np.stack([vector_of(row, self.space) for row in batch]))
        return np.concatenate(blocks) if blocks else np.empty((0, self.space.spec.dim), dtype=np.float32)

    def similarity(self, one: Any, other: Any) -> Any:
        """Return all cosines. *Shape:* (len(one), len(other))"""
        import torch

        return torch.as_tensor(np.atleast_2d(np.asarray(one)) @ np.atleast_2d(np.asarray(other)).T)

    def similarity_pairwise(self, one: Any, other: Any) -> Any:
        """Return the cosine of each pair. *Shape:* (len(one),)"""
        import torch

        return torch.as_tensor((np.asarray(one) * np.asarray(other)).sum(axis=-1))


class LibrarySearch:
    """Implements mteb's `SearchProtocol`: documents become files, which a library indexes and searches."""

    def __init__(self, space: Space) -> None:
        self.space = space
        self._folder: TemporaryDirectory[str] | None = None
        self._names: dict[str, str] = {}
        """Path of a file -> id of its document."""

    @property
    def mteb_model_meta(self) -> Any:
        """Metadata of the model for the package."""
        return _meta(self.space, "-library")

    def index(self, corpus: Any, **kwargs: Any) -> None:
        """Write every document into a folder of its own, and index them all."""
        self.close()
        self._folder = TemporaryDirectory(prefix="bindsearch-mteb-")
        documents = Path(self._folder.name, "documents")
        documents.mkdir()
        self._names = {}
        for number, row in enumerate(_rows(corpus)):
            for path in _written(row, documents / f"{number:07d}"):
                self._names[os.path.realpath(path)] = str(row["id"])
        with bindsearch.open(Path(self._folder.name, "of.library"), space=self.space) as library:
            library.index(documents)

    def search(
        self, queries: Any, *, top_k: int, top_ranked: Mapping[str, Sequence[str]] | None = None, **kwargs: Any
    ) -> dict[str, dict[str, float]]:
        """Search for every query and return scores in the library's order; only among `top_ranked` if given."""
        assert self._folder is not None
        found: dict[str, dict[str, float]] = {}
        total = len(self._names)
        with bindsearch.open(Path(self._folder.name, "of.library"), space=self.space) as library:
            for number, row in enumerate(_rows(queries)):
                among = None if top_ranked is None else set(top_ranked.get(str(row["id"]), ()))
                query = _query(row, Path(self._folder.name, f"query-{number}"))
                hits = library.search(query, k=max(1, total if among is not None else min(total, top_k)))
                found[str(row["id"])] = dict(islice(self._scored(hits, among), top_k))
        return found

    def _scored(self, hits: bindsearch.Hits, among: set[str] | None) -> Iterator[tuple[str, float]]:
        """Yield each document of the hits once, with a score that decreases with its rank."""
        returned: set[str] = set()
        for place, hit in enumerate(hits):
            for path in (hit.path, *hit.copies):
                name = self._names.get(os.path.realpath(path))
                if name is not None and name not in returned and (among is None or name in among):
                    returned.add(name)
                    yield name, 1.0 / (1 + place)

    def close(self) -> None:
        """Remove the temporary files."""
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None


def vector_of(row: Row, space: Space) -> Vectors:
    """Embed all modalities of a row: a long text as the mean of its passages, media as a whole. *Shape:* (dim,)"""
    parts = [_embedded(row[kind], kind, space) for kind in MEDIA if row.get(kind) is not None]
    if not parts:
        raise UnsupportedMedia(f"an input needs one of {', '.join(MEDIA)}, but has only {', '.join(row)}")
    mean: Vectors = unit(np.mean(parts, axis=0, keepdims=True))[0]
    return mean


def _embedded(value: Any, kind: Modality, space: Space) -> Vectors:
    if kind == Modality.TEXT:
        passages = [
            value[start : start + length] for start, length in passage_ranges(value, space.spec.windowing.passage)
        ]
        rows = space.embed_pieces([Piece(kind, passage) for passage in passages or [value or " "]])
        mean: Vectors = unit(rows.mean(axis=0, keepdims=True))[0]
        return mean
    rows = space.embed([_thing(value, space.spec.windowing.sample_rate)])
    row: Vectors = rows[0]
    return row


def _thing(value: Any, rate: int) -> MediaInput:
    """Return something that a space embeds: an image, the bytes or path of a file, or samples at the space's rate."""
    if not isinstance(value, Mapping):
        return value  # type: ignore[no-any-return]
    if value.get("bytes"):
        return bytes(value["bytes"])
    if value.get("array") is None:
        return Path(value["path"])
    return _resampled(value, rate)


def _resampled(sound: Mapping[str, Any], rate: int) -> Vectors:
    import soxr

    samples = np.asarray(sound["array"], dtype=np.float32)
    mono = samples.mean(axis=0) if samples.ndim > 1 else samples
    rate_of_sound = int(sound["sampling_rate"])
    resampled: Vectors = mono if rate_of_sound == rate else soxr.resample(mono, rate_of_sound, rate)
    return resampled


def _rows(inputs: Any) -> Iterator[Row]:
    """Yield the rows of a data loader or data set, with sounds and videos as undecoded files."""
    dataset = _undecoded(getattr(inputs, "dataset", inputs))
    for row in dataset:
        yield {**row, "text": _text(row)} if row.get("text") is not None else row


def _text(row: Row) -> str:
    """Return a document preceded by its title, as the package's own models get it."""
    title = "" if row.get("body") is not None else row.get("title") or ""
    return f"{title} {row['text']}".strip()


def _undecoded(dataset: Any) -> Any:
    from datasets import Audio, Video

    for kind in (Audio, Video):
        for name, feature in dataset.features.items():
            if isinstance(feature, kind):
                dataset = dataset.cast_column(name, kind(decode=False))
    return dataset


def _written(row: Row, stem: Path) -> Iterator[Path]:
    """Write the values of a row to files, one for each modality."""
    for kind in MEDIA:
        if row.get(kind) is not None:
            path = stem.with_suffix(_SUFFIXES[kind])
            _write(row[kind], kind, path)
            yield path


def _write(value: Any, kind: Modality, path: Path) -> None:
    if kind == Modality.TEXT:
        path.write_text(value, encoding="utf-8")
    elif kind == Modality.IMAGE:
        value.convert("RGB").save(path)
    elif value.get("bytes"):
        path.write_bytes(value["bytes"])
    elif value.get("array") is None:
        path.write_bytes(Path(value["path"]).read_bytes())
    else:
        _write_wave(value, path)


def _write_wave(sound: Mapping[str, Any], path: Path) -> None:
    import wave

    samples = np.asarray(sound["array"], dtype=np.float32)
    mono = samples.mean(axis=0) if samples.ndim > 1 else samples
    with wave.open(str(path), "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(int(sound["sampling_rate"]))
        out.writeframes((np.clip(mono, -1, 1) * 32767).astype("<i2").tobytes())


def _query(row: Row, stem: Path) -> Query:
    """Return the sum of all modalities of a query."""
    parts = [text(row["text"])] if (row.get("text") or "").strip() else []
    media = {kind: value for kind, value in row.items() if kind in MEDIA and kind != "text"}
    parts += [file(path) for path in _written(media, stem)]
    return sum(parts[1:], start=parts[0])


def _meta(space: Space, suffix: str) -> Any:
    from mteb.models.model_meta import ModelMeta

    spec = space.spec
    return ModelMeta(
        loader=None,
        name=f"bindsearch/{spec.name.replace('/', '-').replace(':', '-')}{suffix}",
        revision=spec.fingerprint,
        release_date=None,
        languages=None,
        n_parameters=None,
        memory_usage_mb=None,
        max_tokens=math.inf,
        embed_dim=spec.dim,
        license=None,
        open_weights=True,
        public_training_code=None,
        public_training_data=None,
        framework=[],
        similarity_fn_name="cosine",
        use_instructions=False,
        training_datasets=None,
        modalities=sorted(str(modality) for modality in spec.modalities),
    )
