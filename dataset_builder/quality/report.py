"""The quality report of a corpus folder: one page to read before publishing it."""

import json
import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from modeling_lira.faces.progress import Progress
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
    """All measures of a corpus: counts by language and split, leaks by language and check, baselines by system."""

    counts: Mapping[str, Mapping[str, SplitCounts]]
    leaks: Mapping[str, Mapping[str, int]]
    quality: Mapping[str, CandidateQuality]
    baselines: Baselines

    @property
    def leaks_in_all(self) -> dict[str, int]:
        """Faults by check, summed over the languages."""
        checks = dict.fromkeys(check for counts in self.leaks.values() for check in counts)
        return {check: sum(counts.get(check, 0) for counts in self.leaks.values()) for check in checks}

    @property
    def judged_by_actions(self) -> bool:
        """Whether every query is from a shop's log, so that grades follow from what shoppers did."""
        kinds = {kind for splits in self.counts.values() for counts in splits.values() for kind in counts.kinds}
        return kinds == {"log"}


def write_report(corpus: Path, output: Path, encoder: System | None = None) -> Findings:
    """Measure a corpus and write `report.md`, `report.html`, `report.json` and the plots.

    Parameters
    ----------
    corpus : Path
        A complete corpus folder of any source.
    output : Path
        Folder for the report.
    encoder : System, optional
        A multilingual encoder that is measured besides BM25.

    Returns
    -------
    Findings

    Raises
    ------
    LiraError
        If the folder is not a complete corpus.
    """
    check_complete(corpus)
    output.mkdir(parents=True, exist_ok=True)  # now rather than after minutes of measuring
    findings = measure(corpus, {"BM25": bm25_system, **({"encoder alone": encoder} if encoder else {})})
    languages = list(findings.counts)
    pictures = _draw(corpus, output, findings)
    blocks = [
        Heading("Quality report", 1),
        Paragraph(f"{len(languages)} languages: {', '.join(languages)}."),
        *_count_blocks(findings.counts),
        *_text_blocks(pictures),
        *_leak_blocks(findings.leaks),
        *_relevance_blocks(findings, pictures),
        *_baseline_blocks(findings.baselines, pictures),
        *_candidate_blocks(findings.counts, findings.quality, pictures),
        *_sample_blocks(corpus, languages),
    ]
    atomic_write_text(output / "report.md", to_markdown(blocks))
    atomic_write_text(output / "report.html", to_html("Quality report", blocks))
    atomic_write_text(output / "report.json", json.dumps(_numbers(asdict(findings)), indent=1, allow_nan=False))
    return findings


def measure(corpus: Path, systems: Mapping[str, System]) -> Findings:
    """Count a corpus, check it for leakage, and search it with each system, language by language."""
    names = english_names(load_lexicon(languages=()))
    leaks, quality = {}, {}
    baselines: Baselines = {name: {} for name in systems}
    for language in Progress(languages_in(corpus), desc="report", unit="language"):
        leaks[language] = check_language(corpus, language)
        quality[language] = candidate_quality(corpus, language, names)
        for name, system in systems.items():
            baselines[name][language] = score_system(corpus, language, system)
    return Findings(count_corpus(corpus), leaks, quality, baselines)


def _numbers(value: object) -> object:
    """Return the value with None in place of NaN, which JSON does not have."""
    if isinstance(value, dict):
        return {key: _numbers(item) for key, item in value.items()}
    return None if isinstance(value, float) and math.isnan(value) else value


def _draw(corpus: Path, output: Path, findings: Findings) -> dict[str, Picture]:
    lengths, scripts = [], []
    for name, (part, column) in _TEXTS.items():
        texts = {language: texts_of(corpus, language, part, column) for language in findings.counts}
        counts = {language: list(map(len, some)) for language, some in texts.items()}
        lengths.append(plots.length_panel(f"Length of {name}", counts))
        shares = {language: script_shares(some) for language, some in texts.items()}
        scripts.append(plots.script_panel(f"Scripts of {name}", shares))
    relevance = [
        plots.relevance_panel(
            split, {language: relevant_per_query(corpus, language, split) for language in findings.counts}
        )
        for split in SPLITS
    ]
    drawn: dict[str, tuple[str, list[plots.Panel]]] = {
        "lengths": ("Lengths of queries and titles by language", lengths),
        "scripts": ("Scripts of queries and titles by language", scripts),
        "relevance": ("Relevant products a query, by split and language", relevance),
        "baselines": (
            "nDCG@10 of plain systems by language and by kind of query",
            _baseline_panels(findings.baselines),
        ),
        "candidates": ("How often candidates name the product type, by language", [_named_panel(findings.quality)]),
    }
    pictures = {}
    for name, (words, panels) in drawn.items():
        plots.draw(output / f"{name}.png", panels, same_scale=name == "relevance")
        pictures[name] = Picture(f"{name}.png", words)
    return pictures


def _named_panel(quality: Mapping[str, CandidateQuality]) -> plots.Panel:
    named = {
        "first candidate": {language: 100 * shares.named_first for language, shares in quality.items()},
        "any candidate": {language: 100 * shares.named_any for language, shares in quality.items()},
    }
    return plots.bar_panel("Candidates that name the product type", ("language", "% of queries"), named)


def _baseline_panels(baselines: Baselines) -> list[plots.Panel]:
    means = {
        name: {language: 100 * baseline.mean for language, baseline in scores.items()}
        for name, scores in baselines.items()
    }
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
    """Return a system's mean nDCG@10 by kind of query, over the languages that have queries of the kind."""
    by_language = [baseline.kinds for baseline in scores.values()]
    kinds = sorted(set().union(*by_language))
    return {kind: mean([values[kind] for values in by_language if kind in values]) for kind in kinds}


def baseline_tables(baselines: Baselines) -> list[Table]:
    """Return one table for each system: nDCG@10 by language and kind of query; the last row is the languages' mean."""
    tables = []
    for name, scores in baselines.items():
        kinds = kind_means(scores)
        rows: list[list[object]] = [
            [language, baseline.mean, *(baseline.kinds.get(kind, float("nan")) for kind in kinds), baseline.unseen]
            for language, baseline in scores.items()
        ]
        every = mean([baseline.mean for baseline in scores.values()])
        rows.append(["mean", every, *kinds.values(), mean([baseline.unseen for baseline in scores.values()])])
        tables.append(Table([name, "all", *kinds, "unseen types"], rows))
    return tables


def outliers(baselines: Baselines) -> list[str]:
    """Return one line for every system and language whose mean is below `HOPELESS` or above `TRIVIAL`."""
    return [
        f"{name}, {language}: mean nDCG@10 {baseline.mean:.2f} is not between {HOPELESS} and {TRIVIAL}"
        for name, scores in baselines.items()
        for language, baseline in scores.items()
        if baseline.mean < HOPELESS or baseline.mean > TRIVIAL
    ]


def _count_blocks(counts: Mapping[str, Mapping[str, SplitCounts]]) -> list[Block]:
    rows = [
        [language, split, rows.products, rows.queries, rows.unseen_queries, rows.judgements, rows.pairs]
        for language, splits in counts.items()
        for split, rows in splits.items()
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


def _relevance_blocks(findings: Findings, pictures: Mapping[str, Picture]) -> list[Block]:
    rows = [
        [language, *(sum(counts.grades.get(grade, 0) for counts in splits.values()) for grade in (3, 2, 1))]
        for language, splits in findings.counts.items()
    ]
    names = ("3 exact", "2 partial", "1 substitute")
    words = "Judgements follow from what products are, and are complete within a split."
    if findings.judged_by_actions:
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
    rows = [[language, *asdict(shares).values()] for language, shares in quality.items()]
    agents = sorted({agent for splits in counts.values() for rows in splits.values() for agent in rows.agents})
    by_agent = [
        [language, *(sum(rows.agents.get(agent, 0) for rows in splits.values()) for agent in agents)]
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
