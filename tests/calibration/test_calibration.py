"""What `expect` promises, on vectors whose truth is known: no encoder is needed to check chance."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from bindsearch.calibration.background_queries import forms, questions, things
from bindsearch.calibration.calibration import FILE, FORM, CalibrationStore
from bindsearch.calibration.evalue import background
from bindsearch.calibration.null_distribution import (
    PEAKS,
    BackgroundQueries,
    CalibrationOptions,
    NullDistribution,
    Sample,
)
from bindsearch.calibration.whitening import Whitening
from bindsearch.query.query_vector import Component, QueryVector
from bindsearch.types import Modality

DIM = 48
PLAIN = CalibrationOptions()
FORMS = Whitening(np.array(forms()), np.array(things()))


def unit(rows):
    return (rows / np.linalg.norm(rows, axis=-1, keepdims=True)).astype(np.float32)


class World:
    """Questions and things around their own means, as the modality gap has it, in directions that count unequally."""

    def __init__(self, seed, *, things=400, clumps=40):
        self.chance = np.random.default_rng(seed)
        self.scale = np.geomspace(1.0, 0.2, DIM)
        self.question_mean, self.thing_mean = self.chance.normal(size=(2, DIM)) * self.scale * 0.7
        self.centres = self.chance.normal(size=(clumps, DIM)) * self.scale
        self.clump = self.chance.integers(0, clumps, things)
        self.things = unit(self.thing_mean + self.centres[self.clump] + self.wobble(things, 0.5))

    def wobble(self, count, size):
        return self.chance.normal(size=(count, DIM)) * self.scale * size

    def unrelated(self, count):
        return unit(self.question_mean + self.wobble(count, 1.2))

    def related(self, clumps):
        return unit(self.question_mean + self.centres[clumps] + self.wobble(len(clumps), 0.3))

    @property
    def sample(self):
        return Sample(self.things, np.arange(len(self.things)))


def first_expectations(queries, strangers, things, *, sample=None, manner=PLAIN):
    """Return the expectation of the first hit of each query."""
    sample = sample or Sample(things, np.arange(len(things)))
    odds = NullDistribution.of(strangers, sample, manner)
    aims = queries - manner.share * strangers.mean
    aims = aims if strangers.whitener is None else aims @ strangers.whitener
    near = aims @ sample.mean
    best = (aims @ things.T).max(axis=1)
    found = []
    for middle, score in zip(near.tolist(), best.tolist(), strict=True):
        chance = background([(1.0, odds)], near=middle, searched=len(things))
        found.append(chance.expect(chance.surprisal(score - chance.near)))
    return np.array(found)


def within(found, expect, factor):
    """Whether as many first hits as promised have at most an expectation."""
    promised, share = 1 - math.exp(-expect), float((found <= expect).mean())
    return promised / factor <= share <= promised * factor


@pytest.mark.parametrize("whitening", [None, FORMS], ids=["plain", "whitened"])
@pytest.mark.parametrize("things", [10, 60, 400, 1500])
def test_first_hits_of_unrelated_questions_are_what_they_say(things, whitening):
    shares = []
    for seed in range(4):
        world = World(seed, things=things)
        strangers = BackgroundQueries(world.unrelated(512), whitening=whitening)
        shares.append(first_expectations(world.unrelated(1500), strangers, world.things))
    found = np.concatenate(shares)
    assert within(found, 0.01, 3)
    assert within(found, 0.1, 2)
    assert within(found, 0.5, 1.5)


@pytest.mark.parametrize("share", [0.1, 0.25])
def test_strangers_that_are_answered_do_not_hide_true_matches(share):
    world = World(5)
    strangers = world.unrelated(512)
    answered = int(share * len(strangers))
    strangers[:answered] = world.related(world.chance.integers(0, 40, answered))
    found = first_expectations(world.unrelated(2000), BackgroundQueries(strangers), world.things)
    assert within(found, 0.01, 4)
    assert within(found, 0.1, 2.5)


def test_related_questions_stand_out():
    world = World(6)
    strangers = BackgroundQueries(world.unrelated(512))
    related = first_expectations(world.related(np.arange(40)), strangers, world.things)
    unrelated = first_expectations(world.unrelated(500), strangers, world.things)
    assert np.median(related) < 0.01 < np.median(unrelated)


def test_a_sample_speaks_for_all():
    world = World(7, things=3000)
    few = Sample(world.things[::10], np.arange(300))
    found = first_expectations(world.unrelated(2000), BackgroundQueries(world.unrelated(512)), world.things, sample=few)
    assert (found <= 0.01).mean() <= 0.03  # far beyond the sample, the tail is on the safe side
    assert 0.01 <= (found <= 0.1).mean() <= 0.2


def test_a_collection_of_one_subject_is_found_by_it():
    world = World(8, things=30, clumps=1)
    strangers = BackgroundQueries(world.unrelated(512))
    found = first_expectations(world.related(np.zeros(20, dtype=int)), strangers, world.things)
    assert np.median(found) < 0.1


@pytest.mark.parametrize("whitening", [None, FORMS], ids=["plain", "whitened"])
@pytest.mark.parametrize("count", [1, 2, 3, 9, 10, 11])
def test_the_smallest_libraries_have_an_expectation(count, whitening):
    world = World(9, things=count)
    strangers = BackgroundQueries(world.unrelated(512), whitening=whitening)
    found = first_expectations(world.unrelated(300), strangers, world.things)
    assert np.isfinite(found).all()
    assert found.max() <= count
    assert (found <= 0.01).mean() <= 0.05


def test_vectors_that_are_all_the_same_have_an_expectation():
    world = World(10)
    same = np.repeat(world.things[:1], 50, axis=0)
    assert np.isfinite(first_expectations(world.unrelated(50), BackgroundQueries(world.unrelated(512)), same)).all()


def test_surprise_rises_with_the_score_and_never_ends():
    world = World(11)
    odds = NullDistribution.of(BackgroundQueries(world.unrelated(512)), world.sample, PLAIN)
    chance = background([(1.0, odds)], near=odds.offset, searched=400)
    levels = np.linspace(-3, 3, 2001)
    surprises = [chance.surprisal(level) for level in levels.tolist()]
    assert all(low < high for low, high in itertools.pairwise(surprises))
    expected = [chance.expect(surprisal) for surprisal in surprises]
    assert expected == sorted(expected, reverse=True)
    assert 0 < expected[-1] < 1e-6
    assert expected[0] == pytest.approx(400, rel=0.01)


def test_levels_count_what_strangers_find():
    """Half of the strangers find at least so many as good: that is what an expectation above one means."""
    world = World(12)
    strangers = BackgroundQueries(world.unrelated(512))
    odds = NullDistribution.of(strangers, world.sample, PLAIN)
    queries = world.unrelated(400)
    aims = queries - PLAIN.share * strangers.mean
    counts = {200: [], 40: [], 8: []}
    for aim in aims:
        chance = background([(1.0, odds)], near=float(aim @ world.sample.mean), searched=400)
        scores = np.sort(world.things @ aim)[::-1] - chance.near
        for rank in counts:
            counts[rank].append(chance.expect(chance.surprisal(float(scores[rank - 1]))))
    for rank, expected in counts.items():
        assert np.median(expected) == pytest.approx(rank, rel=0.25)


def test_nothing_is_scored_against_itself():
    world = World(13, things=9)
    own = BackgroundQueries(world.things, np.arange(9))
    told, fooled = (
        NullDistribution.of(strangers, world.sample, PLAIN) for strangers in (own, BackgroundQueries(world.things))
    )
    usual = -len(PEAKS)  # what the best score of half of them is
    assert told.levels[usual] < fooled.levels[usual] - 0.1


def test_parts_add_up_by_squares():
    world = World(14)
    strangers = BackgroundQueries(unit(world.wobble(512, 1.0)))
    odds = NullDistribution.of(strangers, world.sample, PLAIN)
    one = background([(1.0, odds)], near=0.0, searched=400)
    both = background([(math.sqrt(0.5), odds), (math.sqrt(0.5), odds)], near=0.0, searched=400)
    assert both.levels[-1] - both.levels[3] == pytest.approx(one.levels[-1] - one.levels[3], rel=1e-6)


def test_two_words_together_are_no_less_honest_than_one():
    world = World(15)
    strangers = BackgroundQueries(world.unrelated(512))
    odds = NullDistribution.of(strangers, world.sample, PLAIN)
    a, b = world.unrelated(2000), world.unrelated(2000)
    queries = unit(a + b)
    mean = strangers.mean.astype(np.float64)
    weight = 1 / math.sqrt(2 + 2 * float(mean @ mean))
    aims = queries - PLAIN.share * 2 * weight * strangers.mean
    found = []
    for aim in aims:
        chance = background([(weight, odds), (weight, odds)], near=float(aim @ world.sample.mean), searched=400)
        found.append(chance.expect(chance.surprisal(float((world.things @ aim).max()) - chance.near)))
    assert within(np.array(found), 0.1, 3)


def test_a_direction_in_which_questions_vary_much_counts_less():
    world = World(21)
    strangers = BackgroundQueries(world.unrelated(512), whitening=FORMS)
    kept = np.linalg.norm(np.eye(DIM, dtype=np.float32) @ strangers.whitener, axis=1)
    varied = strangers.vectors.std(axis=0)
    assert np.corrcoef(kept, varied)[0, 1] < -0.9
    assert kept[varied.argmax()] < 0.8 * kept[varied.argmin()]


def test_whitened_questions_are_as_far_from_their_mean_as_before():
    """Else words would count less beside a photo."""
    world = World(22)
    strangers = BackgroundQueries(world.unrelated(512), whitening=FORMS)
    far = strangers.vectors - strangers.mean
    assert np.linalg.norm(far @ strangers.whitener) == pytest.approx(np.linalg.norm(far), rel=1e-3)


def test_what_others_vary_in_counts_less_too():
    world = World(23)
    among = np.diag(np.r_[np.full(4, DIM / 4), np.zeros(DIM - 4)])
    words = world.unrelated(512)
    alone, both = (
        BackgroundQueries(words, whitening=Whitening(FORMS.forms, FORMS.things, each)).whitener
        for each in (None, among)
    )
    txn = np.diag(both) / np.diag(alone)
    assert txn[:4].max() < txn[4:].min()


def test_whitened_matches_stand_out_more():
    """Questions mostly differ in what no thing differs in: that is noise, and counts less."""
    chance = np.random.default_rng(24)
    noise = np.r_[np.full(8, 3.0), np.full(DIM - 8, 0.5)]
    found = unit(chance.normal(size=(400, DIM)))
    strange, asked = chance.normal(size=(512, DIM)) * noise, chance.normal(size=(400, DIM)) * noise + 6 * found
    plain, whitened = (
        first_expectations(unit(asked), BackgroundQueries(unit(strange), whitening=each), found)
        for each in (None, FORMS)
    )
    assert (whitened <= 0.01).mean() > (plain <= 0.01).mean() + 0.1


def test_no_question_whitens_itself_or_its_like():
    places = []
    for own, others in FORMS.folds():
        assert len(set(FORMS.forms[own])) == 1
        assert not set(FORMS.forms[own]) & set(FORMS.forms[others])
        assert not set(FORMS.things[own]) & set(FORMS.things[others])
        assert len(others) > 400
        places += own.tolist()
    assert sorted(places) == list(range(512))


def test_how_a_question_is_whitened_when_tried_does_not_hang_on_its_own_form():
    world = World(25)
    words = world.unrelated(512)
    own, others = next(FORMS.folds())
    other = words.copy()
    other[own] *= 3
    before, after = (BackgroundQueries(each, whitening=FORMS).tried[0].vectors for each in (words, other))
    lengths = np.linalg.norm(after, axis=1) / np.linalg.norm(before, axis=1)
    alike = (before * after).sum(axis=1) / np.linalg.norm(before, axis=1) / np.linalg.norm(after, axis=1)
    assert alike[own].min() == pytest.approx(1, abs=1e-6)
    assert np.ptp(lengths[own]) < 1e-4
    assert alike[others].min() < 1 - 1e-3


def test_it_is_known_which_form_and_which_thing_each_question_has():
    asked = questions()
    for opening in ("old ", "a photo of ", "the sound of ", "why is there ", "somebody talks about "):
        has = {form for form, question in zip(forms(), asked, strict=True) if question.startswith(opening)}
        assert len(has) == 1
    about = {}
    for thing, question in zip(things(), asked, strict=True):
        about.setdefault(thing, []).append(set(question.replace("?", "").split()))
    assert all(len(told) == 2 and told[0] & told[1] for told in about.values())
    assert sorted(set(things())) == list(range(256))


def test_the_questions_of_strangers_are_many_and_different():
    asked = questions()
    assert len(asked) == len(set(asked)) == 512
    assert all(1 <= len(question.split()) <= 12 for question in asked)


class Shelf:
    """As much of an index as is sampled."""

    def __init__(self, vectors, first=0):
        self.rows, self.first = vectors, first

    def __len__(self):
        return len(self.rows)

    def ids(self):
        return np.arange(self.first, self.first + len(self.rows))

    def vectors(self, ids):
        return self.rows[np.asarray(ids) - self.first]


class Ledger:
    """As much of a view as is asked."""

    def __init__(self, position):
        self._position = position

    def position(self):
        return self._position

    def owner_of(self, segment):
        return segment // 2

    def facts(self, item):
        return {"runs": [(2 * item, str(modality), 2) for modality in (Modality.IMAGE, Modality.AUDIO)]}


def counted(vectors):
    """Return what gives texts, and how often it was asked."""
    calls = []

    def texts():
        calls.append(1)
        return vectors

    return texts, calls


ALL = frozenset(Modality)


@pytest.mark.parametrize("manner", [PLAIN, CalibrationOptions(centring=False), CalibrationOptions(hubness=True)])
def test_what_is_fitted_is_kept_on_disk_to_the_last_bit(tmp_path, manner):
    world = World(16)
    indexes = {Modality.IMAGE: Shelf(world.things), Modality.AUDIO: Shelf(world.things[:20], 1000)}
    texts, calls = counted(world.unrelated(512))
    fresh = CalibrationStore(tmp_path, dim=DIM, texts=texts).at(Ledger(7), indexes, ALL, manner)
    asked = len(calls)
    again = CalibrationStore(tmp_path, dim=DIM, texts=texts).at(Ledger(7), indexes, ALL, manner)
    assert asked > 0
    assert len(calls) == asked
    for kind in ALL:
        assert (again.fitted[kind].mean == fresh.fitted[kind].mean).all()
        assert np.array_equal(again.fitted[kind].whitener, fresh.fitted[kind].whitener)
        for modality in indexes:
            ours, theirs = again.fitted[kind].odds[modality], fresh.fitted[kind].odds[modality]
            assert (ours.levels == theirs.levels).all()
            assert (ours.offset, ours.slack, ours.typical) == (theirs.offset, theirs.slack, theirs.typical)


def test_what_was_fitted_to_another_content_is_not_used(tmp_path):
    world = World(17)
    texts, _ = counted(world.unrelated(512))
    chances = CalibrationStore(tmp_path, dim=DIM, texts=texts)
    kinds = frozenset({Modality.TEXT})
    before = chances.at(Ledger(1), {Modality.IMAGE: Shelf(world.things[:50])}, kinds, PLAIN)
    after = chances.at(Ledger(2), {Modality.IMAGE: Shelf(world.things)}, kinds, PLAIN)
    fresh = CalibrationStore(tmp_path / "none", dim=DIM, texts=texts).at(
        Ledger(2), {Modality.IMAGE: Shelf(world.things)}, kinds, PLAIN
    )
    ours, theirs = (each.fitted[Modality.TEXT].odds[Modality.IMAGE] for each in (after, fresh))
    assert (ours.levels == theirs.levels).all()
    assert before.stamp != after.stamp


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04 not an archive", b"\x00" * 100])
def test_a_damaged_file_is_fitted_anew(tmp_path, damage):
    world = World(18)
    texts, _ = counted(world.unrelated(512))
    (tmp_path / "chances.npz").write_bytes(damage)
    kinds = frozenset({Modality.TEXT})
    moment = CalibrationStore(tmp_path, dim=DIM, texts=texts).at(
        Ledger(1), {Modality.IMAGE: Shelf(world.things)}, kinds, PLAIN
    )
    assert set(moment.fitted) == {Modality.TEXT}


def test_a_space_without_words_is_not_without_chance(tmp_path):
    world = World(19)
    texts, _ = counted(np.empty((0, DIM), np.float32))
    indexes = {Modality.IMAGE: Shelf(world.things)}
    moment = CalibrationStore(tmp_path, dim=DIM, texts=texts).at(Ledger(1), indexes, ALL, PLAIN)
    assert set(moment.fitted) == ALL


def test_parts_of_other_kinds_are_known_apart(tmp_path):
    """An image looks more like images than words do: what is chance for the one is none for the other."""
    world = World(20)
    texts, _ = counted(world.unrelated(512))
    indexes = {Modality.IMAGE: Shelf(world.things)}
    moment = CalibrationStore(tmp_path, dim=DIM, texts=texts).at(Ledger(1), indexes, ALL, PLAIN)
    words, pictures = (moment.fitted[kind].odds[Modality.IMAGE] for kind in (Modality.TEXT, Modality.IMAGE))
    assert pictures.levels[-1] > words.levels[-1]


def moment_of(world, folder, *, manner=PLAIN, things=None):
    """Fit what chance gives words and pictures in a library of pictures."""
    texts, _ = counted(world.unrelated(512))
    shelf = {Modality.IMAGE: Shelf(world.things if things is None else things)}
    return CalibrationStore(folder, dim=DIM, texts=texts).at(Ledger(1), shelf, ALL, manner)


def asking(*parts):
    """Ask for a sum of (weight, kind, unit vector)."""
    total = sum(weight * vector for weight, _, vector in parts)
    length = float(np.linalg.norm(total))
    split = tuple(Component(weight / length, kind, weight / length * vector) for weight, kind, vector in parts)
    return QueryVector((total / length).astype(np.float32), split)


def test_only_words_are_whitened(tmp_path):
    fitted = moment_of(World(26), tmp_path).fitted
    assert {kind for kind in ALL if fitted[kind].whitener is not None} == {Modality.TEXT}


def test_words_that_are_borrowed_are_not_whitened(tmp_path):
    texts, _ = counted(np.empty((0, DIM), np.float32))
    shelf = {Modality.IMAGE: Shelf(World(27).things)}
    moment = CalibrationStore(tmp_path, dim=DIM, texts=texts).at(Ledger(1), shelf, ALL, PLAIN)
    assert all(moment.fitted[kind].whitener is None for kind in ALL)


def test_without_centring_a_query_is_searched_as_it_is(tmp_path):
    world = World(28)
    moment = moment_of(world, tmp_path, manner=CalibrationOptions(centring=False))
    word, picture = world.unrelated(1)[0], world.things[0]
    assert all(moment.fitted[kind].whitener is None for kind in ALL)
    for query in (asking((1.0, Modality.TEXT, word)), asking((1, Modality.TEXT, word), (1, Modality.IMAGE, picture))):
        aim = moment.aim(query, searched={Modality.IMAGE: 400})
        assert aim.vector == pytest.approx(query.vector, abs=1e-6)


@pytest.mark.parametrize("kind", [Modality.TEXT, Modality.IMAGE])
def test_an_operand_without_weight_changes_nothing(tmp_path, kind):
    """Words are whitened and pictures are not, also where they are asked for together."""
    world = World(29)
    moment = moment_of(world, tmp_path)
    vectors = {Modality.TEXT: world.unrelated(1)[0], Modality.IMAGE: world.things[0]}
    other = Modality.IMAGE if kind == Modality.TEXT else Modality.TEXT
    alone, both = (
        moment.aim(asking(*parts), searched={Modality.IMAGE: 400})
        for parts in (
            [(1.0, kind, vectors[kind])],
            [(1.0, kind, vectors[kind]), (1e-9, other, vectors[other])],
        )
    )
    assert both.vector == pytest.approx(alone.vector, abs=1e-6)
    for ours, theirs in zip(both.chance.values(), alone.chance.values(), strict=True):
        assert ours.levels == pytest.approx(theirs.levels, abs=1e-6)
        assert ours.near == pytest.approx(theirs.near, abs=1e-6)


def test_a_word_and_a_picture_together_are_no_less_honest_than_one(tmp_path):
    world = World(30, things=800, clumps=10**5)  # no two pictures are about the same
    shelf, asked = world.things[:400], world.things[400:]
    moment = moment_of(world, tmp_path, things=shelf)
    found = []
    for word, picture in zip(world.unrelated(len(asked)), asked, strict=True):
        query = asking((1, Modality.TEXT, word), (1, Modality.IMAGE, picture))
        aim = moment.aim(query, searched={Modality.IMAGE: 400})
        chance = aim.chance[Modality.IMAGE]
        found.append(chance.expect(chance.surprisal(float(aim.levels(Modality.IMAGE, shelf).max()))))
    assert within(np.array(found), 0.1, 3)
    assert within(np.array(found), 0.5, 2)


def test_what_an_older_release_fitted_is_fitted_anew(tmp_path):
    world = World(31)
    moment = moment_of(world, tmp_path)
    with np.load(tmp_path / FILE) as file:
        kept = {name: file[name] for name in file.files if not name.startswith("whitener")}
    stamp = str(kept["stamp"])
    assert stamp.startswith(f"{FORM}|")
    np.savez(tmp_path / FILE, **(kept | {"stamp": f"{int(FORM) - 1}{stamp.removeprefix(FORM)}"}))
    texts, calls = counted(world.unrelated(512))
    anew = CalibrationStore(tmp_path, dim=DIM, texts=texts).at(
        Ledger(1), {Modality.IMAGE: Shelf(world.things)}, ALL, PLAIN
    )
    assert calls
    assert anew.stamp == moment.stamp
    assert anew.fitted[Modality.TEXT].whitener is not None
