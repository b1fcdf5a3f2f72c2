"""Turn questions, their translations and prompts into the tensors of `LiraForCausalLM`."""

from collections.abc import Sequence

import torch
from transformers import BatchFeature, PreTrainedTokenizerBase

from .errors import LiraError
from .processing_lira import LiraProcessor, TokenizersProcessor

PROMPT = "Question: {question}\nAnswer:"
"""What the language model reads of a question when no prompt is given."""
_ENCODER_SETTINGS = (
    "max_length",
    "num_candidates",
    "languages",
    "query_prefix",
    "document_prefix",
    "english_query_prefix",
    "english_document_prefix",
    "english_model_type",
)


class LiraCausalLMProcessor(TokenizersProcessor):
    """Prepare the prompt for the language model and the question for both encoders.

    Parameters
    ----------
    tokenizer : PreTrainedTokenizerBase
        Of the language model, so that `AutoTokenizer` finds it too; it pads on the left.
    multilingual_tokenizer, english_tokenizer : PreTrainedTokenizerBase
        Of the two encoders.
    multilingual_model_type : str
        Model type of the multilingual encoder, written beside its tokenizer so that it loads offline.
    max_length, num_candidates, languages, query_prefix, document_prefix, english_query_prefix, english_document_prefix,
    english_model_type
        As in `LiraProcessor`.

    Raises
    ------
    LiraError
        A language model's tokenizer that has neither a padding nor an end token.
    """

    tokenizer: PreTrainedTokenizerBase
    multilingual_tokenizer: PreTrainedTokenizerBase
    english_tokenizer: PreTrainedTokenizerBase

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase | None = None,
        multilingual_tokenizer: PreTrainedTokenizerBase | None = None,
        english_tokenizer: PreTrainedTokenizerBase | None = None,
        multilingual_model_type: str = "xlm-roberta",
        max_length: int = 512,
        num_candidates: int = 4,
        languages: Sequence[str] | None = None,
        query_prefix: str = "",
        document_prefix: str = "",
        english_query_prefix: str = "",
        english_document_prefix: str = "",
        english_model_type: str = "bert",
        **kwargs: object,
    ) -> None:
        super().__init__(tokenizer, multilingual_tokenizer, english_tokenizer, **kwargs)
        self.encoder = LiraProcessor(
            multilingual_tokenizer,
            english_tokenizer,
            max_length=max_length,
            num_candidates=num_candidates,
            languages=languages,
            query_prefix=query_prefix,
            document_prefix=document_prefix,
            english_query_prefix=english_query_prefix,
            english_document_prefix=english_document_prefix,
            english_model_type=english_model_type,
        )
        self.multilingual_model_type = multilingual_model_type
        for name in _ENCODER_SETTINGS:
            setattr(self, name, getattr(self.encoder, name))
        if tokenizer is not None:
            tokenizer.padding_side = "left"
            if tokenizer.pad_token is None:
                if tokenizer.eos_token is None:
                    raise LiraError("the language model's tokenizer has neither a pad nor an eos token: set pad_token")
                tokenizer.pad_token = tokenizer.eos_token

    @classmethod
    def join(
        cls, encoder: LiraProcessor, tokenizer: PreTrainedTokenizerBase, multilingual_model_type: str
    ) -> "LiraCausalLMProcessor":
        """Put a language model's tokenizer beside an encoder's processor."""
        settings = {name: getattr(encoder, name) for name in _ENCODER_SETTINGS}
        return cls(tokenizer, encoder.tokenizer, encoder.english_tokenizer, multilingual_model_type, **settings)

    def __call__(
        self,
        questions: str | Sequence[str],
        candidates: Sequence[Sequence[str] | None] | None = None,
        languages: str | Sequence[str | None] | None = None,
        prompts: Sequence[str] | None = None,
        critic_scores: Sequence[Sequence[Sequence[float]] | None] | None = None,
    ) -> BatchFeature:
        """Tokenize a batch.

        Parameters
        ----------
        questions : str or sequence of str, B of them
            What the encoders read.
        candidates, languages, critic_scores
            As in `LiraProcessor`.
        prompts : sequence of str, optional
            What the language model reads; by default "Question: ...", a new line, "Answer:".

        Returns
        -------
        BatchFeature
            `input_ids`, `attention_mask` [B, L] of the prompts, padded on the left; `multilingual_input_ids`,
            `multilingual_attention_mask` and the other inputs of `LiraModel.forward`.

        Raises
        ------
        LiraError
            As `LiraProcessor`; or as many prompts as not questions.
        """
        encoded = dict(self.encoder(questions, candidates, languages, critic_scores=critic_scores))
        listed = self.encoder.check_texts(questions)
        if prompts is None:
            prompts = [PROMPT.format(question=question) for question in listed]
        are_texts = not isinstance(prompts, str) and all(isinstance(prompt, str) for prompt in prompts)
        if not are_texts or len(prompts) != len(listed):
            raise LiraError(f"prompts must be a list of one str a question: {len(listed)} questions, got {prompts!r}")
        for name in ("input_ids", "attention_mask"):
            encoded[f"multilingual_{name}"] = encoded.pop(name)
        return BatchFeature({**self.tokenize(prompts), **encoded})

    def tokenize(self, prompts: Sequence[str]) -> dict[str, torch.Tensor]:
        """Return `input_ids`, `attention_mask` [B, L] of prompts, padded on the left and never cut."""
        encoded = self.tokenizer(list(prompts), padding=True, padding_side="left", return_tensors="pt")
        return {"input_ids": encoded["input_ids"], "attention_mask": encoded["attention_mask"]}

    def _model_types(self) -> dict[str, str]:
        return {
            "multilingual_tokenizer": self.multilingual_model_type,
            "english_tokenizer": self.encoder.english_model_type,
        }

    def to_dict(self, *args: object, **kwargs: object) -> dict[str, object]:
        """Return what the processor's file holds: settings, without the encoders' processor made from them."""
        return {name: value for name, value in super().to_dict(*args, **kwargs).items() if name != "encoder"}

    @property
    def model_input_names(self) -> list[str]:
        """Names of the tensors that a call returns."""
        names = ["input_ids", "attention_mask", "multilingual_input_ids", "multilingual_attention_mask"]
        return list(dict.fromkeys([*names, *self.encoder.model_input_names]))
