"""Background queries: sentences that people might search for, but that have nothing to do with this library.

They are composed from the words below by a fixed rule, so they are the same for every library. Calibration scores them
to measure how well unrelated queries match. A library may really match some of them; `null_distribution` allows for
that.
"""

from __future__ import annotations

from functools import lru_cache

_THINGS = tuple(
    """\
a contract|the witness|a verdict of guilty|the tax office|a parking fine|the notary|a will|a court of appeal
a share price|interest rates|a bank loan|an invoice|the stock exchange|a pension|a coin collection|inflation
a test tube|sulphuric acid|a crystal of salt|the periodic table|a catalyst|a polymer|litmus paper|a gas burner
a comet|the rings of Saturn|a rocket launch|an astronaut|a radio telescope|the milky way|a solar eclipse|a satellite
a frying pan|chopped onions|sourdough bread|a bowl of noodles|grilled fish|a chocolate cake|boiling water|a recipe
a stethoscope|an operating theatre|a vaccine|a broken leg|blood pressure|a dentist|a pill|an x-ray of a hand
a tennis match|a goalkeeper|a swimming race|a boxing ring|a marathon|a golf course|a chess tournament|a referee
a tank|soldiers marching|a trench|a castle under siege|a submarine|the peace treaty|a cannon|a bombed city
a monk at prayer|a temple|an altar|a mosque at dusk|the pope|a funeral|a wedding ring|a shrine
a computer program|a spreadsheet|a broken password|a laptop on a desk|a database|a bug report|a web page|a robot
a tractor|a wheat field|a flock of sheep|a barn|a beehive|a scarecrow|picking apples|a milking machine
a volcano|an earthquake|a cave with crystals|a glacier|desert dunes|a fossil|a gold mine|a canyon
a wedding dress|a leather boot|a sewing machine|a silk scarf|a wool hat|a fashion show|a zip|a pair of glasses
an oil painting|a marble statue|a comic strip|a violinist|an opera singer|a museum|a puppet theatre|a film poster
a lighthouse|a sailing boat|a shark|a coral reef|a fishing net|high tide|a cargo ship|a jellyfish
a gear wheel|a steam engine|a drill|a lathe|an escalator|a conveyor belt|a pump|a clock tower
a pharaoh|the Roman army|a medieval map|a knight in armour|the industrial revolution|a typewriter|a pyramid|a Viking
a proof|a triangle|prime numbers|an equation on a blackboard|a probability|a pie chart|a sphere|infinity
a wooden chair|a bathtub|a kitchen sink|a bunk bed|a vase on a table|a chandelier|a broken window|a key in a lock
an election|a protest march|the prime minister|a debate in parliament|a border crossing|a flag|a speech|a mayor
a cactus|a rose|autumn leaves|a mushroom|bamboo|a water lily|moss on a stone|a pine forest
an elephant|a parrot|a spider in its web|a horse|a snail|a penguin|a butterfly|a wolf
an airport|a hotel room|a suitcase|a cable car|a train station|a passport|a bus stop|a campsite
a thunderstorm|thick fog|a rainbow|a snowstorm|a heat wave|hail on a car|a tornado|a sunset
a job interview|a factory floor|an office meeting|a strike|a carpenter|a postman|a crane|a business card
a classroom|a graduation|a dictionary|a homework exercise|a pencil|a library shelf|a lecture|a kindergarten
a drum kit|a church organ|a jazz band|a vinyl record|a choir|an electric guitar|a trumpet|a lullaby
a skyscraper|a traffic jam|a street market|a bridge at night|graffiti on a wall|a fountain|an alley|a fire engine
grief|a quiet joy|being late|homesickness|a bitter quarrel|pride|boredom|first love
a pineapple|a cup of coffee|cheese|a bunch of grapes|sushi|an ice cream|a hamburger|a glass of wine
a board game|a doll|a kite|a playground swing|a jigsaw puzzle|a card trick|a toy train|a magician
a love letter|a stamp|a crossword|a page of handwriting|a road sign|a newspaper|a book cover|a secret code\
""".replace("\n", "|").split("|")
)
_FORMS = (
    *(
        "{a}",
        "{a} at noon",
        "{bare}",
        "{a} and {b}",
        "{a} next to {b}",
        "a photo of {a}",
        "the sound of {a}",
        "old {bare}",
    ),
    *("somebody talks about {a}", "{a} in the evening", "she remembered {a} and {b}", "why is there {a}?"),
    *("nobody had expected {a} so early", "{a} far away", "they sold {a} for {b}", "{a} with {b} behind it"),
)
QUERIES_PER_THING = 2
"""Number of background queries about each thing, each in another form."""
_ARTICLES = ("a ", "an ", "the ")


@lru_cache(maxsize=1)
def background_texts() -> tuple[str, ...]:
    """Return all background queries."""
    return tuple(_text(thing, turn) for thing in range(len(_THINGS)) for turn in range(QUERIES_PER_THING))


def form_numbers() -> tuple[int, ...]:
    """Return the number of the form of each background query."""
    return tuple(_form(thing, turn) for thing in range(len(_THINGS)) for turn in range(QUERIES_PER_THING))


def thing_numbers() -> tuple[int, ...]:
    """Return the number of the thing that each background query is about."""
    return tuple(thing for thing in range(len(_THINGS)) for _ in range(QUERIES_PER_THING))


def _form(thing: int, turn: int) -> int:
    """Return the number of the form of a query; forms are spread evenly over the things."""
    return (QUERIES_PER_THING * thing + turn + thing // 8) % len(_FORMS)


def _text(number: int, turn: int) -> str:
    """Put a thing into a form, with a second thing if the form takes two."""
    thing, other = _THINGS[number], _THINGS[(37 * number + 91 * (turn + 1)) % len(_THINGS)]
    form = _FORMS[_form(number, turn)]
    bare = next((thing.removeprefix(article) for article in _ARTICLES if thing.startswith(article)), thing)
    return form.format(a=thing, b=other, bare=bare)
