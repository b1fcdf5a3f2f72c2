"""Turn texts, their translations and critics' scores into the tensors of a LiRA model."""

import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import torch
from transformers import BatchFeature, PreTrainedTokenizerBase, ProcessorMixin

from .configuration_lira import LANGUAGES
from .errors import LiraError

KINDS = ("query", "document")
ENGLISH = "en"
_CHARACTERS_PER_TOKEN = 64
"""More than any real text has: what lies beyond so many would be cut off as tokens, after minutes for megabytes."""


class LiraProcessor(ProcessorMixin):
    """Prepare both paths: one tokenizer for the text, one for its English candidates.

    Parameters
    ----------
    tokenizer, english_tokenizer : PreTrainedTokenizerBase
        Tokenizers of the multilingual and of the English backbone.
    max_length : int
        Longest text in tokens; a backbone's own limit still applies.
    num_candidates : int
        Largest number K of candidates per text.
    languages : list of str, optional
        Language codes in the order of their ids, as in the model's config.
    query_prefix, document_prefix : str
        What the multilingual backbone wants before a query and a document (e5: `"query: "` and `"passage: "`).
    english_query_prefix, english_document_prefix : str
        The same for the English backbone.
    english_model_type : str
        Model type of the English backbone, written beside its tokenizer so that it loads offline.

    Source: ours.
    """

    tokenizer: PreTrainedTokenizerBase
    english_tokenizer: PreTrainedTokenizerBase

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase | None = None,
        english_tokenizer: PreTrainedTokenizerBase | None = None,
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
        super().__init__(tokenizer, english_tokenizer, **kwargs)
        self.max_length = max_length
        self.num_candidates = num_candidates
        self.languages = list(LANGUAGES if languages is None else languages)
        self.query_prefix = query_prefix
        self.document_prefix = document_prefix
        self.english_query_prefix = english_query_prefix
        self.english_document_prefix = english_document_prefix
        self.english_model_type = english_model_type

    def __call__(
        self,
        texts: str | Sequence[str],
        candidates: Sequence[Sequence[str]] | None = None,
        languages: str | Sequence[str | None] | None = None,
        kind: str = "query",
        critic_scores: Sequence[Sequence[Sequence[float]]] | None = None,
        prefix: str | None = None,
    ) -> BatchFeature:
        """Tokenize a batch.

        Parameters
        ----------
        texts : str or sequence of str, B of them
        candidates : sequence of sequences of str, optional
            Up to K English translations of each text; an empty list where there is none.
        languages : str or sequence of str, optional
            One code for all texts or one each. An English text without candidates is its own translation.
        kind : "query" or "document"
        critic_scores : sequence [B, K, 3], optional; an empty row where no critic spoke
            Semantic, emotional and pragmatic score of each candidate, in [1, 10].
        prefix : str, optional
            What stands before each text in place of the kind's own prefix.

        Returns
        -------
        BatchFeature
            `input_ids`, `attention_mask` [B, L]; `language_ids` [B]; and, where any text has a candidate,
            `english_input_ids`, `english_attention_mask` [B, K, L], `candidate_mask` [B, K], `critic_scores` [B, K, 3].

        Raises
        ------
        LiraError
            No text, an empty one, an unknown language or kind, candidates or scores that do not fit the texts.

        Source: ours.
        """
        texts = self.check_texts(texts)
        if not texts:
            raise LiraError("texts is empty: give at least one text")
        codes = self.check_languages(languages, len(texts))
        chosen = self.check_candidates(texts, candidates, codes)
        scores = self.check_scores(critic_scores, chosen)
        batch = self.tokenize(texts, kind, prefix=prefix)
        batch["language_ids"] = self.language_ids(codes)
        if any(chosen):
            batch.update(self._english_inputs(chosen, kind))
            batch["critic_scores"] = scores
        return BatchFeature(batch)

    def check_texts(self, texts: str | Sequence[str]) -> list[str]:
        """Return the texts as a list; raise `LiraError` for anything that is not a text with something in it."""
        if not isinstance(texts, Iterable):
            raise LiraError(f"texts must be str or a sequence of str, got {texts!r}")
        listed = [texts] if isinstance(texts, str) else list(texts)
        for index, text in enumerate(listed):
            if not isinstance(text, str):
                raise LiraError(f"text {index} must be str, got {text!r}")
            if not text.strip():
                raise LiraError(f"text {index} is empty ({text!r}): every text needs at least one visible character")
        return listed

    def check_languages(self, languages: str | Sequence[str | None] | None, count: int) -> list[str | None]:
        """Return one known language code (or None) a text; raise `LiraError` for an unknown code or a wrong number."""
        if languages is None or isinstance(languages, str):
            codes: list[str | None] = [languages] * count
        else:
            codes = list(languages)
        if len(codes) != count:
            raise LiraError(f"{len(codes)} languages for {count} texts: give one code for all or one each")
        for code in codes:
            if code is not None and code not in self.languages:
                raise LiraError(f"language {code!r} is not in the model's config; it knows {', '.join(self.languages)}")
        return codes

    def check_candidates(
        self, texts: Sequence[str], candidates: Sequence[Sequence[str]] | None, languages: Sequence[str | None]
    ) -> list[list[str]]:
        """Return each text's candidates; an English text without any is its own.

        Raises `LiraError` for a number of lists that is not the number of texts, more than K candidates, a string in
        place of a list, or an empty candidate.
        """
        given: Sequence[Sequence[str]] = [()] * len(texts) if candidates is None else candidates
        if isinstance(given, str) or not isinstance(given, Iterable):
            raise LiraError(f"candidates must be a list of lists of str, got {given!r}")
        rows = [self._check_row(index, row) for index, row in enumerate(given)]
        if len(rows) != len(texts):
            raise LiraError(f"candidates must hold one list a text: got {len(rows)} lists for {len(texts)} texts")
        own = [[text] if code == ENGLISH else [] for text, code in zip(texts, languages, strict=True)]
        return [row or itself for row, itself in zip(rows, own, strict=True)]

    def _check_row(self, index: int, row: Sequence[str]) -> list[str]:
        if isinstance(row, str) or not isinstance(row, Iterable):
            raise LiraError(f"candidates of text {index} must be a list of str, got {row!r}")
        listed = list(row)
        if len(listed) > self.num_candidates:
            raise LiraError(f"text {index} has {len(listed)} candidates; the model takes up to {self.num_candidates}")
        for candidate in listed:
            if not isinstance(candidate, str) or not candidate.strip():
                raise LiraError(f"text {index} has an empty candidate ({candidate!r}); leave it out instead")
        return listed

    def check_scores(
        self, critic_scores: Sequence[Sequence[Sequence[float]]] | None, candidates: Sequence[Sequence[str]]
    ) -> torch.Tensor:
        """Return scores [B, K, 3], NaN where nothing was said; raise `LiraError` for a wrong shape or range."""
        width = max((len(row) for row in candidates), default=0)
        scores = torch.full((len(candidates), width, 3), float("nan"), dtype=torch.float32)
        if critic_scores is None:
            return scores
        if len(critic_scores) != len(candidates):
            raise LiraError(f"critic_scores hold {len(critic_scores)} rows for {len(candidates)} texts")
        for index, (given, row) in enumerate(zip(critic_scores, candidates, strict=True)):
            if not (isinstance(given, Sequence) and len(given) == 0):
                scores[index, : len(row)] = self._check_score_row(index, given, len(row))
        return scores

    @staticmethod
    def _check_score_row(index: int, given: Sequence[Sequence[float]], count: int) -> torch.Tensor:
        """Return the scores [count, 3] of one text."""
        try:
            values = torch.as_tensor(given, dtype=torch.float32)
        except (TypeError, ValueError, RuntimeError) as error:
            raise LiraError(f"critic_scores of text {index} must be rows of three numbers, got {given!r}") from error
        if values.shape != (count, 3):
            raise LiraError(f"critic_scores of text {index} have shape {tuple(values.shape)}, not ({count}, 3)")
        outside = values[(values < 1) | (values > 10)]
        if len(outside):
            raise LiraError(f"critic_scores of text {index} must be from 1 to 10, got {float(outside[0]):g}")
        return values

    def language_ids(self, languages: Sequence[str | None]) -> torch.Tensor:
        """Return ids [B]: position in the config plus one, 0 where the language is not told."""
        ids = [0 if code is None else self.languages.index(code) + 1 for code in languages]
        return torch.tensor(ids, dtype=torch.long)

    def tokenize(
        self, texts: Sequence[str], kind: str, path: str = "multilingual", prefix: str | None = None
    ) -> dict[str, torch.Tensor]:
        """Tokenize texts for one path, "multilingual" or "english"; return `input_ids`, `attention_mask` [B, L].

        A prefix given stands in place of the path's own for this kind.
        """
        if kind not in KINDS:
            raise LiraError(f"kind must be one of {', '.join(KINDS)}, got {kind!r}")
        english = path == "english"
        tokenizer = self.english_tokenizer if english else self.tokenizer
        if prefix is None:
            prefix = getattr(self, f"{'english_' if english else ''}{kind}_prefix")
        length = min(self.max_length, tokenizer.model_max_length)
        prefixed = [prefix + _readable(text, _CHARACTERS_PER_TOKEN * length) for text in texts]
        encoded = tokenizer(prefixed, truncation=True, max_length=length, padding=True, return_tensors="pt")
        return {"input_ids": encoded["input_ids"], "attention_mask": encoded["attention_mask"]}

    def _english_inputs(self, candidates: Sequence[Sequence[str]], kind: str) -> dict[str, torch.Tensor]:
        width = max(len(row) for row in candidates)
        mask = torch.tensor([[column < len(row) for column in range(width)] for row in candidates])  # [B, K]
        tokens = self.tokenize([text for row in candidates for text in row], kind, "english")
        inputs = {"candidate_mask": mask}
        for name, filler in (("input_ids", self.english_tokenizer.pad_token_id or 0), ("attention_mask", 0)):
            padded = torch.full((*mask.shape, tokens[name].shape[-1]), filler)  # [B, K, L]
            padded[mask] = tokens[name]
            inputs[f"english_{name}"] = padded
        return inputs

    def save_pretrained(
        self, save_directory: str | os.PathLike, push_to_hub: bool = False, **kwargs: object
    ) -> list[str]:
        """Save the processor; the second tokenizer gets a `config.json` of its own, or it would not load offline."""
        for tokenizer in (self.tokenizer, self.english_tokenizer):
            if tokenizer.is_fast:  # else the file would hold the truncation and padding of the last call
                tokenizer.backend_tokenizer.no_truncation()
                tokenizer.backend_tokenizer.no_padding()
        folder = Path(save_directory) / "english_tokenizer"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.json").write_text(json.dumps({"model_type": self.english_model_type}), encoding="utf-8")
        return super().save_pretrained(str(save_directory), push_to_hub=push_to_hub, **kwargs)

    @property
    def model_input_names(self) -> list[str]:
        """Names of the tensors that a call returns."""
        return [
            "input_ids",
            "attention_mask",
            "language_ids",
            "english_input_ids",
            "english_attention_mask",
            "candidate_mask",
            "critic_scores",
        ]


def _readable(text: str, limit: int) -> str:
    """Return a text that tokenizers take: at most `limit` characters, halves of characters joined or replaced.

    Space before it goes, in short texts as in long ones, so that the cut changes nothing that counts.
    """
    text = text.lstrip()[:limit]
    if text.isascii():
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
