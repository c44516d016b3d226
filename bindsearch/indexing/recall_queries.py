"""Typical text queries, with which the recall of an index is measured besides vectors of the library.

They are the same for everybody. Queries that were really asked are never stored.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from bindsearch.spaces.space import Space
from bindsearch.spaces.text_vectors import cached_text_vectors
from bindsearch.types import Vectors

RECALL_QUERIES = tuple(
    """\
a dog barking in the distance|rain on a roof|birds singing at dawn|waves on a beach|a crowd cheering in a stadium
church bells|a steam train passing|someone laughing|footsteps on gravel|a door closing|thunder far away|a baby crying
an engine starting|a helicopter overhead|glass breaking|wind in the trees|a piano in an empty room|drums|applause
a phone ringing|typing on a keyboard|frogs at night|a cat purring|fireworks|a siren going by|water dripping|cows
sunset over the sea|a red car|people dancing at a wedding|snow on mountains|a child on a bicycle|my grandmother
a birthday cake with candles|a map|street at night with neon lights|a boat in a harbour|a bowl of soup|sunflowers
two people shaking hands|a page of handwriting|an empty classroom|a black and white portrait|a market with fruit
a waterfall in a forest|a bridge in fog|a football match|the moon|a horse in a field|a kitchen|an old castle
someone plays guitar by a campfire|a concert from the crowd|a speech|a recipe|a meeting about the budget|how to fix it
dark and quiet|something funny|summer|music|nature|machine noise|underwater""".replace("\n", "|").split("|")
)


def recall_query_vectors(space: Callable[[], Space], folder: Path, dim: int) -> Vectors:
    """Return the vectors of the queries, embedded once and cached; none in a space without text. *Shape:* (n, dim)"""
    return cached_text_vectors(RECALL_QUERIES, space, folder / "typed", dim=dim)
