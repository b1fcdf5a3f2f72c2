"""The quality report of a corpus folder: one page to read before publishing it."""

import json
import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from tqdm import tqdm

from modeling_lira.files import atomic_write_text

from ..counting import SplitCounts, count_corpus
from ..layout import SPLITS, check_complete, languages_in, read_part
from ..lexicon import load_lexicon
from ..page import Block, Heading, Paragraph, Picture, Table, to_html, to_markdown
from ..scripts import script_shares
from . import plots
from .baselines import HOPELESS, TRIVIAL, Baseline, System, bm25_system, score_system
from .leakage import check_language
from .measures import CandidateQuality, candidate_quality, english_names, mean, relevant_per_query, texts_of

SAMPLES = 6
Baselines = dict[str, dict[str, Baseline]]
"""Scores by system and language."""
_TEXTS = {"queries": ("queries", "text"), "titles": ("corpus", "title")}


@dataclass(frozen=True)
class Findings:
    """All that a corpus was measured by, by language; `leaks` by check, `baselines` by system."""

    counts: Mapping[str, Mapping[str, SplitCounts]]
    leaks: Mapping[str, Mapping[str, int]]
    quality: Mapping[str, CandidateQuality]
    baselines: Baselines

    @property
    def leaks_in_all(self) -> dict[str, int]:
        """How often each leakage check found something."""
        checks = dict.fromkeys(check for counts in self.leaks.values() for check in counts)
        return {check: sum(counts.get(check, 0) for counts in self.leaks.values()) for check in checks}

    @property
    def judged_by_actions(self) -> bool:
        """Whether every query is one of a shop's log, whose grades are what shoppers did."""
        kinds = {kind for splits in self.counts.values() for counts in splits.values() for kind in counts.kinds}
        return kinds == {"log"}


def write_report(corpus: Path, output: Path, encoder: System | None = None) -> Findings:
    """Measure a corpus and write `report.md`, `report.html`, `report.json` and the plots.

    Parameters
    ----------
    corpus : Path
        A complete corpus folder, whatever made it.
    output : Path
        Folder for the report.
    encoder : System, optional
        A multilingual encoder to search with besides BM25.

    Returns
    -------
    Findings

    Raises
    ------
    LiraError
        A folder that is not a complete corpus.

    Source: ours.
    """
    check_complete(corpus)
    output.mkdir(parents=True, exist_ok=True)  # now rather than after minutes of measuring
    found = measure(corpus, {"BM25": bm25_system, **({"encoder alone": encoder} if encoder else {})})
    languages = list(found.counts)
    pictures = _draw(corpus, output, found)
    blocks = [
        Heading("Quality report", 1),
        Paragraph(f"{len(languages)} languages: {', '.join(languages)}."),
        *_count_blocks(found.counts),
        *_text_blocks(pictures),
        *_leak_blocks(found.leaks),
        *_relevance_blocks(found, pictures),
        *_baseline_blocks(found.baselines, pictures),
        *_candidate_blocks(found.counts, found.quality, pictures),
        *_sample_blocks(corpus, languages),
    ]
    atomic_write_text(output / "report.md", to_markdown(blocks))
    atomic_write_text(output / "report.html", to_html("Quality report", blocks))
    atomic_write_text(output / "report.json", json.dumps(_numbers(asdict(found)), indent=1, allow_nan=False))
    return found


def measure(corpus: Path, systems: Mapping[str, System]) -> Findings:
    """Count, check and search a corpus, language by language.

    Source: ours.
    """
    names = english_names(load_lexicon(languages=()))
    leaks, quality = {}, {}
    baselines: Baselines = {name: {} for name in systems}
    for language in tqdm(languages_in(corpus), desc="languages", unit="language", disable=None):
        leaks[language] = check_language(corpus, language)
        quality[language] = candidate_quality(corpus, language, names)
        for name, system in systems.items():
            baselines[name][language] = score_system(corpus, language, system)
    return Findings(count_corpus(corpus), leaks, quality, baselines)


def _numbers(value: object) -> object:
    """Return what JSON can hold: null for the mean of nothing."""
    if isinstance(value, dict):
        return {key: _numbers(own) for key, own in value.items()}
    return None if isinstance(value, float) and math.isnan(value) else value


def _draw(corpus: Path, output: Path, found: Findings) -> dict[str, Picture]:
    lengths, scripts = [], []
    for name, (part, column) in _TEXTS.items():
        texts = {language: texts_of(corpus, language, part, column) for language in found.counts}
        own = {language: [len(text) for text in own] for language, own in texts.items()}
        lengths.append(plots.length_panel(f"Length of {name}", own))
        shares = {language: script_shares(own) for language, own in texts.items()}
        scripts.append(plots.script_panel(f"Scripts of {name}", shares))
    relevance = [
        plots.relevance_panel(
            split, {language: relevant_per_query(corpus, language, split) for language in found.counts}
        )
        for split in SPLITS
    ]
    drawn: dict[str, tuple[str, list[plots.Panel]]] = {
        "lengths": ("Lengths of queries and titles by language", lengths),
        "scripts": ("Scripts of queries and titles by language", scripts),
        "relevance": ("Relevant products a query, by split and language", relevance),
        "baselines": ("nDCG@10 of plain systems by language and by kind of query", _baseline_panels(found.baselines)),
        "candidates": ("How often candidates name the product type, by language", [_named_panel(found.quality)]),
    }
    pictures = {}
    for name, (words, panels) in drawn.items():
        plots.draw(output / f"{name}.png", panels, same_scale=name == "relevance")
        pictures[name] = Picture(f"{name}.png", words)
    return pictures


def _named_panel(quality: Mapping[str, CandidateQuality]) -> plots.Panel:
    named = {
        "first candidate": {language: 100 * own.named_first for language, own in quality.items()},
        "any candidate": {language: 100 * own.named_any for language, own in quality.items()},
    }
    return plots.bar_panel("Candidates that name the product type", ("language", "% of queries"), named)


def _baseline_panels(baselines: Baselines) -> list[plots.Panel]:
    means = {name: {language: 100 * own.mean for language, own in scores.items()} for name, scores in baselines.items()}
    by_kind = {
        name: {kind.replace("_", "-"): 100 * value for kind, value in kind_means(scores).items()}
        for name, scores in baselines.items()
    }
    height, marks = "nDCG@10 x 100", (100 * HOPELESS, 100 * TRIVIAL)
    panels = [plots.bar_panel("Plain systems on test", ("language", height), means, marks)]
    if all(by_kind.values()):  # else no language has a test query
        panels.append(
            plots.bar_panel("The same by kind, mean of the languages", ("kind of query", height), by_kind, marks)
        )
    return panels


def kind_means(scores: Mapping[str, Baseline]) -> dict[str, float]:
    """Return a system's mean over the languages that have a kind of query, by kind.

    Source: ours.
    """
    kinds = sorted({kind for own in scores.values() for kind in own.kinds})
    return {kind: mean([own.kinds[kind] for own in scores.values() if kind in own.kinds]) for kind in kinds}


def baseline_tables(baselines: Baselines) -> list[Table]:
    """Return a table a system: nDCG@10 by language and by kind of query, the languages' mean last.

    Source: ours.
    """
    tables = []
    for name, scores in baselines.items():
        kinds = kind_means(scores)
        rows: list[list[object]] = [
            [language, own.mean, *(own.kinds.get(kind, float("nan")) for kind in kinds), own.unseen]
            for language, own in scores.items()
        ]
        every, unseen = ([getattr(own, part) for own in scores.values()] for part in ("mean", "unseen"))
        rows.append(["mean", mean(every), *kinds.values(), mean(unseen)])
        tables.append(Table([name, "all", *kinds, "unseen types"], rows))
    return tables


def outliers(baselines: Baselines) -> list[str]:
    """Return a line for every system and language whose mean is trivial or hopeless.

    Source: ours.
    """
    return [
        f"{name}, {language}: mean nDCG@10 {own.mean:.2f} is not between {HOPELESS} and {TRIVIAL}"
        for name, scores in baselines.items()
        for language, own in scores.items()
        if own.mean < HOPELESS or own.mean > TRIVIAL
    ]


def _count_blocks(counts: Mapping[str, Mapping[str, SplitCounts]]) -> list[Block]:
    rows = [
        [language, split, own.products, own.queries, own.unseen_queries, own.judgements, own.pairs]
        for language, splits in counts.items()
        for split, own in splits.items()
    ]
    header = ["language", "split", "products", "queries", "of unseen types", "judgements", "ranking pairs"]
    return [Heading("Counts"), Table(header, rows)]


def _text_blocks(pictures: Mapping[str, Picture]) -> list[Block]:
    return [Heading("Texts"), pictures["lengths"], pictures["scripts"]]


def _leak_blocks(leaks: Mapping[str, Mapping[str, int]]) -> list[Block]:
    checks = list(dict.fromkeys(check for counts in leaks.values() for check in counts))
    rows = [[check, *(counts.get(check, "–") for counts in leaks.values())] for check in checks]
    words = "Each number should be 0. Texts twice in a split are duplicates, not leaks."
    if not any("products in two splits" in counts for counts in leaks.values()):
        words += (
            " This corpus is split by query alone: every split searches the same catalogue, so that products are not "
            "held apart and nothing here says how a model does on products that it has not seen."
        )
    return [Heading("Leakage and duplicates"), Paragraph(words), Table(["check", *leaks], rows)]


def _relevance_blocks(found: Findings, pictures: Mapping[str, Picture]) -> list[Block]:
    rows = [
        [language, *(sum(counts.grades.get(grade, 0) for counts in splits.values()) for grade in (3, 2, 1))]
        for language, splits in found.counts.items()
    ]
    names = ("3 exact", "2 substitute", "1 partial")
    words = "Judgements follow from what products are, and are complete within a split."
    if found.judged_by_actions:
        names = ("3 bought or carted often", "2 clicked often", "1 clicked")
        words = "Judgements are what shoppers did: a product that the shop did not show under a query has none."
    return [Heading("Relevance"), Paragraph(words), Table(["language", *names], rows), pictures["relevance"]]


def _baseline_blocks(baselines: Baselines, pictures: Mapping[str, Picture]) -> list[Block]:
    words = (
        f"nDCG@10 on test, title and text, by kind of query. A mean between {HOPELESS} and {TRIVIAL} is what a corpus "
        "should give: neither hopeless nor trivial."
    )
    return [Heading("Plain systems"), Paragraph(words), *baseline_tables(baselines), pictures["baselines"]]


def _candidate_blocks(
    counts: Mapping[str, Mapping[str, SplitCounts]],
    quality: Mapping[str, CandidateQuality],
    pictures: Mapping[str, Picture],
) -> list[Block]:
    header = ["language", *CandidateQuality.__dataclass_fields__]
    rows = [[language, *asdict(own).values()] for language, own in quality.items()]
    agents = sorted({agent for splits in counts.values() for own in splits.values() for agent in own.agents})
    by_agent = [
        [language, *(sum(own.agents.get(agent, 0) for own in splits.values()) for agent in agents)]
        for language, splits in counts.items()
    ]
    words = (
        "covered: queries with a candidate; named: how often the first candidate, or any, holds an English name of the "
        "product type asked for, which only an authored corpus knows; the last three are the critics' mean scores."
    )
    return [
        Heading("Candidates"),
        Paragraph(words),
        Table([name.replace("_", " ") for name in header], rows),
        Table(["candidates by agent", *agents], by_agent),
        pictures["candidates"],
    ]


def _sample_blocks(corpus: Path, languages: Sequence[str]) -> list[Block]:
    """Return a table of some test queries a language, each with a relevant product and its first candidate."""
    blocks: list[Block] = [Heading("Samples")]
    for language in languages:
        titles = {
            row["_id"]: row["title"]
            for row in read_part(corpus, language, "corpus", "test", ["_id", "title"]).to_pylist()
        }
        best: dict[str, tuple[int, str]] = {}
        for row in read_part(corpus, language, "qrels", "test").to_pylist():
            best[row["query-id"]] = max(best.get(row["query-id"], (0, "")), (row["score"], row["corpus-id"]))
        queries = read_part(corpus, language, "queries", "test", ["_id", "text", "kind", "candidates"]).to_pylist()
        rows = [
            [
                row["kind"],
                row["text"],
                row["candidates"][0]["text"] if row["candidates"] else "–",
                titles.get(best.get(row["_id"], (0, ""))[1], "–"),
            ]
            for row in random.Random(language).sample(queries, min(SAMPLES, len(queries)))
        ]
        blocks.append(Table([f"{language}: kind", "query", "first candidate", "a best product"], rows))
    return blocks
