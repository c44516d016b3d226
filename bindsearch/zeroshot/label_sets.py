"""Built-in sets of labels, and parsing of labels as people write them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from bindsearch.core.suggest import did_you_mean
from bindsearch.errors import BadQuery

SET = "set:"
"""Prefix of the name of a built-in set among labels."""

_SETS = {
    "animals": "dog, cat, horse, cow, sheep, goat, pig, rabbit, mouse, monkey, lion, elephant, bear, fox, frog, snake, "
    "turtle, fish, butterfly, bee, spider",
    "birds": "songbird, crow, owl, seagull, duck, goose, chicken, rooster, pigeon, parrot, eagle, swan, woodpecker, "
    "cuckoo, penguin",
    "household": "door, clock, alarm clock, telephone, television, washing machine, vacuum cleaner, kettle, dishes, "
    "running tap, toilet, keyboard, chair, table, bed, lamp, book, window",
    "music": "piano, guitar, violin, cello, flute, trumpet, saxophone, drums, organ, harp, accordion, bagpipes, choir, "
    "singing voice, orchestra, electronic music",
    "nature": "rain, thunderstorm, wind, sea waves, river, waterfall, fire, forest, meadow, mountain, desert, beach, "
    "lake, snow, night sky, sunset",
    "vehicles": "car, truck, bus, motorcycle, bicycle, train, tram, airplane, helicopter, boat, ship, tractor, "
    "ambulance",
    "people": "speech, laughter, crying baby, applause, crowd, footsteps, cough, sneeze, snoring, whisper, shout, "
    "portrait, group of people",
    "city": "street, traffic, construction site, siren, church bells, market, station, restaurant, playground, "
    "fireworks, skyscraper, bridge",
    "tools": "hammer, saw, chainsaw, drill, scissors, axe, engine, sewing machine, lawn mower, wrench, ladder",
    "food": "bread, cake, soup, pizza, salad, fruit, vegetables, meat, cheese, coffee, wine, ice cream",
    "weather": "sunshine, clouds, rain, hail, thunder, lightning, fog, snowfall, storm, rainbow",
    "sports": "football, basketball, tennis, swimming, cycling, running, skiing, surfing, boxing, horse riding",
}

LABEL_SETS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {name: tuple(label.strip() for label in labels.split(",")) for name, labels in _SETS.items()}
)
"""Built-in lists of labels by name: `set:NAME` stands for all labels of one."""

EVERYDAY: tuple[str, ...] = tuple(
    "dog, cat, horse, bird, insect, fish, tree, flower, grass, forest, mountain, beach, river, rain, wind, thunder, "
    "snow, fire, sky, street, house, room, kitchen, bridge, car, train, airplane, boat, bicycle, engine, siren, bell, "
    "clock, telephone, computer, door, window, chair, bottle, knife, hammer, shoes, clothes, hat, bread, fruit, drink, "
    "man, woman, child, baby, face, hand, crowd, speech, laughter, footsteps, singing, piano, guitar, drums, "
    "silence, noise, text, sign, map, painting, pattern, darkness, game".split(", ")
)
"""A broad sample of everyday things."""

BACKGROUND: tuple[str, ...] = tuple(
    dict.fromkeys((*EVERYDAY, *(label for some in LABEL_SETS.values() for label in some)))
)
"""The labels that stand for everything else where "none of these" may be the answer. More labels refuse better."""


def chosen_labels(labels: Iterable[str]) -> tuple[str, ...]:
    """Strip and deduplicate labels, and expand built-in sets. Raises `BadQuery`."""
    if isinstance(labels, str):
        raise BadQuery(f"pass labels as a list: [{labels!r}]")
    found = [each for label in labels for each in _expanded(label.strip())]
    return tuple(dict.fromkeys(label for label in found if label))


def read_labels(words: str) -> list[str]:
    """Read comma-separated labels, or one per line from `@FILE`. Raises `BadQuery`, `OSError`."""
    if not words.startswith("@"):
        return [label.strip() for label in words.split(",") if label.strip()]
    try:
        lines = Path(words[1:]).expanduser().read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise BadQuery(f"{words[1:]}: the labels must be in UTF-8 ({error.reason})") from error
    return [line.strip() for line in lines if line.strip()]


def background_for(labels: Sequence[str], background: Iterable[str] = BACKGROUND) -> tuple[str, ...]:
    """Return the background labels that share no word with any of the labels."""
    taken = {word for label in labels for word in _words(label)}
    return tuple(label for label in chosen_labels(background) if taken.isdisjoint(_words(label)))


def _expanded(label: str) -> tuple[str, ...]:
    if not label.startswith(SET):
        return (label,)
    name = label.removeprefix(SET).strip()
    if name not in LABEL_SETS:
        meant = did_you_mean(name, LABEL_SETS, prefix=SET)
        raise BadQuery(f"no set of labels is called {name!r}{meant}; there are {', '.join(LABEL_SETS)}")
    return LABEL_SETS[name]


def _words(label: str) -> set[str]:
    """Return the comparable words of a label: three letters or more, without a plural s."""
    words = re.findall(r"\w+", label.casefold())
    return {word.removesuffix("s") for word in words if len(word) > 2} or {label.casefold()}
