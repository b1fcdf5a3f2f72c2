"""How sellers dress a title up: tags in brackets, capitals, a model's code, more names, and what it is a gift for."""

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass

from ..lexicon import Attribute, Lexicon, Need, ProductType
from .wording import Speaker, accepted_values

SELLER_WORDS = (
    "original", "new_arrival", "best_seller", "promo", "free_shipping", "ready_stock", "imported", "local_made",
    "with_warranty", "good_quality", "durable", "cod",
)  # fmt: skip
_OPPOSED = ("imported", "local_made")
"""Words of which a seller uses one at most."""
_BRACKETS = ("[{}]", "[{}]", "【{}】", "({})", "🔥{}🔥", "✨{}", "⚡{}⚡", "{} |", "{}!!", "❤️ {}")
_CODE_LETTERS = "ABCDGHJKLMRSTVX"
_CAPITALISED = ("vi", "id", "ms", "fil", "en")
_FIRST_LETTER = re.compile(r"(?<!\S)[(\[]?\w")
MAX_TITLE = 120


@dataclass(frozen=True)
class Style:
    """What a seller adds to a plain title, the same in both languages.

    `word` stands inside the title, `front` and `back` around it; they are keys of words. `names` is the number of
    further names of the type, `need` the key of a need that the product meets, `case` "upper", "capitals" or empty.
    """

    word: str = ""
    front: tuple[str, ...] = ()
    bracket: str = "[{}]"
    names: int = 0
    code: str = ""
    back: tuple[str, ...] = ()
    need: str = ""
    case: str = ""

    def dress(self, title: str, speaker: Speaker, main: str, names: Sequence[str]) -> str:
        """Return a title with all that the seller adds, as far as it stays within `MAX_TITLE` characters.

        What is added agrees with `main`, the name by which the title calls the product.
        """

        def words_of(key: str) -> str:
            return speaker.vocabulary.grammar.apply(speaker.word(key), main)

        added = [
            *names,
            self.code,
            *map(words_of, self.back),
            words_of(self.need) if self.need else "",
        ]
        for part in filter(None, added):
            if part.casefold() not in title.casefold() and len(title) + len(part) < MAX_TITLE - 15:
                title = f"{title} {part}"
        if self.case and speaker.vocabulary.language in _CAPITALISED:
            title = title.upper() if self.case == "upper" else capitalise(title)
        if not self.front:
            return title
        tag = " ".join(map(words_of, self.front))
        return f"{self.bracket.format(tag.upper())} {title}"


def capitalise(text: str) -> str:
    """Begin every word with a capital, also one after a bracket, and change no other letter."""
    return _FIRST_LETTER.sub(lambda match: match[0].upper(), text)


def draw_style(words: Sequence[str], needs: Sequence[str], rng: random.Random) -> Style:
    """Draw a seller's style: half write plain titles, at times with one word, the others fill the space.

    Parameters
    ----------
    words : sequence of str
        Seller's words that suit the product.
    needs : sequence of str
        Keys of the needs that it meets.
    rng : random.Random
    """
    other = rng.choice(_OPPOSED)
    keys = [f"word:{word}" for word in words if word != other]
    rng.shuffle(keys)
    case = rng.choices(("", "capitals", "upper"), (62, 30, 8))[0]
    if rng.random() < 0.5:
        return Style(word="".join(keys[: rng.random() < 0.3]), case=case)
    front = rng.choices((0, 1, 2), (45, 42, 13))[0]
    back = rng.choices((0, 1, 2), (50, 35, 15))[0]
    return Style(
        front=tuple(keys[:front]),
        bracket=rng.choice(_BRACKETS),
        names=rng.choices((0, 1, 2), (30, 50, 20))[0],
        code=_code(rng) if rng.random() < 0.25 else "",
        back=tuple(keys[front : front + back]),
        need=rng.choice(needs) if needs and rng.random() < 0.4 else "",
        case=case,
    )


def _code(rng: random.Random) -> str:
    """Return a model's code such as KX-204 or A12."""
    letters = "".join(rng.choices(_CODE_LETTERS, k=rng.choice((1, 2, 2))))
    return f"{letters}{rng.choice(('', '-'))}{rng.randrange(10, 999)}"


def needs_met(lexicon: Lexicon, product_type: ProductType, attributes: Sequence[Attribute]) -> list[Need]:
    """Return the needs that a product of the type with these attributes meets."""
    stated = dict(attributes)
    return [
        need
        for need in lexicon.needs_of[product_type.name]
        if all(stated.get(group, value) in accepted_values((group, value)) for group, value in need.wishes)
    ]
