"""The picture of growth: each value where it belongs."""

from __future__ import annotations

import pytest
from PIL import Image
from plot_growth import ACROSS, COLOURS, HEIGHT, PANELS, WIDTH, Scale, plot


def row(kind, n, **columns):
    return {"kind": kind, "n": n} | dict.fromkeys(PANELS, 1.0) | columns


def rgb(colour):
    return tuple(bytes.fromhex(colour[1:]))


def test_decades_are_whole_and_equally_far_apart():
    scale = Scale.of([30, 2_000], 0, 300)
    assert scale.decades == [10, 100, 1_000, 10_000]
    assert [scale.at(value) for value in scale.decades] == pytest.approx([0, 100, 200, 300])


def test_one_value_has_a_scale_too():
    assert Scale.of([10.0], 0, 100).decades == [10, 100]


def test_each_value_has_a_point_in_the_colour_of_its_kind(tmp_path):
    rows = [row("exact", 10_000, ask_ms=2.0), row("exact", 1_000_000, ask_ms=30.0), row("ivf", 10_000, ask_ms=5.0)]
    plot(rows, tmp_path / "growth.png")
    with Image.open(tmp_path / "growth.png") as picture:
        assert picture.size == (ACROSS * WIDTH, -(-len(PANELS) // ACROSS) * HEIGHT)
        x, y = Scale.of([1e4, 1e6], 58, WIDTH - 16), Scale.of([2.0, 30.0], HEIGHT - 34, 34)
        for number, kind in enumerate(["exact", "ivf"]):
            for told in rows:
                if told["kind"] == kind:
                    at = round(x.at(told["n"])), round(y.at(told["ask_ms"]))
                    assert picture.getpixel(at) == rgb(COLOURS[number])


def test_what_took_no_time_has_no_point_and_no_rows_are_refused(tmp_path):
    plot([row("exact", 10_000, build_s=0.0)], tmp_path / "growth.png")
    assert (tmp_path / "growth.png").stat().st_size > 0
    with pytest.raises(ValueError, match="nothing to plot"):
        plot([], tmp_path / "none.png")
