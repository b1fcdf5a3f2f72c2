"""What a catalogue query says, in plain English: the perfect translation that a synthetic corpus knows."""

import json
import random
from collections.abc import Sequence
from pathlib import Path

from dataset_builder.generator.corpus import release_queries
from dataset_builder.generator.queries import Query
from dataset_builder.generator.splits import release_named
from dataset_builder.generator.wording import Speaker, fill
from dataset_builder.lexicon import ENGLISH, LANGUAGES, Lexicon, load_lexicon
from modeling_lira.errors import LiraError
from modeling_lira.files import atomic_write_text

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
    values = speaker.values_by_slot(tuple(wish for wish in query.constraints if wish[0] not in _UNSPOKEN))
    need = next((need.name for need in lexicon.needs if need.types == query.types), "")
    values["type"] = speaker.word(f"type:{query.type}" if query.type else f"need:{need}")
    wishes = dict(query.constraints)
    bounds = (("over", wishes.get("price_from")), ("under", wishes.get("price_up_to")))
    values["price"] = " and ".join(f"{word} {float(limit):.3g} dollars" for word, limit in bounds if limit)
    return fill(PATTERN, values)


def references_of(language: str, texts: Sequence[str], folder: Path, seed: int = 0) -> list[str]:
    """Return the English reference of each query text of the catalogue's corpus.

    Parameters
    ----------
    language : str
    texts : sequence of str
    folder : path
        Keeps the references of a language, which take seconds to make.
    seed : int
        Of the corpus.

    Raises
    ------
    LiraError
        A text that the catalogue did not make: it has no reference.
    """
    path = folder / f"references-{language}-{seed}.json"
    if not path.is_file() and language in LANGUAGES:
        lexicon = load_lexicon(languages=(language,))
        queries = release_queries(lexicon, (language,), release_named("default"), seed)
        references = {query.text: english_reference(lexicon, query) for query in queries}
        atomic_write_text(path, json.dumps(references, ensure_ascii=False))
    known = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    missing = [text for text in texts if text not in known]
    if missing:
        raise LiraError(
            f"{len(missing)} {language} queries, such as {missing[0]!r}, have no English reference: only the "
            f"catalogue's corpus of seed {seed} has"
        )
    return [known[text] for text in texts]
