"""A fixed bank of English sentences on which the two backbones are compared before any training."""

from itertools import product

_PLACES = (
    "in the old market",
    "near the river",
    "on the second floor",
    "at the bus station",
    "in a small village",
    "behind the school",
    "at the hospital",
    "under the bridge",
)
_SENTENCES = (
    "{a} {n} {p}",
    "how do I choose a {a} {n}",
    "the {n} was {a} when we found it {p}",
    "where can I buy a {a} {n}",
    "my sister lost her {n} {p}",
    "a {a} {n} for children",
    "the government announced a new rule about the {n}",
    "{a} {n}",
    "scientists studied the {n} for three years",
    "please bring the {a} {n} tomorrow morning",
    "they were {a} about the {n} {p}",
    "what is the price of this {n}",
)
_ADJECTIVES = (
    "red", "small", "cheap", "broken", "beautiful", "heavy", "fresh", "quiet", "dangerous", "modern",
    "wooden", "warm", "happy", "expensive", "strange", "famous", "soft", "angry", "clean", "ancient",
)  # fmt: skip
_NOUNS = (
    "shirt", "phone", "rice", "doctor", "election", "song", "river", "bicycle", "medicine", "teacher",
    "window", "cat", "soup", "computer", "wedding", "bank", "storm", "book", "engine", "garden",
    "football team", "shampoo", "airport", "vaccine", "painting", "knife", "mosque", "temple", "church", "contract",
    "baby bottle", "planet", "insurance", "volcano", "necklace", "battery", "newspaper", "fish", "soldier", "blanket",
    "fertilizer", "camera", "prayer", "museum", "tax", "lipstick", "tractor", "bread", "virus", "dictionary",
    "kitchen pan", "forest", "language", "helmet", "bridge", "dream", "sugar", "lawyer", "festival", "keyboard",
)  # fmt: skip


def english_anchors() -> list[str]:
    """Return 720 varied English sentences, shopping and general, always the same.

    Source: METHOD.md, Arca 2 and Theory: anchor bank.
    """
    return [
        sentence.format(a=_ADJECTIVES[(3 * i + 7 * j) % len(_ADJECTIVES)], n=noun, p=_PLACES[(i + j) % len(_PLACES)])
        for (i, sentence), (j, noun) in product(enumerate(_SENTENCES), enumerate(_NOUNS))
    ]
