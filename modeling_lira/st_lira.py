"""LiRA as a module of sentence-transformers, which finds it by `modules.json` beside the weights."""

import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypedDict

from torch import Tensor, nn
from transformers import AutoModel, AutoProcessor, PreTrainedTokenizerBase

from .errors import LiraError, is_missing, shortened
from .exported_lira import load_exported
from .processing_lira import KINDS

if TYPE_CHECKING:
    from .modeling_lira import LiraModel
    from .processing_lira import LiraProcessor

try:
    from sentence_transformers.base.modules import InputModule
except ImportError:  # every model repository carries this file, and only sentence-transformers itself runs it
    InputModule = nn.Module  # type: ignore[misc, assignment]

logger = logging.getLogger(__name__)


class LiraInput(TypedDict, total=False):
    """A text and what is known of it."""

    text: str
    language: str | None
    candidates: Sequence[str] | None
    critic_scores: Sequence[Sequence[float]] | None


class LiraSTModule(InputModule):
    """Tokenize and embed texts for `SentenceTransformer`.

    A text is a string, or a dictionary of the form of `LiraInput`. Its language is what the dictionary says, else what
    the call says (`encode_query(texts, language="vi")`), else what the module says (`model[0].language = "vi"`).

    Parameters
    ----------
    model : LiraModel
    language : str, optional
        By default not told.
    """

    forward_kwargs = {"language"}
    model: "LiraModel"

    def __init__(self, model: "LiraModel", language: str | None = None) -> None:
        super().__init__()
        self.model = model
        self.language = language
        self._warned = False

    @property
    def processor(self) -> "LiraProcessor":
        """The processor beside the weights."""
        return self.model.processor

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase:  # type: ignore[override]
        """The tokenizer of the multilingual path."""
        return self.processor.tokenizer

    @property
    def max_seq_length(self) -> int:
        """Longest text in tokens; set to None, the longest that the multilingual backbone takes."""
        return self.processor.longest()

    @max_seq_length.setter
    def max_seq_length(self, length: int | None) -> None:
        processor = self.processor
        longest = self.tokenizer.model_max_length if length is None else length
        processor.max_length = processor.check_max_length(longest, processor.tokenizer, processor.english_tokenizer)

    def get_embedding_dimension(self) -> int:
        """Return the width D of an embedding."""
        return self.model.config.embedding_size

    def preprocess(  # type: ignore[override]
        self,
        inputs: Sequence[str | LiraInput],
        prompt: str | None = None,
        task: str | None = None,
        language: str | None = None,
        **kwargs: object,
    ) -> dict[str, Tensor]:
        """Return the tensors of a batch.

        A text with no visible character is an empty one, which has an embedding like any other.

        Parameters
        ----------
        inputs : sequence of str or dict, B of them
        prompt : str, optional
            What stands before each text; by default what the model was trained with.
        task : "query" or "document", optional
            By default a query, with a warning, unless the prompt is that of a document.
        language : str, optional
            Of every text that does not say its own.
        **kwargs
            What sentence-transformers passes to other models; unused.

        Raises
        ------
        LiraError
            An input that is neither, an unknown field or language. It is named by what it says, for
            sentence-transformers has sorted the texts by length.
        """
        rows = [_fields(given) for given in inputs]
        default = language or self.language
        kind = self._kind(task, prompt)
        usual = getattr(self.processor, f"{kind}_prefix")
        return dict(
            self.processor(
                [row["text"] for row in rows],
                [row.get("candidates") for row in rows],
                [default if is_missing(row.get("language") or None) else row["language"] for row in rows],
                kind,
                [row.get("critic_scores") for row in rows],
                prefix=usual if prompt is not None and prompt.strip() == usual.strip() else prompt,
                names=[f"text {shortened(row['text'])}" for row in rows],
                allow_blank=True,
            )
        )

    def _kind(self, task: str | None, prompt: str | None) -> str:
        if task in KINDS:
            return task
        query, document = (getattr(self.processor, f"{kind}_prefix").strip() for kind in KINDS)
        if query != document and not (prompt or "").strip() and not self._warned:
            self._warned = True
            logger.warning(
                "texts are embedded as queries%s: call encode_query and encode_document, or give "
                "prompt_name='query' or 'document'",
                "" if prompt is None else ", without the prompt that the model was trained with",
            )
        return "document" if prompt is not None and prompt.strip() == document != query else "query"

    def forward(  # type: ignore[override]
        self, features: dict[str, Tensor], language: str | None = None
    ) -> dict[str, Tensor]:
        """Add `sentence_embedding` [B, D], unit norm, to the tensors of a batch; the language is in them already.

        `token_embeddings` [B, 2S, d] are the fused tokens of both paths, and `attention_mask` [B, 2S] is theirs; an
        exported model gives none.
        """
        names = self.processor.model_input_names
        output = self.model(**{name: features[name] for name in names if name in features})
        features = {**features, "sentence_embedding": output.sentence_embedding}
        if output.fused_states is not None:
            features |= {"token_embeddings": output.fused_states, "attention_mask": output.fused_mask.long()}
        return features

    def save(self, output_path: str, *args: object, safe_serialization: bool = True, **kwargs: object) -> None:
        """Save the model with everything that loads it again; weights are safetensors, whatever is asked for."""
        self.model.save_pretrained(output_path)

    @classmethod
    def load(  # type: ignore[override]
        cls,
        model_name_or_path: str,
        subfolder: str = "",
        token: bool | str | None = None,
        cache_folder: str | None = None,
        revision: str | None = None,
        local_files_only: bool = False,
        trust_remote_code: bool = False,
        model_kwargs: Mapping[str, object] | None = None,
        processor_kwargs: Mapping[str, object] | None = None,
        config_kwargs: Mapping[str, object] | None = None,
        backend: str = "torch",
        **kwargs: object,
    ) -> "LiraSTModule":
        """Load the model of a folder or repository; the arguments are those of `SentenceTransformer`.

        Of another backend than torch, `model_kwargs` may name the `precision` of the graphs.
        """
        hub: dict[str, Any] = {
            "subfolder": subfolder,
            "token": token,
            "cache_dir": cache_folder,
            "revision": revision,
            "local_files_only": local_files_only,
            "trust_remote_code": trust_remote_code,
        }
        given: dict[str, Any] = {**(config_kwargs or {}), **(model_kwargs or {})}
        if backend == "torch":
            model = AutoModel.from_pretrained(model_name_or_path, **hub, **given)
        else:
            model = load_exported(model_name_or_path, backend, **hub, **given)
        if processor_kwargs:
            model.processor = AutoProcessor.from_pretrained(model_name_or_path, **hub, **processor_kwargs)
        return cls(model)


def _fields(given: str | LiraInput) -> LiraInput:
    """Return one input as a dictionary with a text."""
    if isinstance(given, str):
        return {"text": given}
    if not isinstance(given, Mapping) or "text" not in given:
        raise LiraError(f"a text must be str or a dictionary with a text, got {shortened(given)}")
    unknown = [name for name in given if name not in LiraInput.__annotations__]
    if unknown:
        fields = ", ".join(LiraInput.__annotations__)
        raise LiraError(f"text {shortened(given['text'])} has unknown field {unknown[0]!r}; use {fields}")
    return given
