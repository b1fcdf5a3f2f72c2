"""Logs of which the truth is known: what language each query is in, and how relevant each product is to it."""

import random
from dataclasses import dataclass, field

from dataset_builder.lexicon import Lexicon
from dataset_builder.logs.reading import LogRow
from dataset_builder.substitutes import substitutes

CLICKED = {3: 0.45, 2: 0.3, 1: 0.15, 0: 0.02}
"""How often a product of a grade is clicked when it is looked at."""
BOUGHT = {3: 0.3, 2: 0.1, 1: 0.03, 0: 0.0}
SHELF = 6


@dataclass
class Simulation:
    """A log with the languages of its queries and the grades of its pairs."""

    rows: list[LogRow] = field(default_factory=list)
    languages: dict[str, str] = field(default_factory=dict)
    grades: dict[tuple[str, str], int] = field(default_factory=dict)


def simulate(
    lexicon: Lexicon,
    languages: tuple[str, ...],
    sessions: int,
    seed: int = 0,
    types: int = 60,
    declared: bool = False,
    clicked: dict[int, float] = CLICKED,
) -> Simulation:
    """Return a log in which each session asks one product type by one of its names and sees ten products in turn.

    Of a type's products some have the asked attribute (3), some not (2); those that can stand in for it are 1,
    and others that the shop promotes with it 0.
    """
    rng = random.Random(seed)
    log = Simulation()
    shelves = {language: _shelves(lexicon, language, types, rng) for language in languages}
    for session in range(sessions):
        language = rng.choice(languages)
        shelf = shelves[language]
        name = sorted(shelf)[int(len(shelf) * rng.random() ** 1.5)]
        query = rng.choice(lexicon.vocabularies[language][f"type:{name}"].forms())
        log.languages.setdefault(query, language)
        grades = {product: 3 if row < SHELF // 2 else 2 for row, product in enumerate(shelf[name])}
        for sibling in substitutes(lexicon)[name]:
            grades.update(dict.fromkeys(shelf.get(sibling, ())[:2], 1))
        others = random.Random(name).sample(sorted(shelf), 3)
        promoted = [product for other in others for product in shelf[other][:2] if product not in grades]
        shown = rng.sample(sorted(grades), min(6, len(grades))) + rng.sample(promoted, min(4, len(promoted)))
        rng.shuffle(shown)
        for position, product in enumerate(shown[:10], 1):
            grade = log.grades.setdefault((query, product), grades.get(product, 0))
            event = {"session": f"s{session}", "position": str(position), "language": language if declared else ""}
            log.rows.append(LogRow(query, product, "impression", **event))
            if rng.random() < clicked[grade] / position**0.5:
                log.rows.append(LogRow(query, product, "click", **event))
                if rng.random() < BOUGHT[grade]:
                    log.rows.append(LogRow(query, product, "purchase", **event))
    return log


def _shelves(lexicon: Lexicon, language: str, types: int, rng: random.Random) -> dict[str, list[str]]:
    """Return products by type, each with a brand and a colour."""
    vocabulary = lexicon.vocabularies[language]
    colours = [entry.name for key, entry in vocabulary.entries.items() if key.startswith("colour:")]
    brands = [brand.latin for brand in lexicon.brands]
    return {
        name: [
            f"{rng.choice(vocabulary[f'type:{name}'].forms())} {rng.choice(colours)} {rng.choice(brands)} {number}"
            for number in range(SHELF)
        ]
        for name in rng.sample(sorted(lexicon.types), types)
    }
