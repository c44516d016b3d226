"""Classifiers in files."""

from __future__ import annotations

import json
import re
import struct

import numpy as np
import pytest
from hypothesis import given, strategies as st
from plugin_space import PluginEncoder
from zeroshot.example_classifiers import COLOURS, TOY, examples_of, noisy

from bindsearch.errors import BadQuery, SpaceMismatch
from bindsearch.spaces.space import Space
from bindsearch.zeroshot import NONE, Classifier
from bindsearch.zeroshot.classifier import PRIOR_EXPONENT
from bindsearch.zeroshot.saving import (
    deserialise,
    load_classifier,
    read_header,
    save_classifier,
    serialise,
    space_of,
)
from bindsearch.zeroshot.tuning import tune_on_all

letters = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), min_size=1, max_size=12)
labels = letters.map(str.strip).filter(lambda label: label and label != NONE and not label.startswith("set:"))


@given(
    st.lists(labels, min_size=1, max_size=6, unique=True),
    st.lists(letters.map(lambda words: words + " {}"), min_size=1, max_size=3) | st.none(),
    st.booleans(),
    st.integers(0, 3),
)
def test_loaded_classifier_gives_equal_answers(names, templates, none, examples):
    classifier = Classifier(TOY, names, templates=templates, none=["red", "xylophone"] if none else False)
    if examples:
        called = dict(zip(COLOURS, classifier.labels, strict=False))
        classifier = classifier.with_examples(examples_of(list(called), examples, names=called))
    again = deserialise(serialise(classifier), TOY, name="it")
    assert again.answers == classifier.answers
    many = [noisy("red"), noisy("blue", 4)]
    np.testing.assert_array_equal(again.probabilities(many), classifier.probabilities(many))
    assert again.predict(many[0]) == classifier.predict(many[0])
    assert serialise(again) == serialise(classifier)


def test_tuned_classifier_with_examples_round_trips(tmp_path):
    tuned, _ = tune_on_all(Classifier(TOY, COLOURS, templates=["un{}ish"], none=True), examples_of(list(COLOURS), 4))
    tuned = tuned.with_examples(examples_of(list(COLOURS), 2))
    save_classifier(tuned, tmp_path / "kept")
    again = load_classifier(tmp_path / "kept", TOY)
    assert again.temperature == tuned.temperature
    assert again.predict(noisy("green", 8)) == tuned.predict(noisy("green", 8))
    assert [file.name for file in tmp_path.iterdir()] == ["kept"]
    assert space_of(tmp_path / "kept") == "toy"


def test_file_without_prior_exponent_loads_with_one():
    size = struct.unpack_from("<Q", raw := serialise(Classifier(TOY, ["red", "green"], none=["blue"])))[0]
    header = json.loads(raw[8 : 8 + size])
    description = json.loads(header["__metadata__"]["told"])
    assert description.pop("crowding") == PRIOR_EXPONENT
    header["__metadata__"]["told"] = json.dumps(description)
    older = json.dumps(header).encode()
    again = deserialise(struct.pack("<Q", len(older)) + older + raw[8 + size :], TOY, name="it")
    logits = again.logits([noisy("blue")])[0]
    weights = np.exp(logits - logits.max()) * [1, 1, 2]
    assert again.probabilities([noisy("blue")])[0] == pytest.approx(weights / weights.sum())


def test_another_space_is_refused_by_name(tmp_path):
    save_classifier(Classifier(TOY, COLOURS), tmp_path / "kept")
    with pytest.raises(SpaceMismatch) as caught:
        load_classifier(tmp_path / "kept", Space(PluginEncoder()))
    for word in ("kept", "toy", TOY.spec.fingerprint[:12], "plugin", "777777777777"):
        assert word in str(caught.value)


@pytest.mark.parametrize("raw", [b"", b"x", b"\xff" * 20, struct.pack("<Q", 2) + b"{}", struct.pack("<Q", 3) + b"[1]"])
def test_what_is_no_classifier_is_refused(raw):
    with pytest.raises(BadQuery, match="it is not a classifier saved by bindsearch"):
        deserialise(raw, TOY, name="it")


WHOLE = serialise(Classifier(TOY, ["red", "green"]).with_examples(examples_of(["red", "green"], 1)))


@given(st.integers(0, len(WHOLE) - 1))
def test_a_cut_file_is_refused(length):
    with pytest.raises(BadQuery):
        deserialise(WHOLE[:length], TOY, name="it")


def changed(**changes: object) -> bytes:
    """The same file with something else in its header."""
    size = struct.unpack_from("<Q", WHOLE)[0]
    header = json.loads(WHOLE[8 : 8 + size])
    description = json.loads(header["__metadata__"]["told"]) | changes
    header["__metadata__"]["told"] = json.dumps(description)
    raw = json.dumps(header).encode()
    raw += b" " * (-len(raw) % 8)
    return struct.pack("<Q", len(raw)) + raw + WHOLE[8 + size :]


def test_header_is_readable_without_arrays():
    assert read_header(changed(), name="it")["labels"] == ["red", "green"]
    assert deserialise(changed(), TOY, name="it").labels == ("red", "green")


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
def test_header_that_contradicts_arrays_is_refused(changes):
    with pytest.raises(BadQuery, match="it is not a classifier saved by bindsearch"):
        deserialise(changed(**changes), TOY, name="it")


def test_write_error_names_the_requested_path(tmp_path):
    (tmp_path / "kept").mkdir()
    for place in (tmp_path / "kept", tmp_path / "no" / "kept"):
        with pytest.raises(OSError, match=re.escape(repr(str(place)))):
            save_classifier(Classifier(TOY, COLOURS), place)
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]
