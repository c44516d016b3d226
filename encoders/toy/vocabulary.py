"""The vocabulary of the `toy` space: which visual attributes a word stands for.

Each line of the table holds one set of attributes, shared by all words after the bar. The columns are those of
`VisualAttributes`: hue in degrees (several with commas), then colour, light, rhythm and grain from 0 to 1. A dot means
"not specified". The table is part of the fingerprint of the space.
"""

from __future__ import annotations

from typing import NamedTuple


class VocabularyEntry(NamedTuple):
    """One line of the table; None where the column is not specified."""

    hues: tuple[int, ...]
    colour: float | None
    light: float | None
    rhythm: float | None
    grain: float | None


TABLE = """
# hue  colour light rhythm grain | colours
    0     1     .     .     .    | red crimson scarlet ruby cherry tomato strawberry blood rose
   28     1     .     .     .    | orange amber pumpkin tangerine copper
   52     1     .     .     .    | yellow golden gold lemon banana sunflower honey honeycomb
   85     1     .     .     .    | lime
  120     1     .     .     .    | green emerald
  180     1     .     .     .    | cyan turquoise teal
  228     1     .     .     .    | blue azure navy cobalt sapphire
  275     1     .     .     .    | violet indigo lilac lavender amethyst
  298     1     .     .     .    | purple magenta plum
  340    .8    .7     .     .    | pink
   25    .7    .3     .     .    | brown wood wooden chocolate coffee earth soil bark
    .     0    .5     .     .    | grey gray silver concrete stone ash
    .     .     0     .     .    | black coal soot
    .     .     1     .     .    | white milk ivory chalk paper
0,60,120,180,240,300 1 . . .     | rainbow multicoloured
    .     1     .     .     .    | colourful colorful colour color vivid tone tonal pure musical melody music
    .    .1     .     .     .    | pale faded washed monochrome colourless

# hue  colour light rhythm grain | what is seen outdoors
  215     1    .5     .     .    | sea ocean water wave river lake pool underwater
  210    .9    .6     .     0    | sky
  110     1    .4     .     .    | forest tree grass leaf meadow jungle plant garden park field fern moss
   20     1    .5     .     .    | sunset sunrise dusk dawn evening
   18     1    .3     .     .    | fire flame bonfire campfire candle lava ember volcano
   48    .8    .9     .     .    | sun sunny sunlight sunshine summer
   42   .85   .65     .     .    | sand beach desert wheat straw
   30    .9   .45     .     .    | autumn
    .     .    .95    .     .    | snow snowy winter ice frost
    .    .2    .9     0     0    | cloud cloudy
    .     0    .6     0     0    | fog foggy mist misty smoke haze
    .    .1    .6     .     .    | mountain rock cliff
  235    .6   .05     .     .    | night midnight moonlight nocturnal
    .     .    .05    .     .    | dark darkness shadow dim gloomy cave
    .     .    .95    .     .    | bright light lit glowing shining
  230    .4    .1     .    .4    | star starry
  280     1    .5     .     .    | flower blossom iris
    0     1    .5     .     .    | heart poppy apple

# hue  colour light rhythm grain | pattern
    .     .     .     1     .    | striped stripe checkered chequered chessboard chess checkerboard pattern grid
    .     .     .    .9     .    | busy crowd crowded city
    .     .     .     0     0    | plain smooth calm still flat empty uniform
    .     .     .     .     1    | noisy grainy rough gravel sparkling

# hue  colour light rhythm grain | what is heard: low to high
    0    .9     .     .     .    | low bass lowest
    0    .8     .     .    .1    | rumble rumbling thunder earthquake growl roar storm
    5    .8     .     .     .    | engine motor truck tractor train ship foghorn
    0    .7     .    .9     .    | drum heartbeat thud thump kick
   25     1     .     .     .    | cello tuba bassoon cow moo
   52     1     .     .     .    | bee buzz buzzing hum humming mosquito wasp drone
   95     1     .     .     .    | voice speech singing choir middle mid horn trumpet guitar piano
  120     1     .     .     .    | bell chime gong ringing clarinet
  155     1     .     .     .    | siren wail ambulance police
  165     1     .     1     .    | beep beeping alarm bleep buzzer signal
  200     1     .     .     .    | flute
  262     1     .     .     .    | whistle whistling high shrill piccolo highest piercing
  262     1     .    .8     .    | bird birdsong chirp chirping tweet cricket canary
  250    .9     .    .6     .    | squeak squeal

# hue  colour light rhythm grain | what is heard: noise, loudness, rhythm
    .     0     .     0    .9    | noise hiss hissing static spray
    .    .1     .     0   .05    | wind windy breeze breath breathing blowing
    .     0    .4     0    .5    | rain rainy raining drizzle shower waterfall surf
    .     0     .    .9    .7    | applause clapping typing crackle crackling footstep
    .     .     .     1     .    | tick ticking clock pulse pulsing rhythm rhythmic beat knock knocking
    .     .     .     0     .    | steady constant continuous
    .     .     0     .     .    | silence silent mute nothing
    .     .    .1     .     .    | quiet soft faint whisper hush
    .     .    .95    .     .    | loud noisily shout explosion
"""

FILLERS = frozenset(
    """a an the of in on at by to and or with from for is are was it its this that these those some
    sound recording audio clip hear heard you can photo picture image drawing video view scene seen text note about
    close up""".split()
)
"""Words that name a medium or carry no meaning here; they are ignored."""


def _parse_table(table: str) -> dict[str, VocabularyEntry]:
    lines = (line for line in table.splitlines() if line and not line.startswith("#"))
    return {word: entry for line in lines for entry, words in [_parse_row(line)] for word in words.split()}


def _parse_row(line: str) -> tuple[VocabularyEntry, str]:
    columns, _, words = line.partition("|")
    hues, *amounts = columns.split()
    degrees = () if hues == "." else tuple(int(hue) for hue in hues.split(","))
    colour, light, rhythm, grain = (None if amount == "." else float(amount) for amount in amounts)
    return VocabularyEntry(degrees, colour, light, rhythm, grain), words


VOCABULARY = _parse_table(TABLE)


def singular(word: str) -> str:
    """Return the singular: the form that the vocabulary has, else the word without its plural `s`."""
    for form in (word, word.removesuffix("s"), word.removesuffix("es")):
        if form in VOCABULARY:
            return form
    return word.removesuffix("s") if len(word) > 3 and not word.endswith("ss") else word
