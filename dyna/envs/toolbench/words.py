"""The words that invented tables are made of."""

from __future__ import annotations


def _split(text: str) -> tuple[str, ...]:
    return tuple(text.split())


FIRST_NAMES = _split(
    "Ada Bruno Carla Dario Elena Felix Greta Hugo Ines Jonas Karin Leo Maya Nils Olga Pavel Quinn "
    "Rosa Simon Tara Uma Viktor Wanda Yusuf Zoe Amir Bella Cyrus Delia Emil Freya Goran"
)
LAST_NAMES = _split(
    "Adler Brandt Castro Duarte Engel Fischer Garcia Holm Ivanov Jansen Keller Lind Moreau Novak "
    "Ortega Petrov Quist Rossi Sato Tanaka Ulrich Vega Weber Yilmaz Zuman Abbas Berg Costa"
)
CITIES = _split(
    "Oslo Lima Cairo Quito Porto Turin Basel Ghent Lyon Leeds Cork Split Varna Tartu Kaunas "
    "Malmo Bergen Aarhus Graz Linz Brno Gdansk Debrecen Patras Seville Tunis Dakar Accra"
)
COUNTRIES = _split(
    "Avaria Belmonia Cordavia Dravenia Estovia Fennmark Galdoria Hestland Istrova Jorvania "
    "Kestria Lorvania Mistral Nordavia"
)
LANGUAGES = _split("Avarian Belmon Cordish Draven Estov Fennic Galdor Hestic Istrov Jorvan")
CURRENCIES = _split("ABC BLM CRD DRV EST FNM GLD HST ISV JRV KST LRV")
COMPANIES = _split(
    "Acorn Beacon Cobalt Delta Ember Falcon Granite Harbor Indigo Juniper Kestrel Lumen Meridian "
    "Nimbus Orbit Pinnacle Quartz Ridge Summit Tundra"
)
INDUSTRIES = ("energy", "software", "textiles", "logistics", "farming", "steel", "toys", "optics")
AIRLINES = ("Blue Wing", "Northair", "Sunjet", "Polar Lines", "Coastal Air", "Meteor")
AIRCRAFT = ("A320", "B737", "E190", "A350", "ATR72")
CARRIERS = ("Swift Post", "Green Parcel", "Roadrunner", "Arrow Freight")
CONDITIONS = ("sunny", "cloudy", "rain", "snow", "fog", "windy", "storm")
GOODS = _split(
    "lamp kettle desk chair rug mirror clock vase blanket toaster fan tent bicycle helmet camera "
    "guitar radio scale ladder drill"
)
COLORS = ("red", "blue", "green", "black", "white", "amber", "silver", "violet")
DEPARTMENTS = ("home", "garden", "sports", "music", "tools", "travel")
BOOK_NOUNS = _split("River Garden Winter Stone Mirror Harvest Island Letter Forest Lantern")
BOOK_SHAPES = ("The {}", "A {} Apart", "Beyond the {}", "{} Songs", "The Last {}", "{} at Dawn")
BRANCHES = ("Central", "Northside", "Harbor", "Hillcrest", "Old Town")
DISHES = ("stew", "pie", "salad", "soup", "curry", "risotto", "tart", "noodles", "pancakes")
INGREDIENTS = _split(
    "lentil carrot potato onion tomato spinach pumpkin leek mushroom barley rice bean cabbage "
    "walnut apple pear"
)
CUISINES = ("Alpine", "Coastal", "Nordic", "Desert", "Island")
ALLERGENS = ("none", "gluten", "nuts", "dairy", "soy", "celery")
GENRES = ("jazz", "folk", "rock", "techno", "soul", "classical")
BAND_NOUNS = _split("Foxes Comets Tides Pilots Sparrows Engines Shadows Giants Wolves Kites")
SONG_NOUNS = _split("Rain Fire Highway Moon Ocean Thunder Summer Echo Paper Glass Ghost")
SONG_SHAPES = ("{} Tonight", "Into the {}", "{} Blues", "My {}", "{} and Dust", "No More {}")
LABELS = ("Redbird", "Monolith", "Paper Crane", "Low Tide", "Northlight")
MOVIE_NOUNS = _split("Harbor Signal Orchard Tunnel Compass Storm Castle Desert Bridge Empire")
MOVIE_SHAPES = ("The {}", "{} of Ashes", "Return to {}", "Silent {}", "The Second {}")
CINEMAS = ("Rex", "Palace", "Odeon", "Lumiere", "Astra", "Capitol")
STUDIOS = ("Bluebird Films", "Tower Pictures", "Nightjar", "Old Mill")
MASCOTS = _split("Lions Hawks Bears Rovers Sharks Eagles Titans Wolves Stags Comets")
STADIUMS = ("Park", "Arena", "Field", "Dome")
EVENT_NOUNS = ("review", "workshop", "dinner", "kickoff", "training", "briefing", "interview")
EVENT_TOPICS = ("budget", "design", "sales", "safety", "launch", "hiring", "travel", "quality")
ROOMS = ("kitchen", "hall", "garage", "office", "bedroom", "attic", "cellar")
GADGETS = ("thermostat", "camera", "speaker", "lock", "sensor", "lamp", "blind")
JOBS = ("welder", "analyst", "driver", "chef", "nurse", "planner", "tester", "editor")
SUBJECTS = ("invoice", "minutes", "tickets", "contract", "photos", "survey", "reminder", "offer")
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
HOTEL_NAMES = _split("Aurora Bristol Crown Dolphin Elm Fountain Grand Horizon Ivy Jubilee")
MAKES = ("Corvo", "Lyra", "Nadir", "Pica", "Tonda")
