"""A corpus folder of a few rows in the layout that training reads: for tests that load one by its name."""

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from test_training import make_split

PARTS = ("train", "validation", "test")


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
