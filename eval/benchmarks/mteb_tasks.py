"""Retrieval tasks of MTEB made from a corpus, or from folders of texts that no model saw."""

from collections.abc import Mapping, Sequence
from typing import Any

from datasets import Dataset
from mteb.abstasks.retrieval import AbsTaskRetrieval
from mteb.abstasks.task_metadata import TaskMetadata

from modeling_lira.data.corpus import ENGLISH, RetrievalSplit

from .mteb_model import mteb_code

PUBLIC = ("BelebeleRetrieval", "MLQARetrieval", "Tatoeba", "STS22.v2")
"""What the paper's protocol takes from MTEB; `mteb` fetches them from the Hub."""


def corpus_task(corpus: str, languages: Sequence[str], split: str = "test") -> AbsTaskRetrieval:
    """Return a corpus folder or Hub dataset as a task: queries and titles of each language.

    Parameters
    ----------
    corpus : str
        MTEB reads its layout without code.
    languages : sequence of str
    split : str
    """

    class ProductRetrieval(AbsTaskRetrieval):
        metadata = _metadata(
            "ProductRetrieval",
            "Product search in low-resource languages: short queries, products in their language, graded judgements.",
            {code: [mteb_code(code), mteb_code(code)] for code in languages},
            split,
            {"path": corpus, "revision": "main"},
        )

        def dataset_transform(self, num_proc: int | None = None, **kwargs: object) -> None:
            """Keep what MTEB shows a model: it cannot batch the lists in the other columns of a query."""
            for splits in self.dataset.values():
                for part in splits.values():
                    part["queries"] = part["queries"].select_columns(["id", "text"])
                    part["corpus"] = part["corpus"].select_columns(["id", "title", "text"])

    return ProductRetrieval()


def splits_task(name: str, description: str, splits: Sequence[RetrievalSplit]) -> AbsTaskRetrieval:
    """Return splits as a task that needs no dataset of its own: queries in each language, English documents.

    Parameters
    ----------
    name, description : str
    splits : sequence of RetrievalSplit
        One a language; of `xquad_splits`, `cldr_splits`, or a corpus, whose English titles are searched.
    """
    by_language = {split.language: split for split in splits}

    class SplitsRetrieval(AbsTaskRetrieval):
        metadata = _metadata(
            name,
            description,
            {code: [mteb_code(ENGLISH), mteb_code(code)] for code in by_language},
            "test",
            {"path": name, "revision": "local"},
        )

        def load_data(self, num_proc: int | None = None, **kwargs: object) -> None:
            """Give MTEB the texts."""
            self.dataset = {code: {"test": _task_data(by_language[code])} for code in self.hf_subsets}  # type: ignore[dict-item]
            self.data_loaded = True

    return SplitsRetrieval()


def _task_data(split: RetrievalSplit) -> dict[str, Any]:
    return {
        "queries": Dataset.from_dict(
            {"id": [f"q{row}" for row in range(len(split.queries))], "text": split.queries.texts}
        ),
        "corpus": Dataset.from_dict(
            {"id": split.document_ids, "text": split.searched_titles(True), "title": [""] * len(split.document_ids)}
        ),
        "relevant_docs": {
            f"q{row}": {split.document_ids[document]: grade for document, grade in grades.items()}
            for row, grades in enumerate(split.gains)
        },
        "top_ranked": None,
    }


def _metadata(
    name: str, description: str, languages: Mapping[str, list[str]], split: str, dataset: Mapping[str, str]
) -> TaskMetadata:
    return TaskMetadata(
        name=name,
        description=description,
        dataset=dict(dataset),  # type: ignore[arg-type]
        type="Retrieval",
        category="t2t",
        modalities=["text"],
        eval_splits=[split],
        eval_langs=dict(languages),
        main_score="ndcg_at_10",
    )
