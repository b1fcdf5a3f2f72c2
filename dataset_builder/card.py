"""The dataset card, README.md of a corpus folder, whose numbers are counted in the folder's files."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from string import Template

from modeling_lira.files import atomic_write_text

from .card_yaml import card_data
from .counting import SplitCounts, count_corpus
from .layout import CARD, PARTS, SCHEMAS, SPLITS
from .page import Table, to_markdown

TEMPLATES = Path(__file__).parent / "cards"
TITLES = {
    "catalogue": ("Product retrieval in low-resource languages", "Products, queries and graded judgements"),
    "logs": ("Product retrieval from a shop's search log", "Products, queries and judgements from shoppers' actions"),
    "cldr": ("CLDR names and keywords as retrieval", "Short names and keywords of characters"),
}
ANNOTATIONS = {"catalogue": "machine-generated", "logs": "found", "cldr": "found"}
LICENCES = {"catalogue": "cc-by-4.0", "logs": "other", "cldr": "other"}
_TERMS = (
    ("gloss", "dictionary gloss from the authored lexicon, words left out at random; CC BY 4.0 like the rest"),
    (
        "gemma-3-270m",
        "google/gemma-3-270m, de-quantised from 4 bits (Q4_K_M), few-shot prompts, greedy and sampled; Gemma is "
        "provided under and subject to the Gemma Terms of Use found at ai.google.dev/gemma/terms",
    ),
    ("qwen2.5-coder-1.5b-instruct", "Qwen/Qwen2.5-Coder-1.5B-Instruct in 4 bits (Q4_K_M), Apache 2.0"),
    ("smollm2", "HuggingFaceTB/SmolLM2-135M-Instruct, Apache 2.0"),
)
Counts = Mapping[str, Mapping[str, SplitCounts]]


def write_card(folder: Path, source: str, facts: Mapping[str, str | int], extra_languages: Sequence[str] = ()) -> None:
    """Write README.md; it is written last, and a corpus folder without it counts as incomplete.

    Parameters
    ----------
    folder : Path
        Holds the Parquet files of every language.
    source : "catalogue", "logs" or "cldr"
    facts : mapping
        Values of the placeholders in `cards/{source}.*.md`, such as the release and the seed.
    extra_languages : sequence of str
        Languages that occur in the texts but have no config of their own, such as English.
    """
    counts = count_corpus(folder)
    title, summary = TITLES[source]
    head = card_data(folder, tuple(counts), title, LICENCES[source], (*counts, *extra_languages), ANNOTATIONS[source])
    body = Template((TEMPLATES / "frame.md").read_text(encoding="utf-8")).substitute(
        title=title,
        summary=f"{summary} in {len(counts)} languages: {', '.join(counts)}.",
        columns="\n".join(f"| `{part}` | {', '.join(f'`{name}`' for name in SCHEMAS[part].names)} |" for part in PARTS),
        example=next(iter(counts)),
        sizes=_sizes(counts),
        kinds=_kinds(counts),
        grades=_grades(counts),
        agents=_agents(counts),
        **{name: _section(source, name, facts) for name in ("provenance", "limits", "licence")},
    )
    atomic_write_text(folder / CARD, f"---\n{head.rstrip()}\n---\n\n{body}")


def _section(source: str, name: str, facts: Mapping[str, str | int]) -> str:
    text = (TEMPLATES / f"{source}.{name}.md").read_text(encoding="utf-8")
    return Template(text).substitute(facts).strip()


def _sizes(counts: Counts) -> str:
    rows = [
        [language, *(f"{rows.products:,} / {rows.queries:,} / {rows.judgements:,}" for rows in splits.values())]
        for language, splits in counts.items()
    ]
    return _table(["language", *SPLITS], rows)


def _kinds(counts: Counts) -> str:
    by_language = {
        language: sum((Counter(rows.kinds) for rows in splits.values()), Counter())
        for language, splits in counts.items()
    }
    kinds = sorted(set().union(*by_language.values()))
    rows = [
        [language, *(f"{queries[kind] / max(queries.total(), 1):.0%}" for kind in kinds)]
        for language, queries in by_language.items()
    ]
    return _table(["language", *kinds], rows)


def _grades(counts: Counts) -> str:
    total: Counter[int] = Counter()
    for splits in counts.values():
        for rows in splits.values():
            total.update(rows.grades)
    return ", ".join(f"{total[grade]:,} of grade {grade}" for grade in (3, 2, 1))


def _agents(counts: Counts) -> str:
    """Return a table of the candidates' agents with their counts and terms of use."""
    total: Counter[str] = Counter()
    for splits in counts.values():
        for split in splits.values():
            total.update(split.agents)
    if not total:
        return "This corpus has none."
    rows = [[agent, total[agent], _terms(agent)] for agent in sorted(total)]
    return _table(["agent", "candidates", "made by, terms"], rows)


def _terms(agent: str) -> str:
    matching = (terms for name, terms in _TERMS if name in agent.casefold())
    return next(matching, "see the terms of the model of this name")


def _table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    return to_markdown([Table(header, rows)]).strip()
