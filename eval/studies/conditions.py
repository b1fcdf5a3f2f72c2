"""Test queries under every condition of their translations: from none to perfect, and spoiled by noise."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from dataset_builder.noise import add_noise
from modeling_lira.data import corpus
from modeling_lira.data.tables import SplitTables, english_rows
from modeling_lira.evaluation.embedded import Embedded

from .setting import Setting, Values, reduced_split
from .systems import SYSTEMS, Embedder

NONE, GREEDY, SAMPLED, CRITIC, GLOSS, REFERENCE = (
    "none", "small LM, greedy", "small LM, all", "small LM, all, critic", "lexicon's gloss", "reference",
)  # fmt: skip
TRANSLATORS = (NONE, GREEDY, SAMPLED, CRITIC, GLOSS, REFERENCE)
"""From none to perfect; only `CRITIC` has critics' scores, and the gloss knows the words that queries are made of."""
LOCAL, UNSEEN = "none, local titles", ", unseen types"
Candidates = list[list[str]]


def noise_name(kind: str, level: float) -> str:
    """Return the name of the condition in which a share of the candidates is spoiled."""
    return f"{kind} {level:g}"


def conditions_of(
    tables: SplitTables, kinds: Sequence[str], levels: Sequence[float], seed: int
) -> dict[str, Candidates]:
    """Return the candidates of every query under every condition: each kind and level of noise, and each translator."""
    texts = tables.split.queries
    width = tables.queries.rows.shape[1]
    clean = [row[:width] for row in texts.candidates]
    conditions = {
        noise_name(kind, level): add_noise(clean, level, kind, seed, texts.texts) for kind in kinds for level in levels
    }
    conditions[GREEDY] = [row[:1] for row in clean]
    conditions[SAMPLED] = conditions[CRITIC] = clean
    conditions |= {GLOSS: texts.others[corpus.GLOSS], REFERENCE: texts.others[corpus.REFERENCE]}
    return conditions


def stacked(setting: Setting, tables: SplitTables, conditions: Mapping[str, Candidates]) -> SplitTables:
    """Return tables whose queries are the split's, once for each condition, with that condition's candidates.

    No candidate has critics' scores but those of `CRITIC`: a score that no critic gave would tell on noise.
    """
    count, width = tables.queries.rows.shape
    order = np.tile(np.arange(count), len(conditions))
    split = reduced_split(tables.split, order, np.arange(len(tables.split.titles)))
    texts = replace(
        split.queries,
        candidates=[row for candidates in conditions.values() for row in candidates],
        scores=[scores if name == CRITIC else [] for name in conditions for scores in tables.split.queries.scores],
        others={},
    )
    distinct, columns = english_rows(texts, width)
    queries = replace(
        tables.queries,
        **columns,
        language_ids=tables.queries.language_ids[order],
        multilingual=np.asarray(tables.queries.multilingual)[order],
        english=setting.english_streams(distinct),
    )
    return replace(tables, split=replace(split, queries=texts), queries=queries)


def condition_scores(setting: Setting, name: str, seed: int, kinds: Sequence[str], levels: Sequence[float]) -> Values:
    """Train a system and return nDCG@10 [Q] on test by `condition/language`.

    English titles are searched, but for `LOCAL`; queries of types that training has seen are NaN in `UNSEEN`. What a
    system chooses for each translator apart it chooses on the validation queries under the same condition.
    """
    system = SYSTEMS[name]
    plan, test = setting.plan_of(name), setting.tables_of(system.encoder)["test"]
    of_test = [conditions_of(tables, kinds, levels, seed) for tables in test]
    names = list(of_test[0])
    groups, of_validation = [names], []
    if system.by_translator:
        groups = [[name] for name in names]
        of_validation = [(tables, conditions_of(tables, kinds, levels, seed)) for tables in plan.validation]
    values: Values = {}
    for group in groups:
        validation = [stacked(setting, tables, _only(group, several)) for tables, several in of_validation]
        embed, _ = system.build(replace(plan, validation=validation) if validation else plan, seed)
        for tables, conditions in zip(test, of_test, strict=True):
            values |= _of_language(setting, embed, tables, _only(group, conditions), system.local_titles)
    return values


def _only(names: Sequence[str], conditions: Mapping[str, Candidates]) -> dict[str, Candidates]:
    return {name: conditions[name] for name in names}


def _of_language(
    setting: Setting, embed: Embedder, tables: SplitTables, conditions: Mapping[str, Candidates], local_titles: bool
) -> Values:
    """Return a language's nDCG@10 [Q] by `condition/language`, without translations too."""
    embedded = embed(stacked(setting, tables, conditions))
    count, language = len(tables.queries), tables.split.language
    parts = dict(zip(conditions, embedded.ndcg().view(len(conditions), count), strict=True))
    parts[NONE] = _first(embedded, True, count)
    parts[LOCAL] = _first(embedded, False, count) * (1.0 if local_titles else float("nan"))
    seen = ~torch.tensor(tables.split.unseen_type)
    for name in (NONE, CRITIC):
        if name in parts:
            parts[name + UNSEEN] = parts[name].masked_fill(seen, float("nan"))
    return {f"{name}/{language}": values for name, values in parts.items()}


def _first(embedded: Embedded, english_titles: bool, count: int) -> Tensor:
    return embedded.ndcg(english_titles=english_titles, with_candidates=False)[:count].clone()
