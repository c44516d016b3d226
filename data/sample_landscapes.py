"""The landscapes of the sample collection: one function paints one scene."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator
from PIL import Image
from sample_canvas import (
    ASPECT,
    Floats,
    X,
    Y,
    blurred,
    circle,
    clouds,
    disc,
    finished,
    glow,
    gradient,
    over,
    painted,
    petals,
    polygons,
    ridge,
)


def sunset(rng: Generator) -> Image.Image:
    """Paint a low sun, warm clouds, and its reflection on the water."""
    return finished(sunset_scene(rng, sun=0.5), rng)


def sunset_scene(rng: Generator, *, sun: float) -> Floats:
    """Paint the sun at a height over the sea, whose horizon is at 0.62."""
    sky = gradient((0, "#7a3b5e"), (0.25, "#d2553f"), (0.5, "#ff8c32"), (0.62, "#ffc35a"))
    streaks = clouds(rng, cells=(2, 9))
    sky = over(sky, "#a33b3f", 0.8 * np.clip(streaks * 2.6 - 1.3, 0, 1) * (0.62 - Y) * 2)
    sky = glow(sky, (0.5, sun), "#ff9a3c", radius=0.45, strength=0.7)
    sky = over(sky, "#fff0c0", disc((0.5, sun), 0.07))
    sea = gradient((0.62, "#b5705e"), (0.72, "#4a5a9c"), (1, "#1c3a7c"))
    sea = over(sea, "#24407e", 0.6 * (clouds(rng, cells=(4, 30)) > 0.52))
    path = np.exp(-(((X - 0.5) / (0.03 + 0.22 * (Y - 0.62))) ** 2)) * (clouds(rng, cells=(5, 40)) > 0.45)
    sea = over(sea, "#ffe09a", 0.9 * path)
    return over(sky, sea, np.clip((Y - 0.62) * 400, 0, 1))


def sea(rng: Generator) -> Image.Image:
    """Paint open water under a clear sky, with one sail."""
    return finished(sea_scene(rng, boat=0.68, swell=0.0), rng)


def sea_scene(rng: Generator, *, boat: float, swell: float) -> Floats:
    """Paint the sea with a boat at a horizontal position; `swell` moves the waves."""
    sky = gradient((0, "#3f8fd8"), (0.4, "#a9d6f2"))
    sky = over(sky, "#f2f8fc", 0.8 * np.clip(clouds(rng) * 3 - 1.8, 0, 1) * (0.4 - Y) * 3)
    water = gradient((0.4, "#3b8ac4"), (0.6, "#1c64a8"), (1, "#0b3f7c"))
    depth = np.clip(Y - 0.4, 1e-3, 1)
    wave = np.sin(2.2 / (depth + 0.05) * 4 + 5 * np.sin(X * 9 / (depth + 0.25) + swell) + swell * 2)
    water = over(water, "#8cc8ea", 0.35 * np.clip(wave, 0, 1) * clouds(rng, cells=(9, 6)))
    scene = over(sky, water, np.clip((Y - 0.4) * 400, 0, 1))
    lift = 0.008 * np.sin(swell * 2)
    x, y = boat, 0.5 + lift
    scene = over(scene, "#ffffff", polygons([[(x, y - 0.2), (x, y - 0.02), (x + 0.07, y - 0.02)]]))
    scene = over(scene, "#dfe8ee", polygons([[(x - 0.005, y - 0.17), (x - 0.005, y - 0.02), (x - 0.05, y - 0.02)]]))
    hull = [(x - 0.065, y), (x + 0.08, y), (x + 0.055, y + 0.035), (x - 0.045, y + 0.035)]
    return over(scene, "#7a3b28", polygons([hull]))


def forest(rng: Generator) -> Image.Image:
    """Paint rows of firs, paler with distance."""
    scene = gradient((0, "#b9dfae"), (0.5, "#7fbf74"), (1, "#3f8a3f"))
    scene = glow(scene, (0.7, 0.1), "#f4ffd0", radius=0.4, strength=0.5)
    rows = ((0.45, 0.28, "#6db56a"), (0.6, 0.36, "#3f9447"), (0.78, 0.46, "#23752f"), (1.0, 0.6, "#0f5220"))
    for base, height, colour in rows:
        trees = [_fir(rng, x, base, height) for x in np.arange(-0.02, 1.06, height * 0.17)]
        cover = np.maximum(polygons([part for tree in trees for part in tree]), np.clip((Y - base + 0.04) * 40, 0, 1))
        scene = over(scene, colour, cover)
        scene = over(scene, "#143d14", 0.25 * cover * clouds(rng, cells=(30, 20), octaves=3))
    return finished(scene, rng)


def _fir(rng: Generator, x: float, base: float, height: float) -> list[list[tuple[float, float]]]:
    x, tall = x + rng.normal(0, 0.01), height * rng.uniform(0.75, 1.1)
    width = tall * 0.17
    steps = [(base - tall * (1 - 0.22 * step), width * (0.35 + 0.2 * step)) for step in range(4)]
    return [[(x, top), (x - half, top + tall * 0.36), (x + half, top + tall * 0.36)] for top, half in steps]


def night(rng: Generator) -> Image.Image:
    """Paint the moon, many stars, black hills."""
    return finished(night_scene(rng))


def night_scene(rng: Generator) -> Floats:
    """Paint the night."""
    scene = gradient((0, "#050818"), (0.7, "#131c45"), (1, "#1d2a5c"))
    band = np.exp(-(((Y - 0.45 + 0.35 * (X - 0.5)) / 0.16) ** 2))
    scene = over(scene, "#4a4f8c", 0.35 * band * clouds(rng))
    stars = np.zeros_like(Y)
    rows, columns = rng.integers(0, Y.shape[0], 420), rng.integers(0, Y.shape[1], 420)
    stars[rows, columns] = rng.random(420) ** 3
    scene = over(scene, "#ffffff", np.clip(blurred(stars, 0.5) * 9 + blurred(stars > 0.6, 0.9) * 6, 0, 1))
    scene = glow(scene, (0.78, 0.2), "#8fa6d8", radius=0.16, strength=0.5)
    scene = over(scene, "#eef0e0", disc((0.78, 0.2), 0.05))
    scene = over(scene, "#0d1330", ridge(rng, base=0.86, height=0.16))
    return over(scene, "#03040a", ridge(rng, base=0.97, height=0.14, peaks=5))


def snow(rng: Generator) -> Image.Image:
    """Paint white peaks in winter light."""
    scene = gradient((0, "#9cc6ea"), (0.65, "#eaf4fb"))
    peaks = ((0.2, 0.3, "#dfeaf4", "#c3d4e4"), (0.85, 0.26, "#e4edf5", "#c3d4e4"), (0.55, 0.12, "#fbfdff", "#c9d8e6"))
    for x, top, sunny, shady in peaks:
        slope = (Y - top) * 0.75 + 0.035 * clouds(rng, cells=(9, 14)) - 0.02
        mountain = np.clip((slope - np.abs(X - x)) * 500, 0, 1)
        ragged = X - x + 0.16 * (clouds(rng, cells=(7, 9)) - 0.5)
        scene = over(scene, sunny, mountain)
        scene = over(scene, shady, mountain * np.clip(ragged * 120, 0, 1))
    scene = over(scene, "#f7fafd", ridge(rng, base=0.98, height=0.2, peaks=1, roughness=0.3))
    flakes = np.zeros_like(Y)
    flakes[rng.integers(0, Y.shape[0], 260), rng.integers(0, Y.shape[1], 260)] = 1
    return finished(over(scene, "#ffffff", np.clip(blurred(flakes, 1.6) * 30, 0, 1)), rng)


def fire(rng: Generator) -> Image.Image:
    """Paint a camp fire: layers of flame, logs, sparks."""
    scene = gradient((0, "#1c0a06"), (0.8, "#47190a"), (1, "#2a0f07"))
    scene = glow(scene, (0.5, 0.62), "#ff5a12", radius=0.55, strength=0.9)
    for width, height, colour in ((0.24, 0.72, "#e8380c"), (0.18, 0.58, "#ff7a14"), (0.11, 0.4, "#ffc233")):
        tongues = [_flame(rng, 0.5 + offset, width, height) for offset in np.linspace(-0.13, 0.13, 5)]
        scene = over(scene, colour, blurred(polygons(tongues), 5))
    scene = glow(scene, (0.5, 0.8), "#fff0b0", radius=0.12, strength=0.9)
    falling = [(0.3, 0.82), (0.74, 0.93), (0.72, 0.98), (0.28, 0.87)]
    rising = [(0.26, 0.93), (0.7, 0.82), (0.72, 0.87), (0.28, 0.98)]
    sparks = [circle((rng.normal(0.5, 0.12), rng.uniform(0, 0.6)), rng.uniform(0.002, 0.005)) for _ in range(70)]
    shapes = [("#2b130a", rising), ("#2b130a", falling), *(("#ffb45a", spark) for spark in sparks)]
    return finished(painted(scene, shapes), rng)


def _flame(rng: Generator, x: float, width: float, height: float) -> list[tuple[float, float]]:
    height *= rng.uniform(0.6, 1.0) * (1 - 3 * abs(x - 0.5))
    up = np.linspace(0, 1, 30)
    sway = 0.03 * np.sin(up * 6 + rng.uniform(0, 6)) * up
    half = width / 2 * np.sqrt(1 - up) * (0.5 + 0.8 * up * (1 - up) * 2)
    y = 0.9 - height * up
    left, right = np.stack([x + sway - half, y], axis=1), np.stack([x + sway + half, y], axis=1)
    return [(float(px), float(py)) for px, py in np.concatenate([left, right[::-1]])]


def rainbow(rng: Generator) -> Image.Image:
    """Paint a wide bow over meadows."""
    scene = over(gradient((0, "#8fa9c4"), (0.8, "#dfe8ee")), "#f0f4f7", 0.6 * clouds(rng))
    radius = np.hypot((X - 0.5) * ASPECT, Y - 1.0)
    for ring, colour in enumerate(("#e8232b", "#ff8a1c", "#ffe03a", "#36b84a", "#2a86e0", "#5a3fc8", "#9a3fd0")):
        scene = over(scene, colour, 0.85 * np.exp(-(((radius - 0.82 + 0.062 * ring) / 0.034) ** 2)))
    scene = over(scene, "#6fae52", ridge(rng, base=0.92, height=0.1, peaks=2, roughness=0.3))
    return finished(over(scene, "#4c9440", ridge(rng, base=1.0, height=0.12, peaks=2, roughness=0.3)), rng)


def fog(rng: Generator) -> Image.Image:
    """Paint hills that fade into each other."""
    scene = gradient((0, "#c9cbcc"), (1, "#b5b7b8"))
    for base, shade in ((0.55, "#b0b3b4"), (0.7, "#969a9b"), (0.85, "#7a7e80"), (1.0, "#5c6062")):
        scene = over(scene, shade, ridge(rng, base=base, height=0.25, peaks=2, roughness=0.4))
        scene = over(scene, "#c4c6c7", 0.5 * np.exp(-(((Y - base) / 0.1) ** 2)))
    return finished(scene, rng)


def dunes(rng: Generator) -> Image.Image:
    """Paint sand in long curves, light on one side."""
    scene = gradient((0, "#f2dca0"), (0.4, "#f7e7bd"))
    hills = ((0.55, 0.18, "#e8c878", "#c9a050"), (0.75, 0.28, "#e3bd62", "#b8893a"), (1.0, 0.4, "#dfb355", "#a87728"))
    for base, height, light, shade in hills:
        cover = ridge(rng, base=base, height=height, peaks=1, roughness=0.12)
        ripple = 0.5 + 0.5 * np.sin(Y * 160 + 10 * np.sin(X * 5 + base * 9))
        scene = over(scene, over(gradient((0.3, light), (1, shade)), shade, 0.3 * ripple), cover)
    return finished(scene, rng)


def autumn(rng: Generator) -> Image.Image:
    """Paint a tree that loses its leaves."""
    ground = 0.8 * np.clip((Y - 0.82) * 9, 0, 1)
    scene = over(gradient((0, "#e0a860"), (0.75, "#eec27c"), (1, "#a85a24")), "#8a4a1c", ground)
    trunk = [(0.46, 0.92), (0.48, 0.5), (0.44, 0.3), (0.49, 0.44), (0.53, 0.26), (0.52, 0.5), (0.55, 0.92)]
    leaves = []
    for _ in range(900):
        angle, reach = rng.uniform(0, 2 * np.pi), np.sqrt(rng.random())
        at = (0.5 + 0.27 * reach * np.cos(angle), 0.34 + 0.3 * reach * np.sin(angle))
        at = at if rng.random() < 0.85 else (rng.random(), rng.uniform(0.8, 0.99))
        colour = str(rng.choice(["#d9541e", "#e87a1e", "#b8401a", "#f0a030", "#8f3a16"]))
        leaves += [(colour, leaf) for leaf in petals(at, rng.uniform(0.03, 0.055), count=1, width=0.6, turn=angle)]
    return finished(painted(scene, [("#4a2814", trunk), *leaves]), rng)


def city(rng: Generator) -> Image.Image:
    """Paint lit windows in the dark."""
    scene = gradient((0, "#1a1440"), (0.5, "#6a3560"), (1, "#c86a50"))
    x = -0.02
    while x < 1:
        width, top = rng.uniform(0.09, 0.16), rng.uniform(0.15, 0.55)
        house = (x <= X) & (x + width > X) & (top <= Y)
        scene = over(scene, "#1a1626", house)
        columns, rows = (X - x) * 26, (Y - top) * 15
        lit = rng.random((18, 8)) < 0.55
        chosen = lit[rows.astype(int) % 18, columns.astype(int) % 8]
        inside = (columns % 1 > 0.3) & (columns % 1 < 0.8) & (rows % 1 > 0.3) & (rows % 1 < 0.75)
        panes = house & inside & chosen & (top + 0.03 < Y)
        scene = over(scene, "#ffd98a", panes)
        x += width + 0.008
    return finished(scene, rng)


LANDSCAPES = {
    "nature/sunset_over_the_sea.jpg": sunset,
    "nature/blue_sea_with_a_boat.jpg": sea,
    "nature/green_forest.jpg": forest,
    "nature/snowy_mountain.jpg": snow,
    "nature/rainbow_over_meadows.jpg": rainbow,
    "nature/foggy_hills.jpg": fog,
    "nature/desert_dunes.jpg": dunes,
    "nature/autumn_tree.jpg": autumn,
    "night/dark_night_with_stars.png": night,
    "night/campfire.jpg": fire,
    "night/city_windows_at_night.png": city,
}
"""Path in the folder of photos -> the function that paints it."""
