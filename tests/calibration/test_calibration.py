"""E-values mean what they say, on synthetic vectors whose truth is known. No encoder is needed."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from bindsearch.calibration.background_queries import background_texts, form_numbers, thing_numbers
from bindsearch.calibration.cache_file import FILE_NAME
from bindsearch.calibration.evalue import combined_model
from bindsearch.calibration.null_distribution import (
    TAIL_RATES,
    BackgroundQueries,
    CalibrationOptions,
    NullDistribution,
    Sample,
)
from bindsearch.calibration.store import FORMAT, CalibrationStore
from bindsearch.calibration.whitening import Whitening
from bindsearch.query.query_vector import Component, QueryVector
from bindsearch.storage.records import RunRef
from bindsearch.types import Modality

DIM = 48
PLAIN = CalibrationOptions()
FORMS = Whitening(np.array(form_numbers()), np.array(thing_numbers()))


def unit(rows):
    return (rows / np.linalg.norm(rows, axis=-1, keepdims=True)).astype(np.float32)


class World:
    """Queries and items around their own means (the modality gap), with unequal variance by direction."""

    def __init__(self, seed, *, items=400, clusters=40):
        self.rng = np.random.default_rng(seed)
        self.scale = np.geomspace(1.0, 0.2, DIM)
        self.query_mean, self.item_mean = self.rng.normal(size=(2, DIM)) * self.scale * 0.7
        self.centres = self.rng.normal(size=(clusters, DIM)) * self.scale
        self.cluster = self.rng.integers(0, clusters, items)
        self.items = unit(self.item_mean + self.centres[self.cluster] + self.noise(items, 0.5))

    def noise(self, count, size):
        return self.rng.normal(size=(count, DIM)) * self.scale * size

    def unrelated(self, count):
        return unit(self.query_mean + self.noise(count, 1.2))

    def related(self, clusters):
        return unit(self.query_mean + self.centres[clusters] + self.noise(len(clusters), 0.3))

    @property
    def sample(self):
        return Sample(self.items, np.arange(len(self.items)))


def first_evalues(queries, background, items, *, sample=None, options=PLAIN):
    """Return the E-value of the first hit of each query."""
    sample = sample or Sample(items, np.arange(len(items)))
    null = NullDistribution.fit(background, sample, options)
    centred = queries - options.centring_share * background.mean
    centred = centred if background.whitener is None else centred @ background.whitener
    similarities = centred @ sample.centroid
    best = (centred @ items.T).max(axis=1)
    found = []
    for similarity, score in zip(similarities.tolist(), best.tolist(), strict=True):
        model = combined_model([(1.0, null)], similarity=similarity, searched=len(items))
        found.append(model.expect(model.surprisal(score - model.shift)))
    return np.array(found)


def within(found, expect, factor):
    """Whether the share of first hits up to an E-value is as promised, within a factor."""
    promised, share = 1 - math.exp(-expect), float((found <= expect).mean())
    return promised / factor <= share <= promised * factor


@pytest.mark.parametrize("whitening", [None, FORMS], ids=["plain", "whitened"])
@pytest.mark.parametrize("count", [10, 60, 400, 1500])
def test_first_evalues_of_unrelated_queries_are_calibrated(count, whitening):
    shares = []
    for seed in range(4):
        world = World(seed, items=count)
        background = BackgroundQueries(world.unrelated(512), whitening=whitening)
        shares.append(first_evalues(world.unrelated(1500), background, world.items))
    found = np.concatenate(shares)
    assert within(found, 0.01, 3)
    assert within(found, 0.1, 2)
    assert within(found, 0.5, 1.5)


@pytest.mark.parametrize("share", [0.1, 0.25])
def test_answered_background_queries_do_not_hide_true_matches(share):
    world = World(5)
    background = world.unrelated(512)
    answered = int(share * len(background))
    background[:answered] = world.related(world.rng.integers(0, 40, answered))
    found = first_evalues(world.unrelated(2000), BackgroundQueries(background), world.items)
    assert within(found, 0.01, 4)
    assert within(found, 0.1, 2.5)


def test_related_queries_have_small_evalues():
    world = World(6)
    background = BackgroundQueries(world.unrelated(512))
    related = first_evalues(world.related(np.arange(40)), background, world.items)
    unrelated = first_evalues(world.unrelated(500), background, world.items)
    assert np.median(related) < 0.01 < np.median(unrelated)


def test_evalues_from_a_sample_are_conservative():
    world = World(7, items=3000)
    few = Sample(world.items[::10], np.arange(300))
    found = first_evalues(world.unrelated(2000), BackgroundQueries(world.unrelated(512)), world.items, sample=few)
    assert (found <= 0.01).mean() <= 0.03  # far beyond the sample, the tail is on the safe side
    assert 0.01 <= (found <= 0.1).mean() <= 0.2


def test_collection_of_one_subject_is_found_by_it():
    world = World(8, items=30, clusters=1)
    background = BackgroundQueries(world.unrelated(512))
    found = first_evalues(world.related(np.zeros(20, dtype=int)), background, world.items)
    assert np.median(found) < 0.1


@pytest.mark.parametrize("whitening", [None, FORMS], ids=["plain", "whitened"])
@pytest.mark.parametrize("count", [1, 2, 3, 9, 10, 11])
def test_smallest_libraries_have_evalues(count, whitening):
    world = World(9, items=count)
    background = BackgroundQueries(world.unrelated(512), whitening=whitening)
    found = first_evalues(world.unrelated(300), background, world.items)
    assert np.isfinite(found).all()
    assert found.max() <= count
    assert (found <= 0.01).mean() <= 0.05


def test_identical_vectors_have_finite_evalues():
    world = World(10)
    same = np.repeat(world.items[:1], 50, axis=0)
    assert np.isfinite(first_evalues(world.unrelated(50), BackgroundQueries(world.unrelated(512)), same)).all()


def test_surprisal_rises_with_score_without_limit():
    world = World(11)
    null = NullDistribution.fit(BackgroundQueries(world.unrelated(512)), world.sample, PLAIN)
    model = combined_model([(1.0, null)], similarity=null.location, searched=400)
    levels = np.linspace(-3, 3, 2001)
    surprisals = [model.surprisal(level) for level in levels.tolist()]
    assert all(low < high for low, high in itertools.pairwise(surprisals))
    expected = [model.expect(surprisal) for surprisal in surprisals]
    assert expected == sorted(expected, reverse=True)
    assert 0 < expected[-1] < 1e-6
    assert expected[0] == pytest.approx(400, rel=0.01)


def test_evalues_above_one_count_chance_hits():
    """Half of the unrelated queries find at least that many hits as good: what an E-value above one means."""
    world = World(12)
    background = BackgroundQueries(world.unrelated(512))
    null = NullDistribution.fit(background, world.sample, PLAIN)
    queries = world.unrelated(400)
    centred = queries - PLAIN.centring_share * background.mean
    counts = {200: [], 40: [], 8: []}
    for query in centred:
        model = combined_model([(1.0, null)], similarity=float(query @ world.sample.centroid), searched=400)
        scores = np.sort(world.items @ query)[::-1] - model.shift
        for rank in counts:
            counts[rank].append(model.expect(model.surprisal(float(scores[rank - 1]))))
    for rank, expected in counts.items():
        assert np.median(expected) == pytest.approx(rank, rel=0.25)


def test_library_vectors_are_not_scored_against_themselves():
    world = World(13, items=9)
    own = BackgroundQueries(world.items, np.arange(9))
    without, with_itself = (
        NullDistribution.fit(background, world.sample, PLAIN) for background in (own, BackgroundQueries(world.items))
    )
    median = -len(TAIL_RATES)  # the median of their best scores
    assert without.scores[median] < with_itself.scores[median] - 0.1


def test_spreads_of_components_add_up_by_squares():
    world = World(14)
    background = BackgroundQueries(unit(world.noise(512, 1.0)))
    null = NullDistribution.fit(background, world.sample, PLAIN)
    one = combined_model([(1.0, null)], similarity=0.0, searched=400)
    both = combined_model([(math.sqrt(0.5), null), (math.sqrt(0.5), null)], similarity=0.0, searched=400)
    assert both.scores[-1] - both.scores[3] == pytest.approx(one.scores[-1] - one.scores[3], rel=1e-6)


def test_sum_of_two_texts_is_calibrated():
    world = World(15)
    background = BackgroundQueries(world.unrelated(512))
    null = NullDistribution.fit(background, world.sample, PLAIN)
    a, b = world.unrelated(2000), world.unrelated(2000)
    queries = unit(a + b)
    mean = background.mean.astype(np.float64)
    weight = 1 / math.sqrt(2 + 2 * float(mean @ mean))
    centred = queries - PLAIN.centring_share * 2 * weight * background.mean
    found = []
    for query in centred:
        model = combined_model(
            [(weight, null), (weight, null)], similarity=float(query @ world.sample.centroid), searched=400
        )
        found.append(model.expect(model.surprisal(float((world.items @ query).max()) - model.shift)))
    assert within(np.array(found), 0.1, 3)


def test_whitening_reduces_directions_of_high_variance():
    world = World(21)
    background = BackgroundQueries(world.unrelated(512), whitening=FORMS)
    kept = np.linalg.norm(np.eye(DIM, dtype=np.float32) @ background.whitener, axis=1)
    varied = background.vectors.std(axis=0)
    assert np.corrcoef(kept, varied)[0, 1] < -0.9
    assert kept[varied.argmax()] < 0.8 * kept[varied.argmin()]


def test_whitening_keeps_the_distance_from_the_mean():
    """Otherwise text would count less when combined with a photo."""
    world = World(22)
    background = BackgroundQueries(world.unrelated(512), whitening=FORMS)
    far = background.vectors - background.mean
    assert np.linalg.norm(far @ background.whitener) == pytest.approx(np.linalg.norm(far), rel=1e-3)


def test_whitening_reduces_variance_of_what_is_searched():
    world = World(23)
    among = np.diag(np.r_[np.full(4, DIM / 4), np.zeros(DIM - 4)])
    words = world.unrelated(512)
    alone, both = (
        BackgroundQueries(words, whitening=Whitening(FORMS.forms, FORMS.things, each)).whitener
        for each in (None, among)
    )
    change = np.diag(both) / np.diag(alone)
    assert change[:4].max() < change[4:].min()


def test_whitening_lowers_evalues_of_true_matches():
    """Queries mostly differ in directions in which no item differs: noise, which whitening reduces."""
    chance = np.random.default_rng(24)
    noise = np.r_[np.full(8, 3.0), np.full(DIM - 8, 0.5)]
    found = unit(chance.normal(size=(400, DIM)))
    strange, asked = chance.normal(size=(512, DIM)) * noise, chance.normal(size=(400, DIM)) * noise + 6 * found
    plain, whitened = (
        first_evalues(unit(asked), BackgroundQueries(unit(strange), whitening=each), found) for each in (None, FORMS)
    )
    assert (whitened <= 0.01).mean() > (plain <= 0.01).mean() + 0.1


def test_folds_share_no_form_and_no_thing():
    places = []
    for own, others in FORMS.folds():
        assert len(set(FORMS.forms[own])) == 1
        assert not set(FORMS.forms[own]) & set(FORMS.forms[others])
        assert not set(FORMS.things[own]) & set(FORMS.things[others])
        assert len(others) > 400
        places += own.tolist()
    assert sorted(places) == list(range(512))


def test_scored_queries_are_whitened_without_their_own_form():
    world = World(25)
    words = world.unrelated(512)
    own, others = next(FORMS.folds())
    other = words.copy()
    other[own] *= 3
    before, after = (BackgroundQueries(each, whitening=FORMS).scored[0].vectors for each in (words, other))
    lengths = np.linalg.norm(after, axis=1) / np.linalg.norm(before, axis=1)
    alike = (before * after).sum(axis=1) / np.linalg.norm(before, axis=1) / np.linalg.norm(after, axis=1)
    assert alike[own].min() == pytest.approx(1, abs=1e-6)
    assert np.ptp(lengths[own]) < 1e-4
    assert alike[others].min() < 1 - 1e-3


def test_form_and_thing_of_each_background_text_are_known():
    asked = background_texts()
    for opening in ("old ", "a photo of ", "the sound of ", "why is there ", "somebody talks about "):
        has = {form for form, question in zip(form_numbers(), asked, strict=True) if question.startswith(opening)}
        assert len(has) == 1
    about = {}
    for thing, question in zip(thing_numbers(), asked, strict=True):
        about.setdefault(thing, []).append(set(question.replace("?", "").split()))
    assert all(len(words) == 2 and words[0] & words[1] for words in about.values())
    assert sorted(set(thing_numbers())) == list(range(256))


def test_background_texts_are_512_different_short_texts():
    asked = background_texts()
    assert len(asked) == len(set(asked)) == 512
    assert all(1 <= len(question.split()) <= 12 for question in asked)


class FakeIndex:
    """The part of an index that sampling uses."""

    def __init__(self, vectors, first=0):
        self.rows, self.first = vectors, first

    def __len__(self):
        return len(self.rows)

    def ids(self):
        return np.arange(self.first, self.first + len(self.rows))

    def vectors(self, ids):
        return self.rows[np.asarray(ids) - self.first]


class FakeSnapshot:
    """The part of a snapshot that calibration uses."""

    def __init__(self, position):
        self._position = position

    def position(self):
        return self._position

    def owner_of(self, segment):
        return segment // 2

    def runs_of(self, item):
        return tuple(RunRef(2 * item, modality, 2) for modality in (Modality.IMAGE, Modality.AUDIO))


def counting(vectors):
    """Return a function that returns vectors, and the list of its calls."""
    calls = []

    def texts():
        calls.append(1)
        return vectors

    return texts, calls


ALL = frozenset(Modality)


@pytest.mark.parametrize("options", [PLAIN, CalibrationOptions(centring=False), CalibrationOptions(hubness=True)])
def test_cached_calibration_is_equal_to_the_last_bit(tmp_path, options):
    world = World(16)
    indexes = {Modality.IMAGE: FakeIndex(world.items), Modality.AUDIO: FakeIndex(world.items[:20], 1000)}
    texts, calls = counting(world.unrelated(512))
    fresh = CalibrationStore(tmp_path, dim=DIM, texts=texts).at(FakeSnapshot(7), indexes, ALL, options)
    asked = len(calls)
    again = CalibrationStore(tmp_path, dim=DIM, texts=texts).at(FakeSnapshot(7), indexes, ALL, options)
    assert asked > 0
    assert len(calls) == asked
    for kind in ALL:
        assert (again.kinds[kind].mean == fresh.kinds[kind].mean).all()
        assert np.array_equal(again.kinds[kind].whitener, fresh.kinds[kind].whitener)
        for modality in indexes:
            ours, theirs = again.kinds[kind].nulls[modality], fresh.kinds[kind].nulls[modality]
            assert (ours.scores == theirs.scores).all()
            assert (ours.location, ours.scale, ours.typical_spread) == (
                theirs.location,
                theirs.scale,
                theirs.typical_spread,
            )


def test_changed_content_is_calibrated_again(tmp_path):
    world = World(17)
    texts, _ = counting(world.unrelated(512))
    calibration = CalibrationStore(tmp_path, dim=DIM, texts=texts)
    kinds = frozenset({Modality.TEXT})
    before = calibration.at(FakeSnapshot(1), {Modality.IMAGE: FakeIndex(world.items[:50])}, kinds, PLAIN)
    after = calibration.at(FakeSnapshot(2), {Modality.IMAGE: FakeIndex(world.items)}, kinds, PLAIN)
    fresh = CalibrationStore(tmp_path / "none", dim=DIM, texts=texts).at(
        FakeSnapshot(2), {Modality.IMAGE: FakeIndex(world.items)}, kinds, PLAIN
    )
    ours, theirs = (each.kinds[Modality.TEXT].nulls[Modality.IMAGE] for each in (after, fresh))
    assert (ours.scores == theirs.scores).all()
    assert before.key != after.key


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04 not an archive", b"\x00" * 100])
def test_damaged_cache_is_fitted_again(tmp_path, damage):
    world = World(18)
    texts, _ = counting(world.unrelated(512))
    (tmp_path / FILE_NAME).write_bytes(damage)
    kinds = frozenset({Modality.TEXT})
    calibration = CalibrationStore(tmp_path, dim=DIM, texts=texts).at(
        FakeSnapshot(1), {Modality.IMAGE: FakeIndex(world.items)}, kinds, PLAIN
    )
    assert set(calibration.kinds) == {Modality.TEXT}


def test_space_without_texts_is_calibrated(tmp_path):
    world = World(19)
    texts, _ = counting(np.empty((0, DIM), np.float32))
    indexes = {Modality.IMAGE: FakeIndex(world.items)}
    calibration = CalibrationStore(tmp_path, dim=DIM, texts=texts).at(FakeSnapshot(1), indexes, ALL, PLAIN)
    assert set(calibration.kinds) == ALL


def test_kinds_of_query_have_their_own_null_distributions(tmp_path):
    """An image is more similar to images than text is: chance for the one is not chance for the other."""
    world = World(20)
    texts, _ = counting(world.unrelated(512))
    indexes = {Modality.IMAGE: FakeIndex(world.items)}
    calibration = CalibrationStore(tmp_path, dim=DIM, texts=texts).at(FakeSnapshot(1), indexes, ALL, PLAIN)
    words, pictures = (calibration.kinds[kind].nulls[Modality.IMAGE] for kind in (Modality.TEXT, Modality.IMAGE))
    assert pictures.scores[-1] > words.scores[-1]


def fitted_calibration(world, folder, *, options=PLAIN, items=None):
    """Calibrate a library of images."""
    texts, _ = counting(world.unrelated(512))
    indexes = {Modality.IMAGE: FakeIndex(world.items if items is None else items)}
    return CalibrationStore(folder, dim=DIM, texts=texts).at(FakeSnapshot(1), indexes, ALL, options)


def query_of(*parts):
    """Return the query vector of a sum of (weight, kind, unit vector)."""
    total = sum(weight * vector for weight, _, vector in parts)
    length = float(np.linalg.norm(total))
    split = tuple(Component(weight / length, kind, weight / length * vector) for weight, kind, vector in parts)
    return QueryVector((total / length).astype(np.float32), split)


def test_only_text_queries_are_whitened(tmp_path):
    fitted = fitted_calibration(World(26), tmp_path).kinds
    assert {kind for kind in ALL if fitted[kind].whitener is not None} == {Modality.TEXT}


def test_borrowed_background_queries_are_not_whitened(tmp_path):
    texts, _ = counting(np.empty((0, DIM), np.float32))
    indexes = {Modality.IMAGE: FakeIndex(World(27).items)}
    calibration = CalibrationStore(tmp_path, dim=DIM, texts=texts).at(FakeSnapshot(1), indexes, ALL, PLAIN)
    assert all(calibration.kinds[kind].whitener is None for kind in ALL)


def test_query_is_unchanged_without_centring(tmp_path):
    world = World(28)
    calibration = fitted_calibration(world, tmp_path, options=CalibrationOptions(centring=False))
    word, picture = world.unrelated(1)[0], world.items[0]
    assert all(calibration.kinds[kind].whitener is None for kind in ALL)
    for query in (
        query_of((1.0, Modality.TEXT, word)),
        query_of((1, Modality.TEXT, word), (1, Modality.IMAGE, picture)),
    ):
        calibrated = calibration.calibrate(query, searched={Modality.IMAGE: 400})
        assert calibrated.vector == pytest.approx(query.vector, abs=1e-6)


@pytest.mark.parametrize("kind", [Modality.TEXT, Modality.IMAGE])
def test_operand_of_zero_weight_changes_nothing(tmp_path, kind):
    """Text is whitened and images are not, also when they are combined."""
    world = World(29)
    calibration = fitted_calibration(world, tmp_path)
    vectors = {Modality.TEXT: world.unrelated(1)[0], Modality.IMAGE: world.items[0]}
    other = Modality.IMAGE if kind == Modality.TEXT else Modality.TEXT
    alone, both = (
        calibration.calibrate(query_of(*parts), searched={Modality.IMAGE: 400})
        for parts in (
            [(1.0, kind, vectors[kind])],
            [(1.0, kind, vectors[kind]), (1e-9, other, vectors[other])],
        )
    )
    assert both.vector == pytest.approx(alone.vector, abs=1e-6)
    for ours, theirs in zip(both.models.values(), alone.models.values(), strict=True):
        assert ours.scores == pytest.approx(theirs.scores, abs=1e-6)
        assert ours.shift == pytest.approx(theirs.shift, abs=1e-6)


def test_sum_of_text_and_image_is_calibrated(tmp_path):
    world = World(30, items=800, clusters=10**5)  # no two images share a subject
    indexed, asked = world.items[:400], world.items[400:]
    calibration = fitted_calibration(world, tmp_path, items=indexed)
    found = []
    for word, picture in zip(world.unrelated(len(asked)), asked, strict=True):
        query = query_of((1, Modality.TEXT, word), (1, Modality.IMAGE, picture))
        calibrated = calibration.calibrate(query, searched={Modality.IMAGE: 400})
        model = calibrated.models[Modality.IMAGE]
        found.append(model.expect(model.surprisal(float(calibrated.adjusted_scores(Modality.IMAGE, indexed).max()))))
    assert within(np.array(found), 0.1, 3)
    assert within(np.array(found), 0.5, 2)


def test_cache_of_another_format_is_fitted_again(tmp_path):
    world = World(31)
    calibration = fitted_calibration(world, tmp_path)
    with np.load(tmp_path / FILE_NAME) as file:
        arrays = {name: file[name] for name in file.files if not name.startswith("whitener")}
    key = str(arrays["key"])
    assert key.startswith(f"{FORMAT}|")
    np.savez(tmp_path / FILE_NAME, **(arrays | {"key": f"{int(FORMAT) - 1}{key.removeprefix(FORMAT)}"}))
    texts, calls = counting(world.unrelated(512))
    refitted = CalibrationStore(tmp_path, dim=DIM, texts=texts).at(
        FakeSnapshot(1), {Modality.IMAGE: FakeIndex(world.items)}, ALL, PLAIN
    )
    assert calls
    assert refitted.key == calibration.key
    assert refitted.kinds[Modality.TEXT].whitener is not None
