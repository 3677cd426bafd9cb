"""The words from which schemas and gold documents are built.

A key name means the same everywhere: ``FIELDS`` maps it to its kind and to the values it
may hold, so a gold document can be filled from a schema's key names alone. Which keys go
well together is told in ``scenes``. All splits share these words: what the splits keep
apart is structure (see ``skeleton``), not vocabulary. Small on purpose, so that the
tokenizer of a tiny model can hold a key in one token.
"""

from dataclasses import dataclass
from enum import StrEnum

__all__ = [
    "FIELDS",
    "FREE_VALUES",
    "LISTS",
    "MAPS",
    "PATTERNS",
    "Field",
    "Kind",
    "Pattern",
]


class Kind(StrEnum):
    """What a key or an array item holds."""

    TEXT = "text"
    INTEGER = "integer"
    NUMBER = "number"
    BOOLEAN = "boolean"
    ENUM = "enum"
    CONST_TEXT = "const_text"
    CONST_INTEGER = "const_integer"
    CONST_BOOLEAN = "const_boolean"
    DATE = "date"
    EMAIL = "email"
    URI = "uri"
    CODE = "code"


@dataclass(frozen=True, slots=True)
class Field:
    """The kind and the values of a key."""

    kind: Kind
    values: tuple[str | int | bool, ...] = ()
    """The pool that text, enums and constants are drawn from."""
    low: int = 0
    """Smallest plausible number."""
    high: int = 0
    """Largest plausible number."""


@dataclass(frozen=True, slots=True)
class Pattern:
    """A regular expression that words can describe in full."""

    regex: str
    sample: str
    """A template: ``A`` stands for any capital letter, ``0`` for any digit."""
    wordings: tuple[str, str, str]


def _pool(kind: Kind, table: dict[str, str]) -> dict[str, Field]:
    return {
        name: Field(kind, values=tuple(value.strip() for value in values.split(",")))
        for name, values in table.items()
    }


def _span(kind: Kind, table: dict[str, tuple[int, int]]) -> dict[str, Field]:
    return {name: Field(kind, low=low, high=high) for name, (low, high) in table.items()}


def _bare(kind: Kind, names: str) -> dict[str, Field]:
    return {name: Field(kind) for name in names.split()}


_TEXT = {
    "name": "Luna, Atlas, Nova, Maple, Orion, Iris",
    "title": "Blue River, First Light, The Long Road, Night Train, Open Sea",
    "author": "Ana Silva, Tom Reed, Mei Chen, Omar Haddad",
    "city": "Lisbon, Oslo, Kyoto, Lima, Nairobi, Porto",
    "country": "Portugal, Norway, Japan, Peru, Kenya",
    "street": "Main Street, Mill Lane, Park Road, Station Square",
    "brand": "Acme, Northwind, Globex, Initech",
    "company": "Acme, Northwind, Globex, Initech",
    "team": "Falcons, Rovers, Wolves, Comets",
    "artist": "Mira Lane, The Tides, Jon Vale, Echo Park",
    "teacher": "Ana Silva, Tom Reed, Mei Chen, Omar Haddad",
    "customer": "Ana Silva, Tom Reed, Mei Chen, Omar Haddad",
    "note": "Handle with care, Call first, No rush, Leave at the door",
    "summary": "A short visit, A quiet start, Fixed the leak, All went well",
    "description": "Light and sturdy, Easy to clean, Made of oak, Fits most rooms",
    "comment": "Very good, As expected, Too slow, Would buy again",
    "host": "alpha, gateway, mirror, backup",
    "origin": "Lisbon, Oslo, Kyoto, Lima",
    "destination": "Nairobi, Porto, Boston, Turin",
    "material": "steel, oak, cotton, glass, wool",
    "breed": "Beagle, Siamese, Collie, Persian",
    "model": "Swift, Comet, Terra, Pulse",
    "ingredient": "flour, butter, salt, basil, rice",
}
_INTEGER = {
    "age": (1, 90),
    "pages": (40, 900),
    "year": (1950, 2030),
    "quantity": (1, 60),
    "stock": (0, 400),
    "seats": (2, 300),
    "rooms": (1, 40),
    "floor": (1, 30),
    "guests": (1, 12),
    "minutes": (5, 180),
    "hours": (1, 48),
    "days": (1, 30),
    "port": (1024, 9000),
    "retries": (0, 10),
    "votes": (0, 900),
    "points": (0, 100),
    "goals": (0, 9),
    "rank": (1, 50),
    "number": (1, 99),
    "count": (1, 100),
    "students": (5, 60),
    "servings": (1, 12),
    "calories": (50, 900),
    "population": (1000, 90000),
    "battery": (1, 100),
}
_NUMBER = {
    "price": (1, 200),
    "total": (5, 900),
    "discount": (0, 50),
    "rating": (1, 5),
    "score": (0, 100),
    "weight": (1, 80),
    "width": (1, 90),
    "height": (1, 90),
    "length": (1, 90),
    "distance": (1, 500),
    "speed": (1, 120),
    "temperature": (1, 40),
    "humidity": (10, 90),
    "area": (10, 400),
    "tax": (1, 25),
}
_BOOLEAN = "active verified available paid open public urgent enabled archived featured"
_ENUM = {
    "status": "new, active, done, closed",
    "priority": "low, medium, high",
    "size": "small, medium, large",
    "color": "red, green, blue, black, white",
    "genre": "crime, fantasy, poetry, travel",
    "category": "food, home, sport, music",
    "language": "english, spanish, german, french",
    "role": "admin, editor, viewer, guest",
    "season": "spring, summer, autumn, winter",
    "weekday": "monday, tuesday, friday, sunday",
    "unit": "kg, cm, liter, piece",
    "payment": "card, cash, invoice",
    "weather": "sunny, cloudy, rainy, windy",
    "level": "basic, middle, expert",
    "fuel": "petrol, diesel, electric",
}
_CONST_TEXT = {
    "currency": "EUR, USD, JPY",
    "type": "record, entry, event",
    "source": "web, app, mail",
    "mode": "auto, manual, test",
}

FIELDS: dict[str, Field] = {
    **_pool(Kind.TEXT, _TEXT),
    **_span(Kind.INTEGER, _INTEGER),
    **_span(Kind.NUMBER, _NUMBER),
    **_bare(Kind.BOOLEAN, _BOOLEAN),
    **_pool(Kind.ENUM, _ENUM),
    **_pool(Kind.CONST_TEXT, _CONST_TEXT),
    **{
        name: Field(Kind.CONST_INTEGER, values=(1, 2, 3))
        for name in ("version", "revision", "edition")
    },
    **{
        name: Field(Kind.CONST_BOOLEAN, values=(True, False))
        for name in ("draft", "preview", "sample")
    },
    **_bare(Kind.DATE, "date start_date end_date created_on due_date birthday"),
    **_bare(Kind.EMAIL, "email contact_email reply_to"),
    **_bare(Kind.URI, "url website image_url"),
    **_bare(Kind.CODE, "code sku serial badge zone"),
}
"""Keys of single values."""

LISTS: dict[str, Field] = {
    **_pool(
        Kind.TEXT,
        {
            "tags": "new, sale, gift, classic, travel, family",
            "colors": "red, green, blue, black, white, yellow",
            "cities": "Lisbon, Oslo, Kyoto, Lima, Nairobi, Porto",
            "names": "Ana, Tom, Mei, Omar, Luna, Iris",
            "tools": "hammer, saw, drill, tape, brush, ladder",
            "fruits": "apple, pear, plum, mango, fig, grape",
            "languages": "english, spanish, german, french, dutch, polish",
            "topics": "history, music, science, sport, art, food",
        },
    ),
    **_span(
        Kind.INTEGER,
        {"scores": (0, 100), "years": (1990, 2030), "ports": (1024, 9000), "marks": (1, 20)},
    ),
    **_span(Kind.NUMBER, {"prices": (1, 200), "weights": (1, 80), "readings": (1, 50)}),
    **_bare(Kind.BOOLEAN, "answers checks"),
    **_pool(
        Kind.ENUM,
        {
            "sizes": "small, medium, large, huge",
            "weekdays": "monday, tuesday, thursday, friday, sunday",
            "seasons": "spring, summer, autumn, winter",
            "roles": "admin, editor, viewer, guest",
        },
    ),
    **_bare(Kind.DATE, "dates holidays"),
    **_bare(Kind.EMAIL, "emails recipients"),
    **_bare(Kind.URI, "links images"),
    **_bare(Kind.CODE, "codes badges"),
}
"""Keys of arrays of single values; the field describes one item."""

FREE_VALUES: dict[str, Field] = {
    "string": LISTS["tags"],
    "integer": LISTS["scores"],
    "number": LISTS["prices"],
}
"""Values by JSON type, for objects whose keys are free."""

MAPS: dict[str, tuple[str, ...]] = {
    "results": ("Ana", "Tom", "Mei", "Omar", "Luna"),
    "settings": ("theme", "sound", "zoom", "font", "menu"),
    "inventory": ("hammer", "saw", "drill", "tape", "brush"),
    "translations": ("en", "es", "de", "fr", "pl"),
    "forecast": ("monday", "tuesday", "friday", "sunday", "thursday"),
}
"""Keys of objects whose own keys are free, with names that suit them."""

PATTERNS = (
    Pattern(
        "^[A-Z]{3}$",
        "AAA",
        (
            "made of three capital letters",
            "of exactly three capital letters A-Z",
            "that looks like ABC: three capital letters",
        ),
    ),
    Pattern(
        "^[0-9]{4}$",
        "0000",
        (
            "made of four digits",
            "of exactly four digits 0-9",
            "that looks like 0420: four digits",
        ),
    ),
    Pattern(
        "^[A-Z]{2}[0-9]{2}$",
        "AA00",
        (
            "made of two capital letters and then two digits",
            "of two capital letters followed by two digits",
            "that looks like AB12: two capital letters and two digits",
        ),
    ),
    Pattern(
        "^[A-Z]-[0-9]{3}$",
        "A-000",
        (
            "made of one capital letter, a hyphen and three digits",
            "of one capital letter followed by a hyphen and three digits",
            "that looks like A-123: a capital letter, a hyphen and three digits",
        ),
    ),
)
"""What a code may look like; the third wording shows an example."""
