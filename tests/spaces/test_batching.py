"""Encoding in batches: their size, running out of memory, and the cache of recent queries."""

from __future__ import annotations

import numpy as np
import pytest

import bindsearch
from bindsearch.errors import OutOfMemory, SpaceError, UnreadableMedia, UnsupportedMedia
from bindsearch.spaces.batching import DEFAULT_BATCH_SIZE, BatchEncoder, is_out_of_memory
from bindsearch.spaces.lru_cache import LruCache
from bindsearch.spaces.space import Space
from bindsearch.types import Modality, Piece, SpaceSpec

# Batches ------------------------------------------------------------------------------------------------------------


class LimitedMemoryEncoder:
    """An encoder whose memory holds `capacity` pieces; it records the sizes of its batches."""

    spec = SpaceSpec("small", 2, frozenset(Modality), "MIT", "0", "Returns the length of a text.")

    def __init__(self, capacity, error=MemoryError):
        self.capacity, self.error = capacity, error
        self.batches = []

    def prepare(self, piece):
        return piece.content

    def encode(self, modality, batch):
        self.batches.append(len(batch))
        if len(batch) > self.capacity:
            raise self.error
        return np.array([[1, len(text)] for text in batch], dtype=np.float32)


class OutOfMemoryError(RuntimeError):
    """Named as in torch."""


class OnnxFail(Exception):
    """As ONNX Runtime raises it: derived from nothing but Exception."""

    __module__ = "onnxruntime.capi.onnxruntime_pybind11_state"


@pytest.mark.parametrize(
    "error",
    [
        MemoryError,
        OutOfMemoryError("CUDA out of memory"),
        RuntimeError("MPS backend out of memory (MPS allocated: 1 GB)"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:118] . DefaultCPUAllocator: can't allocate memory"),
        OnnxFail("[ONNXRuntimeError] : 1 : FAIL : Failed to allocate memory for requested buffer of size 268435456"),
        OnnxFail("[ONNXRuntimeError] : 6 : RUNTIME_EXCEPTION : running Conv node. Status Message: std::bad_alloc"),
    ],
)
def test_out_of_memory_halves_the_batch_size(error):
    encoder = LimitedMemoryEncoder(5, error)
    texts = ["x" * number for number in range(1, 71)]
    vectors = BatchEncoder(encoder).encode(Modality.TEXT, texts)
    wanted = np.array([[1, number] for number in range(1, 71)], dtype=np.float64)
    np.testing.assert_allclose(vectors, wanted / np.linalg.norm(wanted, axis=1, keepdims=True), atol=1e-6)
    assert encoder.batches[:4] == [DEFAULT_BATCH_SIZE, 16, 8, 4]
    assert set(encoder.batches[4:]) <= {4, 2}


def test_reduced_batch_size_is_kept_for_its_modality():
    encoder = LimitedMemoryEncoder(8)
    batch_encoder = BatchEncoder(encoder)
    batch_encoder.encode(Modality.TEXT, ["x"] * 32)
    encoder.batches.clear()
    batch_encoder.encode(Modality.TEXT, ["x"] * 32)
    assert encoder.batches == [8] * 4
    assert batch_encoder.batch_size(Modality.IMAGE) == DEFAULT_BATCH_SIZE


def test_single_piece_without_memory_is_reported():
    with pytest.raises(OutOfMemory, match="out of memory with a single piece of text"):
        Space(LimitedMemoryEncoder(0)).embed(["x"], modality="text")


class ShortTextEncoder(LimitedMemoryEncoder):
    """An encoder whose memory holds only texts of up to `capacity` characters."""

    def encode(self, modality, batch):
        if any(len(text) > self.capacity for text in batch):
            raise self.error
        return super().encode(modality, batch[: self.capacity])


def test_file_without_memory_is_retried_by_the_next_run(tmp_path):
    media = tmp_path / "media"
    media.mkdir()
    long, short = media / "long.txt", media / "short.txt"
    long.write_text("x" * 50)
    short.write_text("x")
    encoder = ShortTextEncoder(10)
    with bindsearch.open(tmp_path / "media.library", space=Space(encoder)) as library:
        report = library.index(media)
        assert (report.added, report.quarantined) == (1, {})
        assert report.deferred == {
            long: "space small ran out of memory with a single piece of text: close other programs, or use a smaller "
            "model; the next run tries again"
        }
        assert library.index().deferred == report.deferred
        encoder.capacity = 100
        again = library.index()
        assert (again.added, again.unchanged, again.deferred) == (1, 1, {})
        assert library.status().quarantine == {}


def test_other_errors_are_not_out_of_memory():
    assert not is_out_of_memory(RuntimeError("shapes do not fit"))
    with pytest.raises(SpaceError, match="KeyError"):
        Space(LimitedMemoryEncoder(0, KeyError("x"))).embed(["x"], modality="text")


class EncoderWithCost(LimitedMemoryEncoder):
    def __init__(self, cost, device):
        super().__init__(1_000)
        self._cost, self.device = cost, device

    def cost(self, modality):
        return self._cost


def test_batch_size_follows_cost_and_device():
    def size(pixels, device="cpu"):
        return BatchEncoder(EncoderWithCost(pixels, device)).batch_size(Modality.IMAGE)

    assert size(224 * 224) == 32
    assert size(448 * 448) == 8
    assert size(224 * 224, "cuda") == 256
    assert size(10_000 * 10_000) == 1
    assert size(1) == 512
    encoder = EncoderWithCost(77, "cpu")
    Space(encoder).embed([str(number) for number in range(70)], modality="text")
    assert encoder.batches == [32, 32, 6]


# The cache ----------------------------------------------------------------------------------------------------------


def test_repeated_text_is_not_encoded_again():
    encoder = LimitedMemoryEncoder(100)
    space = Space(encoder)
    first = space.embed(["a", "bb", "a"], modality="text")
    again = space.embed(["bb", "ccc"], modality="text")
    assert encoder.batches == [2, 1]
    assert np.array_equal(first[1], again[0])
    again[:] = 0
    assert np.array_equal(space.embed(["bb"], modality="text")[0], first[1])


def test_file_is_cached_by_content_not_name(tmp_path):
    encoder = LimitedMemoryEncoder(100)
    space = Space(encoder)
    one, other = tmp_path / "a.txt", tmp_path / "b.txt"
    one.write_text("one")
    other.write_text("one")
    rows = space.embed_segments(one)[1]
    assert np.array_equal(space.embed_segments(other)[1], rows)
    assert encoder.batches == [1]
    one.write_text("longer")
    assert not np.array_equal(space.embed_segments(one)[1], rows)


def test_cache_is_separate_for_each_fingerprint():
    class ChangingEncoder(LimitedMemoryEncoder):
        fingerprint = "1"

        @property
        def spec(self):
            return SpaceSpec("small", 2, frozenset(Modality), "MIT", self.fingerprint, "")

    encoder = ChangingEncoder(100)
    space = Space(encoder)
    space.embed(["a"], modality="text")
    encoder.fingerprint = "2"
    space.embed(["a"], modality="text")
    assert encoder.batches == [1, 1]


def test_least_recently_used_entry_is_dropped_first():
    cache = LruCache(2)
    cache.put("a", 1)
    cache.put("b", 2)
    assert cache.get("a") == 1
    cache.put("c", 3)
    assert (cache.get("a"), cache.get("b"), cache.get("c"), len(cache)) == (1, None, 3, 2)


def test_missing_file_is_named(tmp_path):
    with pytest.raises(UnreadableMedia, match="gone"):
        bindsearch.space("toy").embed_segments(tmp_path / "gone.png")
    with pytest.raises(UnsupportedMedia, match="text"):
        bindsearch.space("toy").embed([Piece(Modality.TEXT, "x"), b"\x89PNG"], modality="text")
