"""Conditions on tags, as they are typed."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from bindsearch.errors import BadQuery
from bindsearch.query.tag_conditions import TagCondition, no_such_tag, tag_condition, without_tags

labels = st.text(st.characters(exclude_characters="<>", exclude_categories=["Cs"]), min_size=1, max_size=20).map(
    str.strip
)
conditions = st.builds(
    TagCondition, labels.filter(bool), st.sampled_from([">", ">=", "<", "<="]), st.floats(0, 1).map(abs)
)


@given(conditions)
def test_condition_reads_back_from_its_word(condition):
    assert tag_condition(condition.word) == condition
    if not condition.label.startswith("tag:"):
        assert tag_condition(condition.word.removeprefix("tag:")) == condition


@given(conditions, st.floats(0, 1))
def test_condition_holds_by_its_sign(condition, value):
    assert condition.holds(value) == eval(f"{value!r} {condition.sign} {condition.value!r}")


@given(st.text(max_size=30))
def test_arbitrary_conditions_parse_or_carets_mark_them(words):
    word = f"tag:{words}"
    try:
        read = tag_condition(word)
    except BadQuery as error:
        message, shown, carets = str(error).split("\n")
        assert message
        assert carets.strip("^ ") == ""
        assert carets.strip()
        assert "tag:" in shown
    else:
        assert 0 <= read.value <= 1
        assert read.label in words


@pytest.mark.parametrize(
    ("word", "label", "sign", "value"),
    [
        ("dog>0.8", "dog", ">", 0.8),
        ("tag:dog", "dog", ">=", 0.5),
        ("tag:sea waves <= 20%", "sea waves", "<=", 0.2),
        ("tag:tag:dog<1", "tag:dog", "<", 1.0),
        ("Dachs=Hund>=.25", "Dachs=Hund", ">=", 0.25),
    ],
)
def test_forms_of_conditions(word, label, sign, value):
    assert tag_condition(word) == TagCondition(label, sign, pytest.approx(value))


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("tag:dog>x", "x follows >"),
        ("tag:dog>", "nothing follows >"),
        ("tag:dog>1.5", "from 0 to 1"),
        ("tag:dog>-0.1", "from 0 to 1"),
        ("tag:dog>nan", "from 0 to 1"),
        ("tag:>0.5", "one label"),
        ("tag:", "one label"),
        ("tag:dog>0.5<0.7", "one label"),
    ],
)
def test_invalid_conditions_are_refused(word, message):
    with pytest.raises(BadQuery, match=message):
        tag_condition(word)


def test_conditions_are_split_from_the_query():
    words, found = without_tags(["rain", "tag:dog>0.5", "-", "a.wav", "tag:cat"])
    assert words == ["rain", "-", "a.wav"]
    assert found == [TagCondition("dog", ">", 0.5), TagCondition("cat")]


def test_carets_mark_the_wrong_condition():
    with pytest.raises(BadQuery) as caught:
        without_tags(["rain", "+", "tag:dog>x", "night"])
    _, words, carets = str(caught.value).split("\n")
    assert words.strip() == "rain + tag:dog>x night"
    assert words[carets.index("^") : carets.rindex("^") + 1] == "tag:dog>x"


def test_similar_tag_is_suggested():
    message = str(no_such_tag(TagCondition("dgo", ">", 0.8), ["cat", "dog"]))
    assert "did you mean tag:dog?" in message
    assert "^^^" in message
    assert "--labels" in str(no_such_tag(TagCondition("dog"), []))
