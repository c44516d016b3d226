"""The query language on the command line: --and, --not, concepts, --more-like, --why."""

from __future__ import annotations

import json

import pytest


def records(ran):
    assert (ran.status, ran.err) == (0, "")
    return [json.loads(line) for line in ran.lines]


def test_and_and_not_take_whole_queries(run):
    both = records(
        run("search", "night", "--and", "rain", "-", "0.5:sun", "--not", "blue", "sea", "-k", "20", "--json")
    )
    turned = records(run("search", "rain", "-", "0.5:sun", "--not", "blue sea", "--and", "night", "-k", "20", "--json"))
    assert len(both) > 3
    assert [hit["path"] for hit in both] == [hit["path"] for hit in turned]
    assert [hit["expect"] for hit in both] == pytest.approx([hit["expect"] for hit in turned], rel=1e-3)


def test_words_after_an_option_belong_to_the_query(run):
    assert run("search", "dark", "--and", "rain", "-k", "3", "night") == run(
        "search", "dark night", "--and", "rain", "-k", "3"
    )


def test_query_excluding_itself_finds_nothing(run):
    ran = run("search", "night", "--not", "night")
    assert (ran.status, ran.out) == (1, "")
    assert "nothing found" in ran.err


@pytest.mark.parametrize(
    ("words", "message", "pointed"),
    [
        (["night", "--and", "rain", "+"], "nothing follows +", "+"),
        (["night", "--not", "sea", "-", "gone.wav"], "no such file: gone.wav", "gone.wav"),
        (["night", "--and", "concept:nowhere"], "no concept is called nowhere", "concept:nowhere"),
        (["night", "+", "concept:no/name"], "no/name is not a concept name", "concept:no/name"),
    ],
)
def test_errors_point_at_the_word_in_every_query(run, words, message, pointed):
    ran = run("search", *words)
    assert ran.status == 2
    first, line, carets = ran.err.splitlines()
    assert message in first
    assert line[carets.index("^") :] == pointed
    assert carets.strip() == "^" * len(pointed)


def test_more_like_takes_result_numbers(run):
    before = records(run("search", "night", "--raw", "--json"))
    leaning = ["--more-like", "4,5", "--more-like", "5", "--less-like", "1"]
    after = records(run("search", "night", "--raw", *leaning, "--why", "--json"))
    operands = [term["operand"] for term in after[0]["why"]["terms"]]
    assert operands == ["text:night", "result:4", "result:5", "- result:1"]
    scores = {hit["path"]: hit["score"] for hit in after}
    assert scores.get(before[0]["path"], -1) < before[0]["score"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--more-like", "0"], "'0' is not a whole number of at least 1"),
        (["--less-like", "two"], "'two' is not a whole number"),
        (["--more-like", "1", "--less-like", "1"], "result 1 cannot be both"),
        (["--more-like", "10000"], "there is no result 10000: the same search without it finds"),
        (["--more-like", "2", "--modality", "image", "--ext", "heic"], "there is no result 2"),
    ],
)
def test_unknown_result_numbers_are_refused(run, words, message):
    ran = run("search", "night", *words)
    assert (ran.status, ran.out) == (2, "")
    assert message in ran.err


def test_why_is_equal_in_text_and_json(run):
    words = ["search", "blue sea", "-", "0.5:summer", "--why", "-k", "12"]
    hits, lines = records(run(*words, "--json")), run(*words).lines
    for hit in hits:
        parts = [term["contribution"] for term in hit["why"]["terms"]]
        assert sum(parts) == pytest.approx(hit["score"], abs=2e-6)
        assert f"    {parts[0]:+.2f}  text:blue sea" in lines
        assert f"    {parts[1]:+.2f}  - 0.5:text:summer" in lines
        best = hit["why"]["moments"][0]
        assert (best["start"], best["end"], best["score"]) == (hit["start"], hit["end"], hit["score"])
    assert any(line.startswith("    moments  0:0") for line in lines)


def test_concept_is_added_used_and_removed(own, run):
    empty = run("concepts")
    assert (empty.status, empty.out) == (0, "")
    assert "no concepts are saved" in empty.err
    assert run("concepts", "add", "camp", "night/campfire.jpg", "2:night").out.startswith("saved: write concept:camp")
    assert run("concepts", "add", "camp", "night/campfire.jpg", "2:fire", "--quiet").out == ""
    assert run("concepts", "add", "camp", "night/campfire.jpg", "2:fire").out.startswith("replaced")
    [listed] = records(run("concepts", "list", "--json"))
    assert listed["parts"] == [f"file:{own / 'night' / 'campfire.jpg'}", "+", "2:text:fire"]
    assert run("concepts").lines == [f"camp = file:{own / 'night' / 'campfire.jpg'} + 2:text:fire"]
    by_name, by_parts = (
        records(run("search", *words, "--json")) for words in (["concept:camp"], ["night/campfire.jpg", "+", "2:fire"])
    )
    assert [hit["path"] for hit in by_name] == [hit["path"] for hit in by_parts]
    assert run("concepts", "remove", "camp").status == 0
    again = run("concepts", "remove", "camp")
    assert (again.status, again.out) == (2, "")
    assert "no concept is called camp" in again.err


def test_why_not_rank_equals_search_rank(run):
    hits = records(run("search", "night", "-k", "12", "--json"))
    [answer] = records(run("why-not", hits[11]["path"], "night", "--json"))
    assert (answer["verdict"], answer["rank"]) == ("behind", 12)
    assert answer["score"] == pytest.approx(hits[11]["score"], abs=1e-5)
    assert run("why-not", hits[11]["path"], "night", "-k", "12").lines[0].endswith(": it is number 12")
    assert "removed by --ext wav" in run("why-not", hits[0]["path"], "night", "--ext", "wav").out
    assert "cannot be read" in run("why-not", "samples/photos/broken.jpg", "night").out
    assert run("why-not", "gone.jpg", "night").status == 2


def test_why_not_takes_words_after_options(run):
    one = run("why-not", "samples/photos/night/campfire.jpg", "dark", "-k", "3", "night")
    assert one == run("why-not", "samples/photos/night/campfire.jpg", "dark night", "-k", "3")
