"""A corpus of a few rows, as a split and as a folder in the layout that training reads."""

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from conftest import MULTILINGUAL_TEXTS

from modeling_lira.data.corpus import GLOSS, REFERENCE, RetrievalSplit, Texts

PARTS = ("train", "validation", "test")
WORDS = (
    "white shirt",
    "used phone",
    "red rice",
    "small bottle",
    "warm blanket",
    "new camera",
    "fresh fish",
    "old book",
)
QUIET = dict.fromkeys(
    ("english_path_dropout", "candidate_noise", "gloss", "reference", "mixed", "single", "score_dropout",
     "language_dropout", "document_path_dropout"), 0.0,
)  # fmt: skip
"""Options of stage 2 under which every query keeps what it has."""
SCORES = (9.0, 5.0, 5.0)


def make_split(language: str, offset: int) -> RetrievalSplit:
    """Eight products and eight queries; a query wants the product of its number (3) and its neighbour (1)."""
    local = [f"{MULTILINGUAL_TEXTS[(2 * offset + i) % 14]} {i}" for i in range(8)]
    candidates = [[WORDS[i], WORDS[(i + 3) % 8]] if i % 4 else [] for i in range(8)]
    queries = Texts(
        texts=[text.split()[0] + f" {i}" for i, text in enumerate(local)],
        languages=[language] * 8,
        candidates=candidates,
        scores=[[SCORES, (2.0, 5.0, 5.0)] if row else [] for row in candidates],
        others={
            GLOSS: [[word.split()[1]] for word in WORDS],
            REFERENCE: [[f"{word} {i}"] for i, word in enumerate(WORDS)],
        },
    )
    return RetrievalSplit(
        language=language,
        queries=queries,
        kinds=["bare"] * 8,
        unseen_type=[False] * 8,
        document_ids=[f"{language}-{i}" for i in range(8)],
        titles=local,
        english_titles=[f"{word} {i}" for i, word in enumerate(WORDS)],
        gains=[{i: 3, (i + 1) % 8: 1} for i in range(8)],
        hard_negatives=[[(i + 2) % 8, (i + 5) % 8] for i in range(8)],
        pairs=[[(i, 1.0), ((i + 1) % 8, 0.4), ((i + 4) % 8, 0.0)] for i in range(8)],
    )


def write_corpus(
    folder: Path, languages: Sequence[str] = ("vi", "th"), english: Sequence[str] | str = "own", has_column: bool = True
) -> Path:
    """Write eight queries and products a language and split; `english` is "own", "repeated" or eight titles."""
    configs = []
    for number, language in enumerate(languages):
        for part, rows in _parts(language, number, english, has_column).items():
            files = []
            for split in PARTS:
                path = folder / language / part / f"{split}.parquet"
                path.parent.mkdir(parents=True, exist_ok=True)
                pq.write_table(pa.table(rows), path)
                files.append({"split": split, "path": str(path.relative_to(folder))})
            configs.append({"config_name": f"{language}-{part}", "data_files": files})
    (folder / "README.md").write_text(f"---\n{yaml.safe_dump({'configs': configs})}---\n# Tiny\n", encoding="utf-8")
    return folder


def _parts(language: str, number: int, english: Sequence[str] | str, has_column: bool) -> dict[str, dict[str, list]]:
    split = make_split(language, number)
    names = [f"{language}-{row}" for row in range(len(split.titles))]
    queries = [f"{language}-q{row}" for row in range(len(split.queries))]
    given = {"own": split.english_titles, "repeated": split.titles}
    titles_en = given[english] if isinstance(english, str) else list(english)
    grades = [(row, document, grade) for row, gains in enumerate(split.gains) for document, grade in gains.items()]
    pairs = [(row, document, score) for row, several in enumerate(split.pairs) for document, score in several]
    corpus = {"_id": names, "title": split.titles, "title_en": titles_en}
    return {
        "corpus": corpus if has_column else {name: corpus[name] for name in ("_id", "title")},
        "queries": {
            "_id": queries,
            "text": split.queries.texts,
            "language": split.queries.languages,
            "kind": split.kinds,
            "unseen_type": split.unseen_type,
            "hard_negatives": [[names[document] for document in row] for row in split.hard_negatives],
            "candidates": [
                [
                    dict(zip(("text", "agent", "semantic", "emotional", "pragmatic"), (text, "x", *score), strict=True))
                    for text, score in zip(texts, scores, strict=True)
                ]
                for texts, scores in zip(split.queries.candidates, split.queries.scores, strict=True)
            ],
        },
        "qrels": {
            "query-id": [queries[row] for row, _, _ in grades],
            "corpus-id": [names[document] for _, document, _ in grades],
            "score": [grade for _, _, grade in grades],
        },
        "ranking": {
            "query": [split.queries.texts[row] for row, _, _ in pairs],
            "title": [split.titles[document] for _, document, _ in pairs],
            "similarity": [score for _, _, score in pairs],
        },
    }
