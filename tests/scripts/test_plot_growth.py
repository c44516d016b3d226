"""The plot of growth: each value at its position."""

from __future__ import annotations

import pytest
from PIL import Image
from plot_growth import COLOURS, PANEL_HEIGHT, PANEL_TITLES, PANEL_WIDTH, PANELS_ACROSS, Scale, plot


def row(kind, n, **columns):
    return {"kind": kind, "n": n} | dict.fromkeys(PANEL_TITLES, 1.0) | columns


def rgb(colour):
    return tuple(bytes.fromhex(colour[1:]))


def test_decades_are_whole_and_evenly_spaced():
    scale = Scale.of([30, 2_000], 0, 300)
    assert scale.decades == [10, 100, 1_000, 10_000]
    assert [scale.at(value) for value in scale.decades] == pytest.approx([0, 100, 200, 300])


def test_single_value_has_a_scale():
    assert Scale.of([10.0], 0, 100).decades == [10, 100]


def test_each_value_is_drawn_in_the_colour_of_its_kind(tmp_path):
    rows = [row("exact", 10_000, ask_ms=2.0), row("exact", 1_000_000, ask_ms=30.0), row("ivf", 10_000, ask_ms=5.0)]
    plot(rows, tmp_path / "growth.png")
    with Image.open(tmp_path / "growth.png") as picture:
        assert picture.size == (PANELS_ACROSS * PANEL_WIDTH, -(-len(PANEL_TITLES) // PANELS_ACROSS) * PANEL_HEIGHT)
        x, y = Scale.of([1e4, 1e6], 58, PANEL_WIDTH - 16), Scale.of([2.0, 30.0], PANEL_HEIGHT - 34, 34)
        for number, kind in enumerate(["exact", "ivf"]):
            for each in rows:
                if each["kind"] == kind:
                    at = round(x.at(each["n"])), round(y.at(each["ask_ms"]))
                    assert picture.getpixel(at) == rgb(COLOURS[number])


def test_zero_is_left_out_and_no_rows_are_refused(tmp_path):
    plot([row("exact", 10_000, build_s=0.0)], tmp_path / "growth.png")
    assert (tmp_path / "growth.png").stat().st_size > 0
    with pytest.raises(ValueError, match="nothing to plot"):
        plot([], tmp_path / "none.png")
