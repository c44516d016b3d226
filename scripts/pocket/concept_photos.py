# ruff: noqa: E501 -- one entry of the table per line
"""A table of which photos show what makes a sound. The training of the pocket model uses names of sounds for nothing else.

A line has the names of a sound, the ImageNet and Caltech101 classes whose photos show it, and words for it in the
captions of Flickr8k's training photos. A name needs no line if its own words find its photos.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

TABLE = """
airplane: airliner, airplane, wing, warplane | airplane, plane, jet
baby crying, crying baby, baby: bassinet, crib, cradle, diaper | baby, infant, crying
breathing: oxygen mask, mask | face, sleeping
brushing teeth: washbasin | toothbrush, brushing
can opening, opening a cola can, soda fizzing: pop bottle, can opener | soda, can
car horn, car, traffic, cars passing: cab, convertible, sports car, limousine, beach wagon, minivan | car, cars, traffic, taxi
cat, cat meowing, cat purring: tabby, tiger cat, Persian cat, Siamese cat, Egyptian cat | cat, kitten
chainsaw: chain saw | saw, logs
chirping birds, birds, bird singing, birds singing: robin, junco, house finch, goldfinch, chickadee, brambling, bulbul | bird, birds
church bells: church, bell cote | church
clapping, applause, crowd, crowd cheering: | crowd, audience, spectators, fans, cheering, clapping
clock alarm, ringing: analog clock, digital clock | clock
clock tick, clock ticking: wall clock, analog clock, stopwatch, watch | clock, watch
coughing, sneezing, sneeze: | face, mouth, nose
cow: ox | cow, cows, cattle
crackling fire, campfire, bonfire, firewood burning: stove, volcano | fire, campfire, bonfire, flames
crickets, insects at night, cicadas: cricket, grasshopper, cicada | insect, night
crow, crows: magpie, black grouse, vulture, kite | crow, crows, blackbird
dog, dog barking: Labrador retriever, golden retriever, German shepherd, beagle, boxer | dog, dogs
door wood creaks, door wood knock, knock, door opening, doorbell: sliding door | door, doorway
drinking sipping, drinking water: cup, water bottle, beer glass | drinking, drinks
engine: tractor, race car, racer, moped, motor scooter, motorbike | engine, motorcycle, motor
fireworks, firework: | fireworks, sparkler, sparklers
footsteps, high heels walking: running shoe, sandal | walking, walks
frog, frogs: bullfrog, tree frog, tailed frog | frog
glass breaking: goblet, beer glass | glass, glasses
hand saw: carpenter's kit, plane, hammer, lumbermill | saw, wood, carpenter
helicopter: helicopter | helicopter
hen, chicken: hen, cock, prairie chicken, partridge | chicken, chickens
insects, bee, fly, mosquito, bee buzzing: bee, fly, dragonfly | bee, insect
keyboard typing, typing on a keyboard, keyboard: computer keyboard, laptop, space bar, typewriter keyboard | computer, laptop, keyboard
laughing, laughter: | laughing, laughs, laugh, smiles, smiling
mouse click, click: mouse, desktop computer, laptop | computer
pig: hog, wild boar | pig
pouring water, water flow, dripping water, water drop: pitcher, water jug, fountain | pouring, hose, sprinkler
rain, heavy rain, moderate rain, rain on roof, rain on window, rain on umbrella: umbrella | rain, umbrella, rainy, raining, wet
rooster: cock, rooster | rooster
sea waves, waves, ocean waves, sea, ocean, seaside: seashore, sandbar, promontory, breakwater | waves, ocean, surf, surfer
sheep: ram, bighorn | sheep
siren, ambulance, police car, fire engine: ambulance, police van, fire engine | police, ambulance, firefighter, firetruck
snoring: studio couch, four-poster | sleeping, sleeps, asleep, bed
thunderstorm, thunder: | storm, lightning, stormy, cloudy, clouds
toilet flush, toilet flushing: toilet seat, washbasin | toilet, bathroom
train: steam locomotive, electric locomotive, passenger car, bullet train, freight car | train, railroad, tracks
vacuum cleaner: vacuum, broom | vacuum, vacuuming
washing machine, dryer: washer, dishwasher | laundry
water drops, bubbles, bubble: bubble, washbasin | bubbles, bubble, faucet
wind, howling wind, heavy wind, desert wind, wind in trees: | wind, windy, kite, kites
air conditioner, fan: electric fan, window shade | fan
children playing: swing | children, kids, playground
drilling, drill, jackhammer, construction site: power drill, crane | construction, drill, jackhammer, hardhat
gunshot, sniper rifle shot: rifle, revolver, assault rifle | gun, rifle, paintball
street music: accordion, acoustic guitar, violin, drum | band, guitar, musician, musicians, drums
street, urban ambience, paris street corner: street sign, traffic light, streetcar | street, city, sidewalk
lion, lion roaring: lion | lion
donkey: | donkey, mule
monkey: macaque, guenon, baboon, capuchin, spider monkey, chimpanzee | monkey
elephant: African elephant, Indian elephant, elephant | elephant
horse: sorrel | horse, horses
duck: drake | duck, ducks
wolf, wolf howling: timber wolf, white wolf | wolf
cafe, bar ambience, paris cafe: restaurant | restaurant, cafe, bar
waterfall: | waterfall
stream, river, stream of water: lakeside, valley | river, stream, creek
forest: | forest, woods, trees
walking in snow, walking on ice: | snow, snowy
motorcycle: motorbike, moped | motorcycle, motorbike, motorcyclist
bicycle, bicycle bell: mountain bike, bicycle-built-for-two | bicycle, bike, cyclist
guitar, guitar melody: acoustic guitar | guitar
piano: grand piano | piano
snare drum, drum roll, drum kit, drum set, dirt drum, dirt sn, dirt bd, dirt sd, dirt gretsch: drum, drumstick | drums, drum
dirt birds, dirt birds3: robin, junco, jay | bird, birds
dirt crow: | crow
dirt tabla, dirt tabla2: drum | drum
dirt wind: | wind, windy
dirt fire: stove | fire, campfire
dirt bottle: wine bottle, beer bottle, pop bottle | bottle
dirt sax: sax, saxophone | saxophone
dirt sitar: banjo, acoustic guitar | guitar
dirt insect: cricket, cicada, grasshopper | insect
dirt lighter: lighter, matchstick | lighter, cigarette
"""


@dataclass(frozen=True, slots=True)
class PhotoTerms:
    """The classes and caption words by which photos of a sound's source are found."""

    classes: tuple[str, ...]
    words: tuple[str, ...]


def terms_by_concept() -> dict[str, PhotoTerms]:
    """Return the table, by a sound's name."""
    terms = {}
    for line in TABLE.strip().splitlines():
        names, _, rest = line.partition(":")
        classes, _, words = rest.partition("|")
        for name in _split(names):
            terms[name] = PhotoTerms(_split(classes), _split(words))
    return terms


def photo_terms(concept: str) -> PhotoTerms:
    """Return the table's terms for a concept, or else the words of its name; names of drum samples are not words."""
    listed = terms_by_concept().get(concept)
    if listed:
        return listed
    if concept.startswith("dirt "):
        return PhotoTerms((), ())
    words = tuple(word for word in re.findall(r"[a-z]+", concept.lower()) if len(word) > 2)
    return PhotoTerms((concept, *words), words)


def _split(words: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in words.split(",") if word.strip())
