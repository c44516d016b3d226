"""The close-ups of the sample collection: one function paints one scene."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator
from PIL import Image
from sample_canvas import (
    ASPECT,
    Point,
    X,
    Y,
    blurred,
    circle,
    clouds,
    disc,
    drawn,
    finished,
    glow,
    gradient,
    over,
    painted,
    petals,
    plain,
    polygons,
    ridge,
)


def flowers(rng: Generator) -> Image.Image:
    """Paint a bed of violet blossoms, seen from above."""
    leaves = 0.6 * np.clip(clouds(rng, cells=(8, 6)) * 3 - 1.4, 0, 1)
    scene = over(gradient((0, "#5f3f9c"), (1, "#3b2470")), "#2f5a34", leaves)
    shapes: list[tuple[str, list[Point]]] = []
    for size, count, colours in ((0.12, 70, ("#5a2fb0", "#6a3cc4")), (0.17, 46, ("#7a45e0", "#8b5cf0", "#6d3bd6"))):
        for _ in range(count):
            x, y, turn = rng.uniform(-0.02, 1.02), rng.uniform(-0.02, 1.02), rng.uniform(0, 6)
            length = size * rng.uniform(0.7, 1.1)
            under = petals((x + 0.006, y + 0.014), length, count=5, width=0.75, turn=turn)
            shapes += [("#35206c", outline) for outline in under]
            colour = str(rng.choice(colours))
            shapes += [(colour, outline) for outline in petals((x, y), length, count=5, width=0.75, turn=turn)]
            shapes += [("#4a2a96", circle((x, y), size * 0.19)), ("#ffd84a", circle((x, y), size * 0.12))]
    return finished(painted(scene, shapes), rng)


def rain(rng: Generator) -> Image.Image:
    """Paint a grey day behind a wet window."""
    houses = 0.8 * blurred(ridge(rng, base=0.9, height=0.4), 8)
    scene = over(gradient((0, "#a3a6a8"), (1, "#7d8082")), "#5f6264", houses)
    scene = over(scene, "#c2c4c5", 0.5 * clouds(rng))
    places = [(rng.random(), rng.random(), rng.uniform(0.002, 0.012)) for _ in range(420)]
    drops = polygons([circle((x, y), size) for x, y, size in places])
    streaks = drawn([_streak(rng) for _ in range(26)], width=4)
    scene = over(scene, "#3f4244", 0.5 * np.roll(drops, 3, axis=0))
    scene = over(scene, "#e9ebec", 0.75 * drops * np.roll(1 - blurred(drops, 2) * 0.6, -2, axis=0))
    return finished(over(scene, "#dfe1e2", 0.5 * blurred(streaks, 0.8)), rng, speckle=0.035)


def _streak(rng: Generator) -> list[tuple[float, float]]:
    x, y = rng.random(), rng.uniform(-0.1, 0.7)
    length = rng.uniform(0.1, 0.4)
    return [(x + 0.004 * np.sin(step * 2), y + length * step / 6) for step in range(7)]


def chessboard(rng: Generator) -> Image.Image:
    """Paint the board and a few pieces on it, from above."""
    scene = plain("#e9e7e2")
    scene = over(scene, "#1b1b1d", (np.floor(X * 12) + np.floor(Y * 8)) % 2 == 1)
    white, black = ("#f7f6f2", "#555555"), ("#38383a", "#aaaaaa")
    for column, row, (colour, edge) in ((2, 5, white), (7, 2, black), (9, 6, white), (4, 3, black)):
        x, y = (column + 0.5) / 12, (row + 0.5) / 8
        scene = over(scene, "#000000", 0.35 * blurred(disc((x + 0.006, y + 0.012), 0.042), 3))
        rings = ((0.044, edge), (0.04, colour), (0.022, edge), (0.018, colour))
        scene = painted(scene, [(paint, circle((x, y), radius)) for radius, paint in rings])
    return finished(over(scene, "#000000", 0.06 * clouds(rng)))


def sunflower(rng: Generator) -> Image.Image:
    """Paint one large blossom before a field of yellow."""
    scene = over(gradient((0, "#ffe98a"), (1, "#c9a820")), "#f7c92a", clouds(rng, cells=(6, 4), octaves=2))
    for length, colour, turn in ((0.44, "#e8a80c", 0.0), (0.4, "#ffc91f", 0.15), (0.34, "#ffdd4a", 0.05)):
        scene = over(scene, colour, polygons(petals((0.5, 0.5), length, count=21, width=0.22, turn=turn)))
    scene = over(scene, "#5a3512", disc((0.5, 0.5), 0.15))
    angles, reach = np.arange(260) * 2.39996, 0.14 * np.sqrt(np.arange(260) / 260)
    seeds = zip(0.5 + reach * np.cos(angles) / ASPECT, 0.5 + reach * np.sin(angles), strict=True)
    return finished(painted(scene, [("#8a5a20", circle(at, 0.005)) for at in seeds]), rng)


def apple(rng: Generator) -> Image.Image:
    """Paint a red apple on a red cloth."""
    folds = 0.5 * clouds(rng, cells=(3, 8))
    scene = over(gradient((0, "#7d0f14"), (0.62, "#a3161c"), (1, "#c4252a")), "#5a0a0f", folds)
    shadow = np.clip((1 - np.hypot((X - 0.52) / 0.22, (Y - 0.86) / 0.07)) * 9, 0, 1)
    scene = over(scene, "#3f0508", 0.7 * blurred(shadow, 9))
    body = np.maximum(disc((0.44, 0.55), 0.27), disc((0.56, 0.55), 0.27))
    scene = over(scene, "#d81f26", body)
    scene = over(scene, "#8f0d14", body * np.clip(np.hypot((X - 0.44) * ASPECT, Y - 0.45) * 2.4 - 0.45, 0, 1))
    shine = np.hypot((X - 0.42) * ASPECT, (Y - 0.42) * 0.8) / 0.07
    scene = over(scene, "#ff9a94", 0.8 * body * np.exp(-(shine**2)))
    stalk = [(0.495, 0.33), (0.498, 0.25), (0.525, 0.18), (0.535, 0.185), (0.51, 0.25), (0.508, 0.33)]
    leaf = petals((0.51, 0.26), 0.2, count=1, width=0.4, turn=-0.5)
    return finished(painted(scene, [("#4a2a12", stalk), *(("#4f9a33", outline) for outline in leaf)]), rng)


def pumpkins(rng: Generator) -> Image.Image:
    """Paint three pumpkins on straw."""
    straw = 0.7 * (clouds(rng, cells=(8, 50), octaves=3) > 0.55)
    scene = over(gradient((0, "#b8621a"), (1, "#e89a3c")), "#a05a1a", straw)
    for x, y, size in ((0.22, 0.5, 0.2), (0.78, 0.48, 0.22), (0.5, 0.62, 0.28)):
        scene = over(scene, "#4a2408", 0.6 * blurred(disc((x, y + 0.06), size * 1.05), 10))
        for rib in (-0.75, 0.75, -0.5, 0.5, -0.25, 0.25, 0.0):
            across = (X - x - rib * size / ASPECT) * ASPECT / (size * 0.42)
            cover = np.clip((1 - np.hypot(across, (Y - y) / (size * (0.95 - 0.2 * abs(rib))))) * 60, 0, 1)
            scene = over(scene, "#b34a06", cover)
            scene = over(scene, "#ff8c1a", cover * np.clip(1.25 - np.abs(across) * 1.6, 0, 1))
        low, high = y - size * 0.8, y - size * 1.2
        stem = [(x - 0.015, low), (x + 0.02, low), (x + 0.035, high), (x + 0.005, high)]
        scene = over(scene, "#5f6a24", polygons([stem]))
    return finished(scene, rng)


def honeycomb(rng: Generator) -> Image.Image:
    """Paint cells full of honey, and a bee."""
    honey = ["#ffc61f", "#f7b516", "#ffd54a", "#eda50f"]
    places = [((column + 0.5 * (row % 2)) / 10.4, row / 7.8) for row in range(-1, 9) for column in range(-1, 12)]
    cells = [(str(rng.choice(honey)), _cell(*place)) for place in places]
    scene = painted(plain("#b87a10"), cells)
    scene = glow(scene, (0.3, 0.2), "#fff2a8", radius=0.4, strength=0.35)
    for angle in (-2.3, -0.85):
        wing = petals((0.55, 0.5), 0.26, count=1, width=0.5, turn=angle)
        scene = over(scene, "#ffffff", 0.65 * polygons(wing))
    body = np.clip((1 - np.hypot((X - 0.55) * ASPECT / 0.17, (Y - 0.56) / 0.1)) * 40, 0, 1)
    scene = over(scene, "#f0b010", body)
    scene = over(scene, "#2a1a08", body * (np.sin((X - 0.55) * 70) > 0.2))
    return finished(over(scene, "#2a1a08", disc((0.67, 0.55), 0.06)), rng)


def _cell(x: float, y: float) -> list[Point]:
    return [(x + 0.075 * np.sin(angle) / ASPECT, y + 0.075 * np.cos(angle)) for angle in np.arange(6) * np.pi / 3]


def static(rng: Generator) -> Image.Image:
    """Paint the snow of a television without a station."""
    screen = rng.normal(0.5, 0.24, (240, 320)) * (0.94 + 0.06 * np.sin(np.arange(240) * np.pi))[:, None]
    return Image.fromarray((np.clip(screen, 0, 1) * 255).astype(np.uint8)).convert("RGB")


def zebra(rng: Generator) -> Image.Image:
    """Paint the coat of a zebra."""
    bend = 0.08 * np.sin(Y * 5) + 0.12 * clouds(rng, octaves=2)
    stripes = np.sin((X + bend) * 2 * np.pi * 9 + 2 * np.sin(Y * 3))
    return finished(over(plain("#f4f1ea"), "#17151a", np.clip(stripes * 14 + 0.5, 0, 1)), rng)


CLOSEUPS = {
    "garden/violet_flowers.jpg": flowers,
    "garden/yellow_sunflower.jpg": sunflower,
    "garden/red_apple.jpg": apple,
    "garden/orange_pumpkins.jpg": pumpkins,
    "garden/honeycomb_with_a_bee.png": honeycomb,
    "indoors/grey_rain_on_a_window.jpg": rain,
    "indoors/chessboard.png": chessboard,
    "indoors/television_static.png": static,
    "indoors/zebra_stripes.jpg": zebra,
}
"""Path in the folder of photos -> the function that paints it."""
