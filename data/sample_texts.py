"""The texts of the sample collection."""

from __future__ import annotations

TEXTS = {
    "a_day_at_the_sea.txt": """\
We left the harbour at nine. The sea was calm and blue, blue water to the edge of the world, and the only
sounds were the waves along the hull and the flap of the sail. By noon we had lost sight of the beach.
""",
    "pumpkin_soup.md": """\
# Pumpkin soup

- one orange pumpkin, about a kilo
- two carrots, an onion, a thumb of ginger

Roast the pumpkin until its edges turn brown, then simmer everything in stock for twenty minutes and blend it.
""",
    "bird_diary.md": """\
# Bird diary

**12 May.** Up before dawn. Birdsong from every hedge: first the blackbird, then two wrens, then a high, thin
whistle that I could not place. **13 May.** The whistle again. A goldcrest!
""",
    "invoice.txt": """\
Invoice no. 2041
Repair of one bicycle gear hub, labour two hours, spare parts as listed overleaf.
Payable within thirty days. Thank you for your custom.
""",
    "winter_poem.txt": """\
Snow on the mountain, snow on the pine,
white on white where the ice winds whine;
the winter is bright, and the lake is still,
and one white cloud has come over the hill.
""",
    "night_walk.srt": """\
1
00:00:01,000 --> 00:00:04,000
It is a dark night, and the street is silent.

2
00:00:05,000 --> 00:00:08,500
Far away a low rumble: thunder, or a train?

3
00:00:09,000 --> 00:00:12,000
Then an alarm starts beeping, and a siren answers.
""",
}
"""Name in the folder of notes -> content."""
