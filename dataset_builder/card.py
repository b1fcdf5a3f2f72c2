"""The dataset card, README.md of a corpus folder, whose numbers are counted in the folder's files."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from string import Template

from modeling_lira.files import atomic_write_text

from .card_fields import FIELDS
from .card_yaml import DEFAULT, card_data
from .counting import SplitCounts, count_corpus, seen_words
from .layout import CARD, PARTS, SCHEMAS, SPLITS, TEXTS, VERSION, Row, read_part, splits_in
from .page import Table, to_markdown

TEMPLATES = Path(__file__).parent / "cards"
TITLES = {
    "catalogue": ("Product retrieval in Asian languages", "Products, queries and graded judgements"),
    "logs": ("Product retrieval from a shop's search log", "Products, queries and judgements from shoppers' actions"),
    "cldr": ("CLDR names and keywords as retrieval", "Short names and keywords of characters"),
}
CREATORS = {
    "catalogue": ("machine-generated", "machine-generated", "original"),
    "logs": ("found", "found", "original"),
    "cldr": ("found", "found", "extended"),
}
"""Who made the judgements, who made the texts, and from what: words that the Hub knows."""
SECTIONS = ("provenance", "uses", "bias", "limits", "versions", "licence")
LICENCES = {
    "catalogue": {"license": "cc-by-4.0"},
    "logs": {"license": "unknown"},  # the shop has not chosen one yet
    "cldr": {
        "license": "other", "license_name": "unicode-3.0", "license_link": "https://www.unicode.org/license.txt",
    },
}  # fmt: skip
_GEMMA = {"license": "other", "license_name": "cc-by-4.0-and-gemma", "license_link": "LICENSE.md"}
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
    gemma = any("gemma" in agent for splits in counts.values() for rows in splits.values() for agent in rows.agents)
    head = card_data(folder, tuple(counts), (*counts, *extra_languages), _described(source, title, gemma))
    body = Template((TEMPLATES / "frame.md").read_text(encoding="utf-8")).substitute(
        title=title,
        summary=f"{summary} in {len(counts)} languages: {', '.join(counts)}.",
        version=VERSION,
        fields="\n\n".join(_fields(folder, next(iter(counts)), part) for part in PARTS),
        default=DEFAULT,
        example=next(iter(counts)),
        sizes=_sizes(counts),
        kinds=_kinds(counts),
        grades=_grades(counts),
        words=_words(folder, counts),
        agents=_agents(counts),
        **{name: _section(source, name, facts) for name in SECTIONS},
    )
    if gemma:
        for name in TEXTS[1:]:
            atomic_write_text(folder / name, (TEMPLATES / name).read_text(encoding="utf-8"))
    atomic_write_text(folder / CARD, f"---\n{head.rstrip()}\n---\n\n{body}")


def _described(source: str, title: str, gemma: bool) -> dict[str, object]:
    """Return what the head of the card says of a source; a corpus with candidates by Gemma is under two licences."""
    annotations, language, origin = CREATORS[source]
    return {
        "pretty_name": title,
        **(_GEMMA if gemma and source == "catalogue" else LICENCES[source]),
        "annotations_creators": [annotations],
        "language_creators": [language],
        "source_datasets": [origin],
    }


def _fields(folder: Path, language: str, part: str) -> str:
    """Return a part's columns, what each holds, and a row of it."""
    columns = "\n".join(f"- `{name}`: {FIELDS[part][name]}" for name in SCHEMAS[part].names)
    split = splits_in(folder, f"{language}-{part}")[-1]
    example = read_part(folder, language, part, split).slice(0, 1).to_pylist()
    text = json.dumps(_shortened(example[0]) if example else {}, ensure_ascii=False, indent=1)
    return f"### `{{language}}-{part}`\n\n{columns}\n\n```json\n{text}\n```"


def _shortened(row: Row) -> dict[str, object]:
    """Return a row with at most two elements of a list."""
    return {name: value[:2] if isinstance(value, list) else value for name, value in row.items()}


def _words(folder: Path, counts: Counts) -> str:
    shares = [[language, f"{seen_words(folder, language):.0%}"] for language in counts]
    return _table(["language", "words of test that occur in training"], shares)


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
    return ", ".join(f"{total[grade]:,} of grade {grade}" for grade in (3, 2, 1, 0) if grade in total)


def _agents(counts: Counts) -> str:
    """Return a table of the candidates' agents, their counts and terms of use; and how many queries have scores."""
    total: Counter[str] = Counter()
    for splits in counts.values():
        for split in splits.values():
            total.update(split.agents)
    if not total:
        return "This corpus has none."
    rows = [[agent, total[agent], _terms(agent)] for agent in sorted(total)]
    table = _table(["agent", "candidates", "made by, terms"], rows)
    return f"{table}\n\nQueries whose candidates a critic has scored: {_translated(counts)}."


def _translated(counts: Counts) -> str:
    of_split = {split: [splits[split] for splits in counts.values()] for split in SPLITS}
    return ", ".join(
        f"{sum(rows.translated for rows in several):,} of {sum(rows.queries for rows in several):,} of {split}"
        for split, several in of_split.items()
    )


def _terms(agent: str) -> str:
    matching = (terms for name, terms in _TERMS if name in agent.casefold())
    return next(matching, "see the terms of the model of this name")


def _table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    return to_markdown([Table(header, rows)]).strip()
