"""Output for people: progress bars, colours and links, number formats, aligned columns."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import pytest

from bindsearch.cli import screen as screens
from bindsearch.cli.listing import show
from bindsearch.cli.parser import Parser, add_common, add_ranking
from bindsearch.cli.progress import Bar
from bindsearch.cli.screen import Screen, address, columns, cut, escaped, padded, shown
from bindsearch.cli.wording import chance, clock, moment, share, size, span
from bindsearch.core.progress import BuildProgress, Progress
from bindsearch.results import Hit, Hits
from bindsearch.types import Modality, Segment, Span


class Terminal(io.StringIO):
    """A stream that claims to be a terminal of unknown width."""

    def isatty(self) -> bool:
        return True


class Clock:
    """A clock that is advanced by hand."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture(autouse=True)
def _terminal(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)


# Progress ---------------------------------------------------------------------------------------------------------


def drawn(stream, *steps, quiet=False):
    """Show progress steps at given seconds; return what was written."""
    clock = Clock()
    with Bar(stream, quiet=quiet, now=clock) as bar:
        for second, progress in steps:
            clock.seconds = second
            bar.show(progress)
    return stream.getvalue()


def progress(done, total, path=None):
    return Progress(done, total, 0, path)


def test_bar_has_share_count_rate_and_remaining_time(monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    output = drawn(Terminal(), (10.0, progress(250, 1000, Path("/media/field/rain.wav"))))
    bar = "━━━━━━··················  25%".replace("━━━━━━", "━" * 6)
    assert output == f"\r\x1b[K{bar}  250/1,000 files  25 files/s  0:30 left  /media/field/rain.wav\r\x1b[K"


def test_index_rebuild_has_a_bar(monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    steps = [
        (10.0, replace(progress(0, None), building=BuildProgress("audio", "ivf", "building", 500_000, 1_000_000))),
        (20.0, replace(progress(0, None), building=BuildProgress("audio", "ivf", "measuring"))),
    ]
    bar = "━" * 12 + "·" * 12
    output = f"\r\x1b[K{bar}  50%  building the audio index (ivf)  1,000,000 segments"
    assert drawn(Terminal(), *steps) == f"{output}\r\x1b[Kmeasuring the audio index (ivf)\r\x1b[K"


def test_no_bar_while_scanning():
    assert drawn(Terminal(), (2.0, progress(3, None))) == "\r\x1b[K3 files, still scanning  1.5 files/s\r\x1b[K"


def test_bar_is_drawn_at_most_ten_times_a_second():
    output = drawn(Terminal(), *((step / 1000, progress(step, 2000)) for step in range(1, 1001)))
    assert 8 <= output.count("files/s") <= 10


def test_bar_fits_the_line():
    path = Path("/media") / ("a very long name of a folder " * 5) / "the_file_itself.wav"
    output = drawn(Terminal(), (5.0, progress(123_456, 1_234_567, path)))
    line = output.removeprefix("\r\x1b[K").removesuffix("\r\x1b[K")
    assert columns(line) == screens.DEFAULT_COLUMNS - 1
    assert "…" in line
    assert "itself.wav" in line


def test_plain_line_every_ten_seconds_without_terminal():
    output = drawn(io.StringIO(), *((float(second), progress(second, 100)) for second in range(1, 31)))
    assert output.splitlines() == [
        "10/100 files, 1.0 files/s, 1:30 left",
        "20/100 files, 1.0 files/s, 1:20 left",
        "30/100 files, 1.0 files/s, 1:10 left",
    ]


def test_quiet_shows_no_progress():
    assert drawn(Terminal(), (60.0, progress(1, 2)), quiet=True) == ""


# Lists ------------------------------------------------------------------------------------------------------------

HITS = Hits(
    (
        Hit(Path("/m/night.jpg"), Modality.IMAGE, 0.9, 0.0002, Segment(1, Modality.IMAGE), 1, [Path("/m/n2.jpg")]),
        Hit(Path("/m/a b.mp4"), Modality.VIDEO, 0.8, 0.3, Segment(2, Modality.AUDIO, Span(61.0, 63.5)), 2),
        Hit(
            Path("/m/p.txt"),
            Modality.TEXT,
            -0.1,
            12.3,
            Segment(3, Modality.TEXT, Span(None, None, 0, 9), "Bad\x07 sky"),
            3,
        ),
    ),
    1234,
)


def listed(stream, *options, monkeypatch):
    parser = Parser()
    add_ranking(parser)
    add_common(parser)
    parser.set_defaults(json=False, quiet=False)
    monkeypatch.setattr("sys.stdout", stream)
    args = parser.parse_args(options)
    hits = HITS if args.max_expect is None else HITS.within(args.max_expect)  # as `Library.search` does
    assert show(hits, args) == 0
    return stream.getvalue()


def test_list_is_aligned(monkeypatch):
    assert listed(io.StringIO(), monkeypatch=monkeypatch).splitlines() == [
        "       by chance  score  modality     moment         path",
        "1     1 in 5,000   0.90  image                       /m/night.jpg (+1 copy)",
        "2         1 in 3   0.80  video·audio  1:01.0–1:03.5  /m/a b.mp4",
        "3  12 per search  -0.10  text                        /m/p.txt  “Bad\\x07 sky”",
        "by chance (E-value): how many hits this good an unrelated query would find in these 1,234 segments",
    ]


def test_max_expect_drops_likely_chance_hits(monkeypatch):
    output = listed(io.StringIO(), "--max-expect", "0.3", "--quiet", monkeypatch=monkeypatch)
    assert [line[0] for line in output.splitlines()] == ["1", "2"]


def test_terminal_paths_link_to_the_moment(monkeypatch):
    output = listed(Terminal(), monkeypatch=monkeypatch)
    assert "\x1b]8;;file:///m/night.jpg\x1b\\/m/night.jpg\x1b]8;;\x1b\\ (+1 copy)" in output
    assert "\x1b]8;;file:///m/a%20b.mp4#t=61,63.5\x1b\\" in output
    assert "\x1b[32m1 in 5,000\x1b[0m" in output


def test_no_color_keeps_links(monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    output = listed(Terminal(), monkeypatch=monkeypatch)
    assert "\x1b[" not in output
    assert "\x1b]8;;" in output


def test_dumb_terminal_gets_plain_text(monkeypatch):
    monkeypatch.setenv("TERM", "dumb")
    assert "\x1b" not in listed(Terminal(), monkeypatch=monkeypatch)


# Words ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("expect", "message"),
    [
        (1e-300, "1 in a billion"),
        (0.0, "never"),
        (2e-9, "1 in 500 million"),
        (0.00026, "1 in 3,800"),
        (0.01, "1 in 100"),
        (0.4, "1 in 2"),
        (0.66, "1 in 2"),
        (0.67, "1 per search"),
        (1234.5, "1,234 per search"),
    ],
)
def test_evalue_format(expect, message):
    assert chance(expect) == message


def test_time_and_size_formats():
    assert [clock(0), clock(59.96), clock(3599.6), clock(59.96, tenths=True)] == ["0:00", "1:00", "1:00:00", "1:00.0"]
    assert [moment(None, None), moment(0.0, 2.0), moment(0.5, 2.0)] == ["", "0:00–0:02", "0:00.5–0:02.0"]
    assert [span(0.04), span(59.4), span(61), span(5_400)] == ["0.0 s", "59 s", "1 min", "1.5 hours"]
    assert [size(999), size(1000), size(99_499), size(2.5e9), size(4e12)] == [
        *("999 bytes", "1.0 kB", "99.5 kB", "2.5 GB", "4.0 TB")
    ]
    assert [share(1.0), share(0.99999), share(0.5)] == ["100 %", "99.9 %", "50.0 %"]


def test_width_of_wide_and_combining_letters():
    assert [columns("夜空"), columns("e\u0301"), columns("\x1b[2mab\x1b[0m")] == [4, 1, 2]
    assert padded("夜", 4) + "|" == "夜  |"
    assert [cut("夜空の星", 5), cut("abcdefgh", 5), cut("abcdefgh", 5, middle=True)] == ["夜空…", "abcd…", "ab…gh"]
    assert cut("abc", 1) == ""


def test_names_are_escaped_to_one_line():
    assert escaped("a\nb\tc\x1b[2J\udcff\u2028\u202e") == "a\\nb\\tc\\x1b[2J\\xff\\u2028\\u202e"
    assert escaped("naïve 夜空 👩\u200d🚀 1.30\u202fPM") == "naïve 夜空 👩\u200d🚀 1.30\u202fPM"


def test_paths_are_shown_relative(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert shown(tmp_path / "a" / "b.jpg") == "a/b.jpg"
    assert shown("/x") == "/x"


def test_uris_percent_encode_raw_bytes():
    assert address(Path("/m/\udcff #.wav"), start=1.0, end=2.123456) == "file:///m/%FF%20%23.wav#t=1,2.12"


def test_ascii_stream_gets_escapes(place, monkeypatch):
    from bindsearch.cli import main

    raw = io.BytesIO()
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(raw, "ascii"))
    assert main(["search", "rain", "-m", "audio", "-k", "1", "-l", str(place / "media.library")]) == 0
    assert b"\\u2013" in raw.getvalue()
    assert Screen.of(io.StringIO()).width == screens.DEFAULT_COLUMNS
