"""Which product types can stand in for a type, in the lexicon's table `substitutes.tsv`."""

from collections.abc import Mapping
from functools import lru_cache

from modeling_lira.errors import LiraError

from .lexicon import Lexicon, read_table


@lru_cache(maxsize=8)
def substitutes(lexicon: Lexicon) -> Mapping[str, tuple[str, ...]]:
    """Return the types that do the job of each type.

    A line lists types that stand in for one another, and types that stand in for these but not the other way round.

    Raises
    ------
    LiraError
        If a type is unknown.
    """
    by_type: dict[str, dict[str, None]] = {name: {} for name in lexicon.types}
    for row in read_table(lexicon.folder / "substitutes.tsv", ("types", "one_way")):
        group, one_way = row["types"].split(), row["one_way"].split()
        unknown = [name for name in (*group, *one_way) if name not in by_type]
        if unknown:
            raise LiraError(f"substitutes.tsv: type {unknown[0]!r} is unknown")
        for name in group:
            by_type[name].update(dict.fromkeys(other for other in (*group, *one_way) if other != name))
    return {name: tuple(others) for name, others in by_type.items()}
