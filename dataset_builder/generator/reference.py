"""What a catalogue query says, in plain English: the perfect translation that a synthetic corpus knows."""

import random

from ..lexicon import ENGLISH, Lexicon
from .queries import Query
from .wording import Speaker, fill

PATTERN = (
    "{brand} {style} {pattern} {colour} {material} {feature} {flavour} {scent} {type} {gender} {age} {compatibility} "
    "{size} {quantity} {not} {price}"
)
_UNSPOKEN = ("price_from", "price_up_to", "fits:gender")
"""Wishes that are no words of their own: prices have a slot, and whom a gift fits its need says."""


def english_reference(lexicon: Lexicon, query: Query) -> str:
    """Say in usual English names what a query asks for.

    A shopper's words that ask for nothing (cheap, original) are not in it.
    """
    scopes = lexicon.types[query.type].scopes if query.type else ()
    speaker = Speaker(lexicon.vocabularies[ENGLISH], random.Random(0), scopes=scopes)
    needs = [f"need:{need.name}" for need in lexicon.needs if need.types == query.types]
    named = needs or [f"type:{name}" for name in query.types or (query.type,)]
    name = " and ".join(map(speaker.word, named))
    values = speaker.values_by_slot(tuple(wish for wish in query.constraints if wish[0] not in _UNSPOKEN), name)
    values["type"] = name
    wishes = dict(query.constraints)
    bounds = (("over", wishes.get("price_from")), ("under", wishes.get("price_up_to")))
    values["price"] = " and ".join(f"{word} {float(limit):.3g} dollars" for word, limit in bounds if limit)
    return fill(PATTERN, values)
