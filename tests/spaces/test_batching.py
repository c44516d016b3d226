"""The one encode path: batches that fit, memory that runs out, questions that are asked again."""

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


class Small:
    """An encoder whose memory holds so many pieces, and that keeps note of the batches it was given."""

    spec = SpaceSpec("small", 2, frozenset(Modality), "MIT", "0", "Gives the length of a text.")

    def __init__(self, holds, error=MemoryError):
        self.holds, self.error = holds, error
        self.batches = []

    def prepare(self, piece):
        return piece.content

    def encode(self, modality, batch):
        self.batches.append(len(batch))
        if len(batch) > self.holds:
            raise self.error
        return np.array([[1, len(text)] for text in batch], dtype=np.float32)


class OutOfMemoryError(RuntimeError):
    """As torch calls it."""


@pytest.mark.parametrize(
    "error",
    [
        MemoryError,
        OutOfMemoryError("CUDA out of memory"),
        RuntimeError("MPS backend out of memory (MPS allocated: 1 GB)"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:118] . DefaultCPUAllocator: can't allocate memory"),
    ],
)
def test_out_of_memory_halves_the_batch_and_goes_on(error):
    encoder = Small(5, error)
    texts = ["x" * number for number in range(1, 71)]
    vectors = BatchEncoder(encoder).encode(Modality.TEXT, texts)
    wanted = np.array([[1, number] for number in range(1, 71)], dtype=np.float64)
    np.testing.assert_allclose(vectors, wanted / np.linalg.norm(wanted, axis=1, keepdims=True), atol=1e-6)
    assert encoder.batches[:4] == [DEFAULT_BATCH_SIZE, 16, 8, 4]
    assert set(encoder.batches[4:]) <= {4, 2}


def test_what_fits_is_remembered_for_its_modality():
    encoder = Small(8)
    encoding = BatchEncoder(encoder)
    encoding.encode(Modality.TEXT, ["x"] * 32)
    encoder.batches.clear()
    encoding.encode(Modality.TEXT, ["x"] * 32)
    assert encoder.batches == [8] * 4
    assert encoding.batch_size(Modality.IMAGE) == DEFAULT_BATCH_SIZE


def test_a_single_piece_that_does_not_fit_is_said():
    with pytest.raises(OutOfMemory, match="out of memory with a single piece of text"):
        Space(Small(0)).embed(["x"], modality="text")


class Cramped(Small):
    """An encoder whose memory holds only short texts."""

    def encode(self, modality, batch):
        if any(len(text) > self.holds for text in batch):
            raise self.error
        return super().encode(modality, batch[: self.holds])


def test_a_file_that_memory_did_not_hold_is_tried_again_by_the_next_run(tmp_path):
    media = tmp_path / "media"
    media.mkdir()
    long, short = media / "long.txt", media / "short.txt"
    long.write_text("x" * 50)
    short.write_text("x")
    encoder = Cramped(10)
    with bindsearch.open(tmp_path / "media.library", space=Space(encoder)) as library:
        report = library.index(media)
        assert (report.added, report.quarantined) == (1, {})
        assert report.deferred == {
            long: "space small ran out of memory with a single piece of text: close other programs, or use a smaller "
            "model; the next run tries again"
        }
        assert library.index().deferred == report.deferred
        encoder.holds = 100
        again = library.index()
        assert (again.added, again.unchanged, again.deferred) == (1, 1, {})
        assert library.status().quarantine == {}


def test_other_errors_are_not_taken_for_memory():
    assert not is_out_of_memory(RuntimeError("shapes do not fit"))
    with pytest.raises(SpaceError, match="KeyError"):
        Space(Small(0, KeyError("x"))).embed(["x"], modality="text")


class Priced(Small):
    def __init__(self, cost, device):
        super().__init__(1_000)
        self._cost, self.device = cost, device

    def cost(self, modality):
        return self._cost


def test_batches_keep_to_the_budget():
    def size(pixels, device="cpu"):
        return BatchEncoder(Priced(pixels, device)).batch_size(Modality.IMAGE)

    assert size(224 * 224) == 32
    assert size(448 * 448) == 8
    assert size(224 * 224, "cuda") == 256
    assert size(10_000 * 10_000) == 1
    assert size(1) == 512
    encoder = Priced(77, "cpu")
    Space(encoder).embed([str(number) for number in range(70)], modality="text")
    assert encoder.batches == [32, 32, 6]


# What is remembered -------------------------------------------------------------------------------------------------


def test_a_question_asked_again_is_not_encoded_again(tmp_path):
    encoder = Small(100)
    space = Space(encoder)
    first = space.embed(["a", "bb", "a"], modality="text")
    again = space.embed(["bb", "ccc"], modality="text")
    assert encoder.batches == [2, 1]
    assert np.array_equal(first[1], again[0])
    again[:] = 0
    assert np.array_equal(space.embed(["bb"], modality="text")[0], first[1])


def test_a_file_is_known_again_by_its_content_and_not_by_its_name(tmp_path):
    encoder = Small(100)
    space = Space(encoder)
    one, other = tmp_path / "a.txt", tmp_path / "b.txt"
    one.write_text("one")
    other.write_text("one")
    rows = space.embed_segments(one)[1]
    assert np.array_equal(space.embed_segments(other)[1], rows)
    assert encoder.batches == [1]
    one.write_text("longer")
    assert not np.array_equal(space.embed_segments(one)[1], rows)


def test_another_fingerprint_knows_nothing_of_it():
    class Changing(Small):
        print = "1"

        @property
        def spec(self):
            return SpaceSpec("small", 2, frozenset(Modality), "MIT", self.print, "")

    encoder = Changing(100)
    space = Space(encoder)
    space.embed(["a"], modality="text")
    encoder.print = "2"
    space.embed(["a"], modality="text")
    assert encoder.batches == [1, 1]


def test_what_was_longest_not_asked_for_is_dropped_first():
    known = LruCache(2)
    known.put("a", 1)
    known.put("b", 2)
    assert known.get("a") == 1
    known.put("c", 3)
    assert (known.get("a"), known.get("b"), known.get("c"), len(known)) == (1, None, 3, 2)


def test_a_file_that_is_not_there_is_said(tmp_path):
    with pytest.raises(UnreadableMedia, match="gone"):
        bindsearch.space("toy").embed_segments(tmp_path / "gone.png")
    with pytest.raises(UnsupportedMedia, match="text"):
        bindsearch.space("toy").embed([Piece(Modality.TEXT, "x"), b"\x89PNG"], modality="text")
