from __future__ import annotations

from itertools import pairwise

import pytest
from decoding_helpers import pieces, spans
from hypothesis import given, strategies as st

from bindsearch.errors import MediaTooLarge, UnreadableMedia
from bindsearch.media import Limits, decode, identify
from bindsearch.media.html_text import visible_text
from bindsearch.media.text import passage_ranges
from bindsearch.types import Modality, Windowing

GERMAN = "Die Möwen über dem Hafen. Grüße aus Köln, schöne Bäume und süße Äpfel für alle. " * 5
RUSSIAN = "Чайки кричали над гаванью, и море было спокойным. Над водой стоял туман. " * 5
JAPANESE = "海は静かで、港の上でカモメが鳴いていた。霧が水の上にかかっていた。" * 8


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        (GERMAN, "utf-8"),
        (GERMAN, "utf-8-sig"),
        (GERMAN, "utf-16"),
        (GERMAN, "utf-32"),
        (GERMAN, "cp1252"),
        (RUSSIAN, "cp1251"),
        (RUSSIAN, "koi8-r"),
        (JAPANESE, "shift_jis"),
        (JAPANESE, "utf-16"),
    ],
)
def test_encodings_are_detected(tmp_path, text, encoding):
    path = tmp_path / "a.txt"
    path.write_bytes(text.encode(encoding))
    (piece,) = pieces(path, Windowing(passage=10_000))
    assert piece.content == text.strip()
    assert (piece.span.offset, piece.span.length) == (0, len(text.strip()))


def test_passages_end_at_the_best_boundary():
    text = "One two three. Four five six.\n\nSeven eight nine ten eleven twelve thirteen fourteen fifteen."
    assert [text[at : at + size] for at, size in passage_ranges(text, 40)] == [
        "One two three. Four five six.",
        "Seven eight nine ten eleven twelve",
        "thirteen fourteen fifteen.",
    ]
    assert [text[at : at + size] for at, size in passage_ranges(text, 20)][:2] == ["One two three.", "Four five six."]
    assert list(passage_ranges("x" * 25, 10)) == [(0, 10), (10, 10), (20, 5)]


@given(st.text(alphabet="ab.\n \t", max_size=200), st.integers(1, 30))
def test_passages_cover_the_text_within_the_limit(text, limit):
    found = list(passage_ranges(text, limit))
    assert all(0 < size <= limit for _, size in found)
    assert all(one + size <= other for (one, size), (other, _) in pairwise(found))
    assert "".join("".join(text[at : at + size].split()) for at, size in found) == "".join(text.split())


def test_only_the_visible_text_of_a_page_is_extracted(tmp_path):
    path = tmp_path / "a.HTML"
    path.write_text(
        "<html><head><title>Sea</title><style>p { color: red }</style><script>var x = '<p>no</p>';</script></head>"
        "<body><p>Waves &amp; gulls\ncry&hellip;</p><ul><li>one<li>two</ul><![if x]>end<![endif]></body></html>"
    )
    (piece,) = pieces(path)
    assert piece.content == "Sea\n\nWaves & gulls cry…\n\none\ntwo\n\nend"
    assert (piece.span.offset, piece.span.length) == (0, len(piece.content))


@pytest.mark.parametrize("unfinished", ["<", "<a", "<!--", "</", '<a b="', "<p <", "<?", "<![", "<script", "&#"])
def test_unfinished_markup_takes_linear_time(unfinished):
    visible_text("<p>begin</p>" + unfinished * 300_000)  # minutes, and so the time limit of the test, if quadratic
    assert visible_text("<p>begin</p>" + unfinished).startswith("begin")


def test_a_page_may_declare_its_encoding(tmp_path):
    path = tmp_path / "a.htm"
    path.write_bytes('<meta charset="koi8-r"><p>Чайки'.encode("koi8-r"))
    assert [piece.content for piece in pieces(path)] == ["Чайки"]


SRT = """1
00:00:01,500 --> 00:00:03,000
<i>The sea</i>
was calm.

2
00:00:04,000 --> 00:00:05,250
Gulls cried.

3
01:00:00,000 --> 01:00:02,000
{\\an8}Much later.
"""


def test_subtitles_become_passages_with_times(tmp_path):
    path = tmp_path / "a.srt"
    path.write_text(SRT)
    found = pieces(path, Windowing(passage=36))
    assert [piece.content for piece in found] == ["The sea was calm. Gulls cried.", "Much later."]
    assert spans(found) == [(1.5, 5.25), (3600, 3602)]


def test_webvtt_is_parsed(tmp_path):
    path = tmp_path / "a.vtt"
    path.write_text("WEBVTT\n\nNOTE nothing\n\n00:01.000 --> 00:02.500 align:start\n<v Ann>Hello\r\n")
    (piece,) = pieces(path)
    assert (piece.content, piece.span.start, piece.span.end) == ("Hello", 1, 2.5)


def test_a_long_cue_is_split_without_loss(tmp_path):
    path = tmp_path / "a.srt"
    words = " ".join(f"word{n}" for n in range(50))
    path.write_text(f"1\n00:00:01,000 --> 00:00:03,000\n{words}\n")
    found = pieces(path, Windowing(passage=40))
    assert all(len(piece.content) <= 40 for piece in found)
    assert " ".join(piece.content for piece in found) == words
    assert set(spans(found)) == {(1, 3)}


@pytest.mark.parametrize("name", ["a.txt", "a.md", "a.html", "a.srt"])
def test_texts_without_text_are_refused(tmp_path, name):
    path = tmp_path / name
    path.write_text(" \n\t\n ")
    with pytest.raises(UnreadableMedia, match="holds no text"):
        pieces(path)


def test_binary_data_is_not_text(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes(b"plain at first " * 400 + b"\0\1\2")
    with pytest.raises(UnreadableMedia, match="zero bytes"):
        pieces(path)


def test_a_text_beyond_the_limit_is_refused(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("x" * 101)
    kind = identify(path)
    assert kind is not None
    limits = Limits(max_text_bytes=100)
    with (
        decode(path, kind, Windowing(), wanted=frozenset(Modality), limits=limits) as decoding,
        pytest.raises(MediaTooLarge, match="101 bytes of text; the limit is 100"),
    ):
        next(decoding)
