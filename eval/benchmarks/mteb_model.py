"""LiRA as a model of MTEB: prompts, languages and translations of every text, over cached streams."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from mteb.abstasks.task_metadata import TaskMetadata
from mteb.models.abs_encoder import AbsEncoder
from mteb.models.model_meta import ModelMeta, ScoringFunction
from mteb.types import PromptType
from torch import Tensor

from modeling_lira.data.corpus import ENGLISH, Texts
from modeling_lira.data.languages import code_with_script, language_code, match_language
from modeling_lira.data.stream_cache import StreamCache
from modeling_lira.data.tables import cache_table
from modeling_lira.errors import LiraError
from modeling_lira.evaluation.embedded import embed_table
from modeling_lira.modeling_lira import LiraModel

from .unseen import Translations, query_texts


def mteb_code(language: str) -> str:
    """Return a language as MTEB writes it, by ISO 639-3 and script; Filipino is its `fil`, not Tagalog."""
    return "fil-Latn" if language == "fil" else code_with_script(language)


class LiraEncoder(AbsEncoder):
    """A LiRA model that `mteb.evaluate` runs.

    A query gets the query prefix, a document the document prefix; texts of a symmetric task (STS, bitext mining) are
    queries. A text's language is what the task says of its side; where it says nothing, or the model does not know the
    language, it is not told.

    Parameters
    ----------
    model : LiraModel
    cache : StreamCache
        Of the backbones' streams: a second run, with other translations or weights, does not encode again.
    translations : mapping, optional
        English candidates by (language, text), as `read_candidates` gives them; an English text is its own. Without
        them the translation-free path runs.
    name, revision : str
        Of the model, in MTEB's results: with an organisation, and what tells its weights from others.
    """

    def __init__(
        self,
        model: LiraModel,
        cache: StreamCache,
        translations: Translations | None = None,
        name: str = "lira",
        revision: str | None = None,
    ) -> None:
        self.model = model
        self.cache = cache
        self.translations = translations or {}
        self._meta = model_meta(model, name if "/" in name else f"lira/{name}", revision)

    @property
    def mteb_model_meta(self) -> ModelMeta:  # type: ignore[override]
        """What MTEB's results say of the model; runs with translations stand apart, as an experiment."""
        return self._meta.model_copy(
            update={"experiment_kwargs": {"translations": True} if self.translations else None}
        )

    def encode(
        self,
        inputs: Iterable[Mapping[str, Any]],
        *,
        task_metadata: TaskMetadata,
        hf_split: str,
        hf_subset: str,
        prompt_type: PromptType | None = None,
        **kwargs: object,
    ) -> Tensor:
        """Return unit vectors [N, D] of the texts of a data loader.

        Raises
        ------
        LiraError
            An embedding that is not finite.
        """
        texts = [text for batch in inputs for text in batch["text"]]
        code = self._language(task_metadata, hf_subset, prompt_type)
        kind = "document" if prompt_type == PromptType.document else "query"
        rows = self._texts(code, texts)
        table = cache_table(self.model, self.cache, rows, kind, self.model.config.num_candidates)
        vectors = embed_table(self.model, table)
        if not vectors.isfinite().all():
            raise LiraError(f"the model's embeddings of {task_metadata.name} {hf_subset} are not finite")
        return vectors

    def _texts(self, code: str | None, texts: list[str]) -> Texts:
        if code is None:
            empty: list[list[Any]] = [[] for _ in texts]
            return Texts(texts, [None] * len(texts), empty, empty)  # type: ignore[list-item]
        return query_texts(code, texts, self.translations)

    def _language(self, task: TaskMetadata, subset: str, prompt_type: PromptType | None) -> str | None:
        """Return the code of the language of one side of a task; None where it is not known.

        MTEB names the language of the documents first, then that of the queries.
        """
        named = _languages_of(task)[subset]
        if len(set(named)) == 1:
            spoken = named[0]
        elif len(named) == 2 and prompt_type is not None:
            spoken = named[0] if prompt_type == PromptType.document else named[1]
        else:
            return None
        return match_language(spoken, self.model.processor.languages)


def model_meta(model: LiraModel, name: str, revision: str | None) -> ModelMeta:
    """Return MTEB's description of a model, from its config and weights."""
    parameters = list(model.parameters())
    known = {
        "name": name,
        "revision": revision,
        "languages": [mteb_code(language) for language in model.processor.languages],
        "n_parameters": sum(parameter.numel() for parameter in parameters),
        "memory_usage_mb": sum(parameter.nbytes for parameter in parameters) / 2**20,
        "max_tokens": model.processor.longest(),
        "embed_dim": model.config.embedding_size,
        "open_weights": True,
        "framework": ["PyTorch", "Sentence Transformers", "Transformers", "safetensors"],
        "reference": "https://arxiv.org/abs/2510.14466",
        "similarity_fn_name": ScoringFunction.COSINE,
        "use_instructions": bool(model.processor.query_prefix or model.processor.document_prefix),
        "adapted_from": model.config.multilingual_backbone or None,
        "modalities": ["text"],
    }
    return ModelMeta.create_empty(known)


def subsets_spoken(task: TaskMetadata, languages: Sequence[str]) -> list[str]:
    """Return a task's subsets all of whose languages are among these, English beside them."""
    known = {*map(language_code, languages), ENGLISH}
    named = {subset: set(map(language_code, spoken)) for subset, spoken in _languages_of(task).items()}
    return [subset for subset, spoken in named.items() if spoken <= known and spoken != {ENGLISH}]


def _languages_of(task: TaskMetadata) -> Mapping[str, list[str]]:
    """Return the languages of each subset; a task without subsets has one, "default"."""
    return task.eval_langs if isinstance(task.eval_langs, Mapping) else {"default": list(task.eval_langs)}
