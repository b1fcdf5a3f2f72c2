"""Hard negatives: irrelevant products that a lexical search ranks high for a query."""

from collections.abc import Iterable, Iterator

import numpy as np

from modeling_lira.evaluation.bm25 import BM25, tokens

from ..lexicon import Lexicon
from ..substitutes import substitutes
from .catalogue import Product
from .queries import Query
from .relevance import Judgements, SplitIndex

POOL = 20_000
"""Products of a split that are searched at most: the first ones."""
COUNT, OF_A_TYPE = 8, 2
_DEPTH = 400


class HardNegatives:
    """Finds irrelevant products high in the ranking of BM25 over both titles, so that each seems to be an answer.

    Parameters
    ----------
    lexicon : Lexicon
    index : SplitIndex
    products : iterable of Product
        The split's first products, row by row.
    """

    def __init__(self, lexicon: Lexicon, index: SplitIndex, products: Iterable[Product]) -> None:
        self.lexicon = lexicon
        self.index = index
        self._types: list[str] = []
        self._search = BM25(self._words(products))

    def _words(self, products: Iterable[Product]) -> Iterator[list[str]]:
        for product in products:
            self._types.append(product.type)
            yield [*tokens(product.title, product.language), *tokens(product.title_en, product.language)]

    def find(self, query: Query, judged: Judgements) -> list[int]:
        """Return up to `COUNT` rows of grade 0, `OF_A_TYPE` of a type, the highest ranked first.

        Where too few share words with the query, others of the category and of the department follow. Products of a
        type that can stand in for the one asked for are left out, even if they contradict a wish, and for a vague query
        those of the categories that fit it.
        """
        drawn: list[int] = []
        of_type: dict[str, int] = {}
        barred = {*judged.rows.tolist(), *self.index.of_types(self._near(query)).tolist()}
        for row in self._ranked(query):
            name = self._types[row]
            if row in barred or of_type.get(name, 0) >= OF_A_TYPE:
                continue
            barred.add(row)
            of_type[name] = of_type.get(name, 0) + 1
            drawn.append(row)
            if len(drawn) == COUNT:
                break
        return drawn

    def _near(self, query: Query) -> tuple[str, ...]:
        if query.type:
            return (query.type, *substitutes(self.lexicon)[query.type])
        fitting = (*query.types, *self.index.also(query))
        categories = {self.lexicon.types[name].scopes[1:] for name in fitting}
        return tuple(name for category, department in categories for name in self._category(department, category))

    def _ranked(self, query: Query) -> Iterator[int]:
        """Yield rows by their score, then those of the category, then those of the department."""
        # Rounded, because the last digits of a logarithm differ between machines and would decide ties.
        scores = np.round(self._search.scores(tokens(query.text, query.language)), 6)
        count = min(_DEPTH, len(scores))
        top = np.argpartition(-scores, count - 1)[:count] if count else np.empty(0, np.int64)
        least = scores[top].min(initial=0.0)
        rows = np.flatnonzero((scores > 0) & (scores >= least))
        yield from rows[np.argsort(-scores[rows], kind="stable")].tolist()
        if query.type:
            wanted = self.lexicon.types[query.type]
            yield from self._of(self.index.of_types(self._category(wanted.department, wanted.category)))
            yield from self._of(self.index.department(wanted.department))
        else:
            for name in dict.fromkeys(self.lexicon.types[name].department for name in query.types):
                yield from self._of(self.index.department(name))

    def _category(self, department: str, category: str) -> tuple[str, ...]:
        return self.lexicon.by_category[department, category]

    def _of(self, rows: np.ndarray) -> list[int]:
        return rows[rows < len(self._types)].tolist()
