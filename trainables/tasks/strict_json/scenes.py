"""The topics of documents, and the vocabulary keys that suit them.

A topic is a whole document, a part is an object inside one, a collection is an array of objects.
They only name keys; ``vocabulary`` defines what a key holds.
"""

from dataclasses import dataclass

__all__ = ["COLLECTIONS", "GENERAL", "PARTS", "SUBJECTS", "TOPICS", "Topic"]


@dataclass(frozen=True, slots=True)
class Topic:
    """A thing to describe, and the keys that suit it."""

    noun: str
    plural: str
    keys: tuple[str, ...]


def _topic(noun: str, plural: str, keys: str) -> Topic:
    return Topic(noun, plural, tuple(keys.split()))


_GENERAL = """
name title note comment summary description count number rank points score total rating
status priority category level type mode source version revision edition draft preview sample
date created_on due_date email contact_email reply_to url website image_url code serial badge
active verified available paid open public urgent enabled archived featured
"""

GENERAL = tuple(_GENERAL.split())
"""Keys that suit any topic, used when a topic has no key of some kind left."""

TOPICS = (
    _topic("book", "books", "title author summary pages year price rating genre language"),
    _topic("product", "products", "name brand material price stock weight color size sku"),
    _topic("recipe", "recipes", "title author ingredient minutes servings calories rating"),
    _topic("flight", "flights", "origin destination seats distance code price date"),
    _topic("employee", "employees", "name company city age email role badge start_date"),
    _topic("sensor", "sensors", "model battery temperature humidity serial unit zone"),
    _topic("order", "orders", "customer quantity total discount payment currency due_date"),
    _topic("city", "cities", "name country population area temperature weather website"),
    _topic("course", "courses", "title teacher students hours price language level"),
    _topic("server", "servers", "host port retries speed version url zone"),
    _topic("song", "songs", "title artist minutes year rating genre language"),
    _topic("hotel", "hotels", "name city street rooms floor price rating website"),
    _topic("match", "matches", "team city goals points score season date"),
    _topic("ticket", "tickets", "title summary number hours priority status created_on"),
    _topic("pet", "pets", "name breed age weight color size birthday"),
    _topic("car", "cars", "brand model year seats price speed fuel color"),
    _topic("house", "houses", "street city rooms floor area price color"),
    _topic("event", "events", "title host city guests hours price weekday start_date end_date"),
    _topic("sofa", "sofas", "name brand material seats width height length color"),
    _topic("delivery", "deliveries", "customer destination days weight distance code date"),
)
"""The topics of documents."""

_PARTS = {
    "address": "street city country number floor code zone",
    "owner": "name company age email birthday role",
    "contact": "name company city email website language",
    "details": "summary description count weight level created_on",
    "dimensions": "width height length weight unit",
    "schedule": "hours days weekday season start_date end_date",
    "options": "retries speed color size language",
    "location": "city country street area floor zone",
    "billing": "customer total tax discount payment currency",
    "meta": "author note count source language created_on",
}
PARTS = {name: tuple(keys.split()) for name, keys in _PARTS.items()}
"""Keys of nested objects, with the keys that suit them."""

_COLLECTIONS = {
    "items": "name brand quantity price weight size color sku",
    "reviews": "author comment votes rating language date",
    "members": "name city age email role birthday",
    "steps": "title note number minutes status level",
    "visits": "city summary minutes guests weather date",
    "parts": "name material count weight length serial unit",
    "players": "name team number goals points score",
    "lessons": "title teacher students hours level date",
    "stops": "city street minutes distance number code",
}
COLLECTIONS = {name: tuple(keys.split()) for name, keys in _COLLECTIONS.items()}
"""Keys of arrays of objects, with the keys that suit one item."""


SUBJECTS: dict[str, tuple[str, ...]] = {
    "tags": ("the tags of a blog post", "the tags of a photo", "the labels of a product"),
    "colors": ("the colors of a flag", "the colors of a painting", "the colors of a shirt"),
    "cities": ("the cities on a trip", "the cities of a tour", "the places on a map"),
    "names": ("the names of the guests", "the names on a list", "the names of a crew"),
    "tools": ("the tools in a box", "the tools of a carpenter", "the tools for a repair"),
    "fruits": ("the fruits in a salad", "the fruits on a shelf", "the fruits of a garden"),
    "languages": (
        "the languages of a speaker",
        "the languages of an app",
        "the languages of a book",
    ),
    "topics": ("the topics of a talk", "the topics of a course", "the topics of a magazine"),
    "scores": ("the scores of a quiz", "the scores of a game", "the scores of a class"),
    "years": ("the years of a career", "the years of a study", "the years of a band"),
    "ports": (
        "the open ports of a server",
        "the ports of a firewall rule",
        "the ports of a router",
    ),
    "marks": ("the marks of a student", "the marks of a term", "the marks of a contest"),
    "prices": ("the prices of a menu", "the prices of a shop", "the prices of an auction"),
    "weights": ("the weights of parcels", "the weights of a gym", "the weights of a cargo"),
    "readings": ("the readings of a sensor", "the readings of a meter", "the readings of a test"),
    "answers": ("the answers of a survey", "the answers of a quiz", "the answers of a form"),
    "checks": ("the checks of an engine", "the checks of a release", "the checks of a flight"),
    "sizes": ("the sizes of a shirt", "the sizes of a box", "the sizes of a drink"),
    "weekdays": (
        "the opening days of a shop",
        "the training days of a team",
        "the days of a class",
    ),
    "seasons": ("the seasons of a crop", "the seasons of a park", "the seasons of a sport"),
    "roles": ("the roles of a user", "the roles of a team", "the roles of a project"),
    "dates": ("the dates of a course", "the dates of a tour", "the dates of a fair"),
    "holidays": ("the holidays of a school", "the holidays of a year", "the days off of a team"),
    "emails": ("the addresses of a team", "the contacts of a club", "the users of a service"),
    "recipients": ("the recipients of a letter", "the recipients of a report", "a mailing list"),
    "links": ("the links of a page", "the links of an article", "the links in a footer"),
    "images": ("the images of a gallery", "the images of an article", "the pictures of a house"),
    "codes": ("the codes of a lock", "the codes of a warehouse", "the codes of a voucher sheet"),
    "badges": ("the badges of a crew", "the badges of visitors", "the badges of a fair"),
    "results": ("the results of a match", "the results of a vote", "the results of a test"),
    "settings": ("the settings of an app", "the settings of a phone", "the settings of a game"),
    "inventory": ("the inventory of a workshop", "the inventory of a shed", "the stock of a store"),
    "translations": ("the editions of a book", "the versions of a page", "the languages of a game"),
    "forecast": ("the forecast of a week", "the plan of a week", "the shifts of a week"),
}
"""Subjects of root arrays of single values, and of root objects with free keys."""
