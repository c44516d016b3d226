"""The query language: what words mean, which errors are raised, and the algebra of query vectors."""

from __future__ import annotations

import os
import shlex
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, strategies as st

from bindsearch.errors import BadQuery, EmptyQuery, QueryError
from bindsearch.query.encode import LESS_LIKE_WEIGHT, MORE_LIKE_WEIGHT, combine, encode_query
from bindsearch.query.language import Operand, Query, concept, file, parse, parse_one, text

NAMES = [
    "gulls.wav",
    "crowd.jpg",
    "clip.mp4",
    "two words.wav",
    "möwe 海.flac",
    "take#2.wav",
    "clip.mp4#t=1,2",
    "-dash.wav",
    "+.wav",
    "~root",
    "Lapwing.WAV",
    "2:weighted.wav",
    "it's.wav",
    "waves",
    "concept:file",
]


@pytest.fixture(scope="module", autouse=True)
def folder(tmp_path_factory):
    """A current folder with the files of `NAMES`."""
    folder = tmp_path_factory.mktemp("media")
    for name in NAMES:
        (folder / name).touch()
    (folder / "sub dir").mkdir()
    (folder / "sub dir" / "deep.wav").touch()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        yield folder


def words_of(value: str, weight: float = 1.0) -> Operand:
    return Operand("text", value, weight)


def file_of(value: str, weight: float = 1.0, start: float | None = None, end: float | None = None) -> Operand:
    return Operand("file", value, weight, start, end)


def concept_of(name: str, weight: float = 1.0) -> Operand:
    return Operand("concept", name, weight)


# What words mean --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "operands"),
    [
        (["sea"], [words_of("sea")]),
        (
            ["sea", "+", "gulls.wav", "-", "crowd.jpg"],
            [words_of("sea"), file_of("gulls.wav"), file_of("crowd.jpg", -1)],
        ),
        (["-", "crowd.jpg"], [file_of("crowd.jpg", -1)]),
        (["+", "sea", "-", "2:sand"], [words_of("sea"), words_of("sand", -2)]),
        (["a", "red", "barn"], [words_of("a red barn")]),
        (["-", "a", "red", "barn", "+", "a dark", "sky"], [words_of("a red barn", -1), words_of("a dark sky")]),
        (["waves"], [file_of("waves")]),
        (["text:waves"], [words_of("waves")]),
        (["concept:waves", "-", "2:concept:a_b-c.1"], [concept_of("waves"), concept_of("a_b-c.1", -2)]),
        (["text:concept:x", "+", "sea"], [words_of("concept:x"), words_of("sea")]),
        (["file:concept:file"], [file_of("concept:file")]),
        (["text:+", "+", "text:file:x"], [words_of("+"), words_of("file:x")]),
    ],
)
def test_words_become_a_sum_of_operands(words, operands):
    assert parse(words) == Query(tuple(operands))


@pytest.mark.parametrize(
    ("word", "operand"),
    [
        ("2:golden retriever", words_of("golden retriever", 2)),
        ("0.5:gulls.wav", file_of("gulls.wav", 0.5)),
        (".25:file:gulls.wav#t=3", file_of("gulls.wav", 0.25, 3)),
        ("-3:sea", words_of("sea", -3)),
        ("2:text:10:30 train", words_of("10:30 train", 2)),
        ("2:text: kept as it is ", words_of(" kept as it is ", 2)),
        ("10:30 train", words_of("10:30 train")),
        ("16:9", words_of("16:9")),
        ("C:\\x", words_of("C:\\x")),
        ("c:\\photos\\dog", words_of("c:\\photos\\dog")),
        ("nan:bread", words_of("nan:bread")),
        ("1e3:sea", words_of("1e3:sea")),
        ("chapter 2: the sea", words_of("chapter 2: the sea")),
        ("rain w/ thunder", words_of("rain w/ thunder")),
        ("song #t=5", words_of("song #t=5")),
        ("node.js", words_of("node.js")),
        ("~", words_of("~")),
        ("~\0", words_of("~\0")),
        ("2:two\nlines", words_of("two\nlines", 2)),
        ("  sea\n", words_of("sea")),
    ],
)
def test_weights_and_prefixes(word, operand):
    assert parse([word]) == parse_one(word) == Query((operand,))


@pytest.mark.parametrize("word", ["+", "-", "- crowd", "a + b", "several plain words"])
def test_one_operand_is_never_split(word):
    assert parse_one(word) == text(word)


def test_file_never_hides_a_concept():
    assert parse(["concept:file"]) == concept("file") == Query((concept_of("file"),))
    assert parse(["file:concept:file"]) == file("concept:file")


@pytest.mark.parametrize("name", ["", " ", "a b", "-a", "a/b", "x" * 65, "a\n", "a#t=1", "\udcff"])
def test_invalid_concept_names_are_refused(name):
    with pytest.raises(BadQuery, match="is not a concept name: use letters"):
        concept(name)


@pytest.mark.parametrize("name", [name for name in NAMES if not name.startswith("concept:")])
def test_every_file_name_is_that_file(name):
    assert parse([name]) == parse([f"file:{name}"]) == parse_one(name) == file(name) == Query((file_of(name),))
    assert parse([f"2:file:{name}#t=1.5,"[:-1]]) == Query((file_of(name, 2, 1.5),))


def test_file_names_need_not_be_utf8(folder):
    name = os.fsdecode(b"gr\xfcn.wav")
    try:
        (folder / name).touch()
    except OSError:
        pytest.skip("this file system takes names in UTF-8 only")
    query = parse([name, "-", f"2:{name}#t=1"])
    assert query == Query((file_of(name), file_of(name, -2, 1)))
    assert parse(shlex.split(str(query))) == query


def test_files_are_named_by_any_kind_of_path(folder, home):
    (home / "own.wav").touch()
    assert file(folder / "gulls.wav") == parse_one(str(folder / "gulls.wav"))
    assert parse_one("sub dir/deep.wav") == file(Path("sub dir") / "deep.wav")
    assert parse_one("~/own.wav#t=1") == Query((file_of(str(home / "own.wav"), start=1),))


@pytest.mark.parametrize(
    ("fragment", "start", "end"),
    [
        ("12,14", 12, 14),
        ("12", 12, None),
        (",14", None, 14),
        ("0,.5", 0, 0.5),
        ("npt:12.25,14", 12.25, 14),
        ("1:02:03.5,1:02:10", 3723.5, 3730),
        ("59:59", 3599, None),
        ("0:5,100:00:00", 5, 360_000),
    ],
)
def test_fragment_is_a_part_of_a_file(fragment, start, end):
    assert parse_one(f"gulls.wav#t={fragment}") == file("gulls.wav", start=start, end=end)
    assert parse_one(f"take#2.wav#t={fragment}") == Query((file_of("take#2.wav", 1, start, end),))


def test_file_name_wins_over_a_fragment():
    assert parse_one("clip.mp4#t=1,2") == Query((file_of("clip.mp4#t=1,2"),))
    assert parse_one("clip.mp4#t=1,3") == Query((file_of("clip.mp4", 1, 1, 3),))


# Errors ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "message", "marked"),
    [
        (["2:golden", "retriever", "+", "sea"], 'did you mean "2:golden retriever"?', "retriever"),
        (["text:a", "red", "barn"], 'did you mean "text:a red barn"?', "red"),
        (["gulls.wav", "sand"], "gulls.wav and sand have no sign between them: put + or - there", "sand"),
        (["sand", "gulls.wav"], "sand and gulls.wav have no sign between them: put + or - there", "gulls.wav"),
        (["sea", "+"], "nothing follows +: write words or a file after it", "+"),
        (["sea", "-", "+", "sand"], "+ follows -: drop one of them", "+"),
        (["-"], "nothing follows -: write words or a file", "-"),
        (
            ["gull.wav"],
            "no such file: gull.wav (did you mean gulls.wav?); to search for it as text, write",
            "gull.wav",
        ),
        (["GULLS.WAV.mp3"], "no such file: GULLS.WAV.mp3 (did you mean gulls.wav", "GULLS.WAV.mp3"),
        (["sub dir/deap.wav"], '(did you mean "sub dir/deep.wav"?)', '"sub dir/deap.wav"'),
        (["sub dir/no suffix"], 'write "text:sub dir/no suffix"', '"sub dir/no suffix"'),
        (["lapwig.wav"], "(did you mean Lapwing.WAV?)", "lapwig.wav"),
        (["~/no one"], 'no such file: "~/no one"', '"~/no one"'),
        (["/no one"], 'no such file: "/no one"', '"/no one"'),
        (["file:sand"], "no such file: sand; to search for it as text, write text:sand", "file:sand"),
        (["2:./gone"], "no such file: ./gone; to search for it as text, write text:./gone", "2:./gone"),
        (["gul.wav#t=1"], "no such file: gul.wav#t=1 (did you mean gulls.wav", "gul.wav#t=1"),
        (["gone.mp4#xywh=1"], "no such file: gone.mp4#xywh=1", "gone.mp4#xywh=1"),
        (["and/or"], "no such file: and/or; to search for it as text, write text:and/or", "and/or"),
        (["./sub dir/"], '"./sub dir/" is a folder: name one file in it', '"./sub dir/"'),
        (["file:sub dir"], '"sub dir" is a folder: name one file in it', '"file:sub dir"'),
        (["concept:my harbour"], '"my harbour" is not a concept name: use letters', '"concept:my harbour"'),
        (["sea", "+", "2:concept:"], '"" is not a concept name', "2:concept:"),
        (["concept:harbour#t=1"], "harbour#t=1 is not a concept name", "concept:harbour#t=1"),
        (["concept:a", "red", "barn"], "concept:a and red have no sign between them", "red"),
        (["0:sea"], "sea cannot have the weight 0.0: use a finite number other than 0", "0:sea"),
        (
            ["gulls.wav#t=5,2"],
            "gulls.wav has no part from 5.0 s to 2.0 s: name a file, a start and a later end",
            "gulls.wav#t=5,2",
        ),
        (["gulls.wav#t=,0"], "gulls.wav has no part from 0.0 s to 0.0 s", "gulls.wav#t=,0"),
        (["gulls.wav#t=x"], "gulls.wav#t=x has no valid times after #t=: write them as in #t=12,14.5", "gulls.wav#t=x"),
        (["海", "gulls.wav"], "海 and gulls.wav have no sign between them", "gulls.wav"),
        (["a\nb.wav"], "no such file: a\\nb.wav", "a\\nb.wav"),
        (["\udcff.wav"], "no such file: \\udcff.wav", "\\udcff.wav"),
    ],
)
def test_carets_mark_the_wrong_word(words, message, marked):
    with pytest.raises(BadQuery) as caught:
        parse(words)
    first, line, carets = str(caught.value).split("\n")
    assert message in first
    line = line.replace("海", "##")  # it is two columns wide
    assert line[carets.index("^") :].startswith(marked)
    assert carets.strip() == "^" * len(marked)


@pytest.mark.parametrize(
    "times", ["", ",", "1,", "-1", "1:60", "60:00:00x", "1:2:3:4", "99:01", "1e3", "1,2,3", "smpte:1", "٣"]
)
def test_invalid_times_are_refused(times):
    with pytest.raises(BadQuery, match="has no valid times after #t="):
        parse_one(f"gulls.wav#t={times}")


@pytest.mark.parametrize("words", [[], [""], [" ", "\t"], ["text:"], ["2:"], ["2:text: "], ["sea", "", "+", "sand"]])
def test_blank_queries_are_refused(words):
    with pytest.raises(EmptyQuery, match=r"write (words|some), or name a file"):
        parse(words)


def test_pipes_are_refused(folder):
    if sys.platform == "win32":
        pytest.skip("no named pipes among the files")
    os.mkfifo(folder / "pipe.wav")
    with pytest.raises(BadQuery, match=r"pipe.wav is not a regular file: save it as one"):
        parse_one("pipe.wav")


@pytest.mark.parametrize("weight", [0.0, float("nan"), float("inf"), -float("inf")])
def test_zero_and_infinite_weights_are_refused(weight):
    with pytest.raises(BadQuery, match="sea cannot have the weight"):
        text("sea") * weight
    with pytest.raises(BadQuery, match="use a finite number"):
        Operand("text", "sea", weight)


def test_weights_beyond_floats_are_refused():
    with pytest.raises(BadQuery, match="sea cannot have the weight inf"):
        parse_one("9" * 400 + ":sea")


@pytest.mark.parametrize(("start", "end"), [(-1, 2), (2, 2), (3, 2), (0, float("inf")), (float("nan"), None)])
def test_empty_parts_are_refused(start, end):
    with pytest.raises(BadQuery, match=r"gulls.wav has no part from"):
        file("gulls.wav", start=start, end=end)


def test_texts_have_no_parts():
    with pytest.raises(BadQuery, match="sea has no part from 1 s to 2 s: name a file"):
        Operand("text", "sea", start=1, end=2)


def test_files_must_exist():
    with pytest.raises(BadQuery, match=r"no such file: gull.wav \(did you mean gulls.wav\?\)"):
        file("gull.wav")
    with pytest.raises(BadQuery, match=r"sub dir.* is a folder"):
        file(Path("sub dir"))


ODD = ["+", "-", "gulls.wav", "~", "~/x", "2:", "0:", "file:", "text:", "concept:", "#t=", "gulls.wav#t=1:2,", "/"]
typed = st.text(st.characters(codec=None), max_size=12) | st.sampled_from([*ODD, "a.jpg", "\0.wav"])


@given(st.lists(st.lists(typed, max_size=3).map("".join) | typed, max_size=5))
def test_arbitrary_words_parse_or_raise_query_error(words):
    messages: list[str] = []
    for read, given_words in [(parse, words), *((parse_one, word) for word in words)]:
        try:
            query = read(given_words)
        except QueryError as error:
            messages.append(str(error))
        else:
            assert parse(query.words) == query
    assert all(line.isprintable() for message in messages for line in message.split("\n"))


# Round trips --------------------------------------------------------------------------------------------------------

numbers = st.floats(min_value=1e-9, max_value=1e12)
weights = numbers | numbers.map(lambda number: -number) | st.sampled_from([1.0, -1.0, 2.0, 5e-324, -1.7e308])
spans = st.one_of(
    st.tuples(st.none(), st.none()),
    st.tuples(numbers | st.just(0.0) | st.just(-0.0), st.none()),
    st.tuples(st.none(), numbers),
    st.tuples(numbers, numbers).map(sorted).map(tuple).filter(lambda span: span[0] < span[1]),
)
texts = st.text(st.characters(codec=None), min_size=1).filter(str.strip)
operands = st.one_of(
    st.builds(words_of, texts | st.sampled_from(NAMES), weights),
    st.builds(
        lambda name, weight, span: file_of(name, weight, *span),
        st.sampled_from([name for name in NAMES if name != "clip.mp4"]),  # clip.mp4#t=1,2 would be the other file
        weights,
        spans,
    ),
    st.builds(concept_of, st.from_regex(r"\w[\w.-]{0,63}", fullmatch=True), weights),
)
queries = st.lists(operands, min_size=1, max_size=5).map(lambda parts: Query(tuple(parts)))


@given(queries)
def test_query_reads_back_from_its_words(query):
    assert parse(shlex.split(str(query))) == query
    assert parse(query.words) == query


@given(st.lists(operands, min_size=1, max_size=4), st.integers(0, 3))
def test_carets_mark_an_unknown_concept(parts, place):
    place = min(place, len(parts))
    query = Query((*parts[:place], concept_of("nowhere"), *parts[place:]))

    def embed(operand: Operand) -> np.ndarray:
        if operand.value == "nowhere":
            raise BadQuery("no concept is called nowhere")
        return np.ones(2, np.float32)

    with pytest.raises(BadQuery) as caught:
        encode_query(query, embed)
    _, line, carets = str(caught.value).split("\n")
    assert "concept:nowhere" in line
    if line.isascii():
        assert line[carets.index("^") :].startswith("concept:nowhere")
    assert carets.strip() == "^" * len("concept:nowhere")


def test_query_is_written_as_typed():
    query = text("sea") * 2 - file("two words.wav", start=1.5, end=3) + 0.25 * file("gulls.wav", end=14)
    assert str(query) == "2:text:sea - 'file:two words.wav#t=1.5,3' + '0.25:file:gulls.wav#t=,14'"
    assert str(-query).startswith("- 2:text:sea + ")
    assert str(file("gulls.wav", start=3)) == "'file:gulls.wav#t=3'"


# The algebra ------------------------------------------------------------------------------------------------------

PLACES = {name: place for place, name in enumerate(["sea", "sand", "sky", "gulls.wav", "crowd.jpg"])}


def vector_of(name: str) -> np.ndarray:
    """Return a vector, not of unit length, that is always the same for the same name."""
    return np.random.default_rng(PLACES[name]).normal(size=8).astype(np.float32)


def encoded(query: Query):
    return encode_query(query, lambda operand: vector_of(operand.value))


small = st.floats(min_value=0.1, max_value=10) | st.floats(min_value=-10, max_value=-0.1)
named = st.builds(
    lambda name, weight: (file(name) if "." in name else text(name)) * weight, st.sampled_from(sorted(PLACES)), small
)
sums = st.lists(named, min_size=1, max_size=3).map(lambda parts: sum(parts[1:], start=parts[0]))


def weighted_sum(query: Query) -> np.ndarray:
    """Return the sum whose direction is the query's vector."""
    units = [
        vector_of(part.value).astype(np.float64) / np.linalg.norm(vector_of(part.value)) for part in query.operands
    ]
    return sum(part.weight * unit for part, unit in zip(query.operands, units, strict=True))


def assert_same_direction(one: Query, other: Query) -> None:
    assume(np.linalg.norm(weighted_sum(one)) > 0.01)
    np.testing.assert_allclose(encoded(one).vector, encoded(other).vector, atol=1e-4)


@given(sums)
def test_vector_is_the_direction_of_the_sum(query):
    assume(np.linalg.norm(weighted_sum(query)) > 0.01)
    vector = encoded(query).vector
    assert vector.dtype == np.float32
    np.testing.assert_allclose(vector, weighted_sum(query) / np.linalg.norm(weighted_sum(query)), atol=1e-4)


@given(sums, sums)
def test_addition_is_commutative(a, b):
    assert_same_direction(a + b, b + a)


@given(sums, sums)
def test_subtraction_undoes_addition(a, b):
    assert_same_direction(a, (a + b) - b)


@given(sums, sums, sums)
def test_addition_is_associative(a, b, c):
    assert (a + b) + c == a + (b + c)
    assert a - b == a + (-b)
    assert -1 * -a == a


@given(sums, sums, st.floats(min_value=0.01, max_value=100))
def test_positive_factor_distributes_and_keeps_direction(a, b, factor):
    assert factor * (a + b) == a * factor + b * factor
    assert_same_direction(a + b, factor * (a + b))


@given(sums)
def test_negative_factor_reverses_the_vector(a):
    assume(np.linalg.norm(weighted_sum(a)) > 0.01)
    np.testing.assert_allclose(encoded(-2 * a).vector, -encoded(a).vector, atol=1e-6)


@pytest.mark.parametrize("two", [2, 2.0, Fraction(2), np.float32(2), np.float64(2), np.int64(2)])
def test_any_real_number_is_a_factor(two):
    assert two * text("sea") == text("sea") * two == Query((words_of("sea", 2.0),))
    assert str(two * text("sea")) == "2:text:sea"


@pytest.mark.parametrize("other", ["sand", None, [2], 1j, text("sand")])
def test_other_factors_are_refused(other):
    with pytest.raises(TypeError):
        text("sea") * other


@pytest.mark.parametrize("other", ["sand", None, 1])
def test_only_queries_can_be_added(other):
    with pytest.raises(TypeError):
        text("sea") + other
    with pytest.raises(TypeError):
        text("sea") - other


@given(sums, st.lists(st.floats(-1, 1, width=32), min_size=8, max_size=8))
def test_contributions_add_up_to_the_score(query, direction):
    assume(np.linalg.norm(direction) > 0.1 and np.linalg.norm(weighted_sum(query)) > 0.01)
    hit = (np.array(direction) / np.linalg.norm(direction)).astype(np.float32)
    result = encoded(query)
    parts = result.contributions(hit)
    assert sum(parts) == pytest.approx(float(result.vector @ hit), abs=1e-6)
    expected = [weight * float(unit @ hit) / np.linalg.norm(weighted_sum(query)) for weight, unit in result.terms]
    assert parts == pytest.approx(expected, rel=1e-4, abs=1e-5)


@given(sums, st.lists(st.floats(-1, 1, width=32), min_size=8, max_size=8))
def test_feedback_is_rocchio_and_contributions_add_up(query, direction):
    assume(np.linalg.norm(direction) > 0.1 and np.linalg.norm(weighted_sum(query)) > 0.01)
    hit = (np.array(direction) / np.linalg.norm(direction)).astype(np.float32)
    liked = {f"result:{at}": row for at, row in enumerate(np.eye(8, dtype=np.float32)[:2])}
    disliked = {"result:3": np.eye(8, dtype=np.float32)[3]}
    before = encoded(query)
    moved = (
        before.vector
        + MORE_LIKE_WEIGHT * np.mean(list(liked.values()), axis=0)
        - LESS_LIKE_WEIGHT * disliked["result:3"]
    )
    assume(np.linalg.norm(moved) > 0.01)
    after = before.with_feedback(liked, disliked)
    np.testing.assert_allclose(after.vector, moved / np.linalg.norm(moved), atol=1e-4)
    assert sum(after.contributions(hit)) == pytest.approx(float(after.vector @ hit), abs=1e-6)
    assert after.names == (*(part.word for part in query.operands), "result:0", "result:1", "result:3")
    assert encoded(query).with_feedback({}, {}).vector == pytest.approx(before.vector, abs=1e-6)


def test_three_operands_computed_by_hand():
    axes = dict(zip(["sea", "sand", "gulls.wav"], np.eye(3, dtype=np.float32) * [[5], [1], [0.1]], strict=True))
    query = 2 * text("sea") - text("sand") + 2 * file("gulls.wav")
    result = encode_query(query, lambda operand: axes[operand.value])
    np.testing.assert_allclose(result.vector, [2 / 3, -1 / 3, 2 / 3], atol=1e-7)
    assert [weight for weight, _ in result.terms] == [2, -1, 2]
    np.testing.assert_array_equal([unit for _, unit in result.terms], np.eye(3))
    assert result.contributions(np.array([0.6, 0.8, 0], np.float32)) == pytest.approx([0.4, -0.8 / 3, 0], abs=1e-6)


def test_parts_of_files_reach_the_encoder():
    embedded: list[Operand] = []

    def embed(operand: Operand) -> np.ndarray:
        embedded.append(operand)
        return np.ones(2, np.float32)

    encode_query(parse(["clip.mp4#t=3,4"]), embed)
    assert embedded == [file_of("clip.mp4", 1, 3, 4)]


def test_operands_that_cancel_out_are_refused():
    with pytest.raises(EmptyQuery, match="cancel out"):
        encoded(text("sea") + text("sand") - text("sand") - text("sea"))
    with pytest.raises(EmptyQuery):
        combine([])


@pytest.mark.parametrize("scale", [1e-300, 1.0, 1e300])
def test_only_the_ratio_of_weights_matters(scale):
    x, y = np.eye(2, dtype=np.float32)
    np.testing.assert_allclose(combine([(3 * scale, x), (-4 * scale, y)]), [0.6, -0.8], atol=1e-7)
    np.testing.assert_allclose(combine([(scale, x), (scale * 1e-5, y), (-scale, x)]), [0, 1], atol=1e-7)
