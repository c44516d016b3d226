"""Classifiers that are kept in files."""

from __future__ import annotations

import json
import re
import struct

import numpy as np
import pytest
from hypothesis import given, strategies as st
from trial_space import TrialEncoder
from zeroshot.example_classifiers import COLOURS, TOY, seen, taught

from bindsearch.errors import BadQuery, SpaceMismatch
from bindsearch.spaces.space import Space
from bindsearch.zeroshot import NONE, Classifier
from bindsearch.zeroshot.classifier import CROWDING
from bindsearch.zeroshot.saving import pack, space_of, told_in, unpack
from bindsearch.zeroshot.tuning import tuned_on

letters = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), min_size=1, max_size=12)
labels = letters.map(str.strip).filter(lambda label: label and label != NONE and not label.startswith("set:"))


@given(
    st.lists(labels, min_size=1, max_size=6, unique=True),
    st.lists(letters.map(lambda words: words + " {}"), min_size=1, max_size=3) | st.none(),
    st.booleans(),
    st.integers(0, 3),
)
def test_what_is_saved_answers_as_before(names, templates, none, examples):
    classifier = Classifier(TOY, names, templates=templates, none=["red", "xylophone"] if none else False)
    if examples:
        called = dict(zip(COLOURS, classifier.labels, strict=False))
        classifier = classifier.with_examples(taught(list(called), examples, called=called))
    again = unpack(pack(classifier), TOY, name="it")
    assert again.answers == classifier.answers
    many = [seen("red"), seen("blue", 4)]
    np.testing.assert_array_equal(again.probabilities(many), classifier.probabilities(many))
    assert again.predict(many[0]) == classifier.predict(many[0])
    assert pack(again) == pack(classifier)


def test_a_tuned_classifier_is_kept_whole(tmp_path):
    tuned, _ = tuned_on(Classifier(TOY, COLOURS, templates=["un{}ish"], none=True), taught(list(COLOURS), 4))
    tuned = tuned.with_examples(taught(list(COLOURS), 2))
    tuned.save(tmp_path / "kept")
    again = Classifier.load(tmp_path / "kept", TOY)
    assert again.temperature == tuned.temperature
    assert again.predict(seen("green", 8)) == tuned.predict(seen("green", 8))
    assert [file.name for file in tmp_path.iterdir()] == ["kept"]
    assert space_of(tmp_path / "kept") == "toy"


def test_what_was_saved_before_there_was_crowding_answers_as_it_did():
    size = struct.unpack_from("<Q", raw := pack(Classifier(TOY, ["red", "green"], none=["blue"])))[0]
    header = json.loads(raw[8 : 8 + size])
    told = json.loads(header["__metadata__"]["told"])
    assert told.pop("crowding") == CROWDING
    header["__metadata__"]["told"] = json.dumps(told)
    older = json.dumps(header).encode()
    again = unpack(struct.pack("<Q", len(older)) + older + raw[8 + size :], TOY, name="it")
    logits = again.logits([seen("blue")])[0]
    weights = np.exp(logits - logits.max()) * [1, 1, 2]
    assert again.probabilities([seen("blue")])[0] == pytest.approx(weights / weights.sum())


def test_another_space_refuses_it_and_says_so(tmp_path):
    Classifier(TOY, COLOURS).save(tmp_path / "kept")
    with pytest.raises(SpaceMismatch) as caught:
        Classifier.load(tmp_path / "kept", Space(TrialEncoder()))
    for word in ("kept", "toy", TOY.spec.fingerprint[:12], "trial", "777777777777"):
        assert word in str(caught.value)


@pytest.mark.parametrize("raw", [b"", b"x", b"\xff" * 20, struct.pack("<Q", 2) + b"{}", struct.pack("<Q", 3) + b"[1]"])
def test_what_is_no_classifier_is_refused(raw):
    with pytest.raises(BadQuery, match="it is no classifier"):
        unpack(raw, TOY, name="it")


WHOLE = pack(Classifier(TOY, ["red", "green"]).with_examples(taught(["red", "green"], 1)))


@given(st.integers(0, len(WHOLE) - 1))
def test_a_cut_file_is_refused(length):
    with pytest.raises(BadQuery):
        unpack(WHOLE[:length], TOY, name="it")


def changed(**changes: object) -> bytes:
    """The same file with something else in its header."""
    size = struct.unpack_from("<Q", WHOLE)[0]
    header = json.loads(WHOLE[8 : 8 + size])
    told = json.loads(header["__metadata__"]["told"]) | changes
    header["__metadata__"]["told"] = json.dumps(told)
    raw = json.dumps(header).encode()
    raw += b" " * (-len(raw) % 8)
    return struct.pack("<Q", len(raw)) + raw + WHOLE[8 + size :]


def test_the_header_can_be_read_alone():
    assert told_in(changed(), name="it")["labels"] == ["red", "green"]
    assert unpack(changed(), TOY, name="it").labels == ("red", "green")


@pytest.mark.parametrize(
    "changes",
    [
        {"format": "bindsearch classifier 2"},
        {"labels": []},
        {"labels": ["red"]},
        {"labels": ["red", "green", "blue"]},
        {"labels": [" red", "green"]},
        {"labels": 3},
        {"temperature": 0},
        {"temperature": "nan"},
        {"templates": {"image": ["{}"]}},
        {"templates": {"smell": ["{}"]}},
        {"weights": {"image": [1.0]}},
        {"background": ["blue"]},
        {"examples": {}},
        {"examples": {"image": {"share": 0.5, "width": -1, "judged": 0}}},
        {"fingerprint": 5},
    ],
)
def test_a_header_that_contradicts_the_arrays_is_refused(changes):
    with pytest.raises(BadQuery, match="it is no classifier"):
        unpack(changed(**changes), TOY, name="it")


def test_what_cannot_be_written_is_called_as_it_was_asked_for(tmp_path):
    (tmp_path / "kept").mkdir()
    for place in (tmp_path / "kept", tmp_path / "no" / "kept"):
        with pytest.raises(OSError, match=re.escape(repr(str(place)))):
            Classifier(TOY, COLOURS).save(place)
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]
