"""Score BM25 on a dataset repository as a retrieval task of MTEB: `python mteb_client.py REPO LANGUAGE …`."""

import json
import sys
from collections.abc import Iterable, Mapping

import mteb
import numpy as np
from mteb.abstasks.retrieval import AbsTaskRetrieval
from mteb.abstasks.task_metadata import TaskMetadata
from mteb.models.model_meta import ModelMeta

from modeling_lira.evaluation.bm25 import BM25, tokens

CODES = {"th": "tha-Thai", "fil": "fil-Latn", "ur": "urd-Arab"}


class BM25Model:
    """Implements MTEB's search protocol."""

    mteb_model_meta = ModelMeta.create_empty({"name": "test/bm25"})

    def index(self, corpus: Iterable[Mapping[str, str]], *, hf_subset: str, **_: object) -> None:
        rows = list(corpus)
        self.ids = [row["id"] for row in rows]
        self.bm25 = BM25(tokens(f"{row['title']} {row['text']}", hf_subset) for row in rows)

    def search(
        self, queries: Iterable[Mapping[str, str]], *, hf_subset: str, **_: object
    ) -> dict[str, dict[str, float]]:
        earlier_first = -1e-6 * np.arange(len(self.ids))
        return {
            row["id"]: dict(
                zip(self.ids, (self.bm25.scores(tokens(row["text"], hf_subset)) + earlier_first).tolist(), strict=True)
            )
            for row in queries
        }


def task_of(repo: str, languages: list[str]) -> AbsTaskRetrieval:
    """Return the repository as a task, by its metadata alone."""

    class Products(AbsTaskRetrieval):
        metadata = TaskMetadata(
            name="Products",
            description="Products",
            dataset={"path": repo, "revision": "main"},
            type="Retrieval",
            category="t2t",
            modalities=["text"],
            eval_langs={language: [CODES[language]] for language in languages},
            main_score="ndcg_at_10",
        )

    return Products()


if __name__ == "__main__":
    repo, *languages = sys.argv[1:]
    results = mteb.evaluate(BM25Model(), task_of(repo, languages), cache=None)
    scores = results.task_results[0].scores["test"]
    print(json.dumps({row["hf_subset"]: row["ndcg_at_10"] for row in scores}))  # noqa: T201
