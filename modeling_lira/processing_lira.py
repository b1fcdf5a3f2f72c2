"""Turn texts, their translations and critics' scores into the tensors of a LiRA model."""

import json
import os
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from transformers import AutoTokenizer, BatchFeature, PreTrainedTokenizerBase, ProcessorMixin

from .arca import NUM_CRITICS
from .configuration_lira import ENGLISH, LANGUAGES
from .errors import LiraError, is_blank, is_missing, reading, shortened

KINDS = ("query", "document")

_CHARACTERS_PER_TOKEN = 64
"""More than any real text has: what lies beyond so many would be cut off as tokens, after minutes for megabytes."""

_REMOVED = re.compile("[\u00ad\u200e\u200f\u202a-\u202e\u2060-\u2064\u2066-\u206f\ufeff]")
"""Soft hyphen, word joiner, byte order mark and marks of direction: they neither show nor separate words."""
_REORDERED = (
    # Thai: sara e twice looks like sara ae; a tone mark stands after the vowel above or below its consonant, and
    # before sara am and the other vowels that follow.
    (re.compile("\u0e40\u0e40"), "\u0e41"),
    (re.compile("\u0e4d([\u0e48-\u0e4b]*)\u0e32"), "\\1\u0e33"),
    (re.compile("([\u0e48-\u0e4c]+)([\u0e31\u0e34-\u0e3a\u0e47]+)"), "\\2\\1"),
    (re.compile("([\u0e30\u0e32\u0e33\u0e45]+)([\u0e48-\u0e4b]+)"), "\\2\\1"),
    # Bengali: first the dot of the letter, then its vowel, then the signs that close the syllable.
    (re.compile("([\u09be-\u09cc\u09d7]+)\u09bc"), "\u09bc\\1"),
    (re.compile("([\u0981-\u0983]+)([\u09be-\u09cc\u09d7]+)"), "\\2\\1"),
)
"""What Unicode's own normal forms leave alone: spellings in an order that no keyboard rule allows, but that look right.

Source: Thai after PyThaiNLP (Phatthiyaphaibun et al. 2023).
"""
_MAY_BE_REORDERED = re.compile("[\u0981-\u09d7\u0e30-\u0e4d]")


class TokenizersProcessor(ProcessorMixin):
    """A processor of several tokenizers, each but the first in a folder of its own: complete, or not loaded at all."""

    @classmethod
    def from_pretrained(  # type: ignore[override]
        cls, pretrained_model_name_or_path: str | os.PathLike, **kwargs: Any
    ) -> Self:
        """Read a processor, of a folder or Hub id; raise `LiraError` for files that are missing or damaged."""
        with reading(f"the processor of {str(pretrained_model_name_or_path)!r}"):
            return super().from_pretrained(pretrained_model_name_or_path, **kwargs)

    @classmethod
    def get_processor_dict(cls, *args: Any, **kwargs: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """Read the settings, without which `transformers` would take every default."""
        settings, rest = super().get_processor_dict(*args, **kwargs)
        if not settings:
            raise LiraError(f"{str(args[0])!r} has no processor_config.json, or an empty one")
        return settings, rest

    @classmethod
    def _load_tokenizer_from_pretrained(
        cls, sub_processor_type: str, pretrained_model_name_or_path: str, subfolder: str = "", **kwargs: Any
    ) -> PreTrainedTokenizerBase:
        """Read a tokenizer from its own folder; where that fails `transformers` would take the first one instead."""
        folders = [subfolder, "" if sub_processor_type == "tokenizer" else sub_processor_type]
        folder = "/".join(name for name in folders if name)
        return AutoTokenizer.from_pretrained(pretrained_model_name_or_path, subfolder=folder, **kwargs)

    def _model_types(self) -> dict[str, str]:
        """Return the model type of each tokenizer in a folder of its own, by the tokenizer's name."""
        raise NotImplementedError

    def save_pretrained(
        self, save_directory: str | os.PathLike, push_to_hub: bool = False, **kwargs: object
    ) -> list[str]:
        """Save the processor; every tokenizer but the first gets a `config.json`, or it would not load offline."""
        for name in self.get_attributes():
            if getattr(self, name).is_fast:  # else the file would hold the truncation and padding of the last call
                getattr(self, name).backend_tokenizer.no_truncation()
                getattr(self, name).backend_tokenizer.no_padding()
        for name, model_type in self._model_types().items():
            folder = Path(save_directory) / name
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "config.json").write_text(json.dumps({"model_type": model_type}), encoding="utf-8")
        return super().save_pretrained(str(save_directory), push_to_hub=push_to_hub, **kwargs)


class LiraProcessor(TokenizersProcessor):
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

    Raises
    ------
    LiraError
        A field of another type, a `max_length` that leaves no room for a token of the text.
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
        self.max_length = self.check_max_length(max_length, tokenizer, english_tokenizer)
        self.num_candidates = num_candidates
        self.languages = LANGUAGES if languages is None else languages
        self.query_prefix = query_prefix
        self.document_prefix = document_prefix
        self.english_query_prefix = english_query_prefix
        self.english_document_prefix = english_document_prefix
        self.english_model_type = english_model_type
        self._check_fields()

    def _check_fields(self) -> None:
        codes = [] if isinstance(self.languages, str) or not isinstance(self.languages, Iterable) else self.languages
        if not codes or not all(isinstance(code, str) and code.strip() for code in codes):
            raise LiraError(f"languages must be a list of codes, got {self.languages!r}")
        self.languages = list(codes)
        if len(set(codes)) != len(self.languages):
            raise LiraError(f"languages hold a code twice: {self.languages}")
        if not isinstance(self.num_candidates, int) or isinstance(self.num_candidates, bool) or self.num_candidates < 1:
            raise LiraError(f"num_candidates must be a positive whole number, got {self.num_candidates!r}")
        for name in (*(f"{path}{kind}_prefix" for path in ("", "english_") for kind in KINDS), "english_model_type"):
            if not isinstance(getattr(self, name), str):
                raise LiraError(f"{name} must be str, got {getattr(self, name)!r}")

    @staticmethod
    def check_max_length(length: int, *tokenizers: PreTrainedTokenizerBase | None) -> int:
        """Return the number of tokens; raise `LiraError` if the special ones leave no room for one of the text."""
        special = max((tokenizer.num_special_tokens_to_add() for tokenizer in tokenizers if tokenizer), default=0)
        if isinstance(length, bool) or not isinstance(length, int) or length <= special:
            raise LiraError(f"max_length must be a whole number of tokens from {special + 1} on, got {length!r}")
        return length

    def __call__(
        self,
        texts: str | Sequence[str],
        candidates: Sequence[Sequence[str] | None] | None = None,
        languages: str | Sequence[str | None] | None = None,
        kind: str = "query",
        critic_scores: Sequence[Sequence[Sequence[float]] | None] | None = None,
        prefix: str | None = None,
        names: Sequence[str] | None = None,
        allow_blank: bool = False,
    ) -> BatchFeature:
        """Tokenize a batch.

        Parameters
        ----------
        texts : str or sequence of str, B of them
        candidates : sequence of sequences of str, optional
            Up to K English translations of each text; an empty list or None where there is none.
        languages : str or sequence of str, optional
            One code for all texts or one each; None where it is not told. An English text without candidates is its
            own translation.
        kind : "query" or "document"
        critic_scores : sequence [B, K, 3], optional; an empty row or None where no critic spoke
            Semantic, emotional and pragmatic score of each candidate, in [1, 10].
        prefix : str, optional
            What stands before each text in place of the kind's own prefix.
        names : sequence of str, optional
            What errors call each text; by default its position, "text 0" being the first.
        allow_blank : bool
            Take a text with no visible character for an empty one; otherwise it is an error.

        Returns
        -------
        BatchFeature
            `input_ids`, `attention_mask` [B, L]; `language_ids` [B]; and, where any text has a candidate,
            `english_input_ids`, `english_attention_mask` [B, K, L], `candidate_mask` [B, K], `critic_scores` [B, K, 3].

        Raises
        ------
        LiraError
            No text, an empty one, an unknown language or kind, candidates or scores that do not fit the texts.
        """
        texts = self.check_texts(texts, names, allow_blank)
        if not texts:
            raise LiraError("texts is empty: give at least one text")
        codes = self.check_languages(languages, len(texts), names)
        chosen = self.check_candidates(texts, candidates, codes, names)
        scores = self.check_scores(critic_scores, chosen, names)
        batch = self.tokenize(texts, kind, prefix=prefix)
        batch["language_ids"] = self.language_ids(codes)
        if any(chosen):
            batch.update(self.english_inputs(chosen, kind))
            batch["critic_scores"] = scores
        return BatchFeature(batch)

    def check_texts(
        self, texts: str | Sequence[str], names: Sequence[str] | None = None, allow_blank: bool = False
    ) -> list[str]:
        """Return the texts as a list, blank ones as empty texts.

        Raises `LiraError` for anything that is not a text or, unless they are allowed, for a text with nothing visible.
        """
        listed = [texts] if isinstance(texts, str) else _listed(texts, "texts must be str or a sequence of str")
        for index, text in enumerate(listed):
            if not isinstance(text, str):
                raise LiraError(f"{_name(names, index)} must be str, got {text!r}")
            if is_blank(text):
                if not allow_blank:
                    raise LiraError(
                        f"{_name(names, index)} is empty ({shortened(text)}): every text needs a visible character"
                    )
                listed[index] = ""
        return listed

    def check_languages(
        self, languages: str | Sequence[str | None] | None, count: int, names: Sequence[str] | None = None
    ) -> list[str | None]:
        """Return one known language code (or None) a text; raise `LiraError` for an unknown code or a wrong number."""
        if isinstance(languages, str) or is_missing(languages):
            codes: list = [languages] * count
        else:
            codes = _listed(languages, "languages must be one code or a sequence of them")
        if len(codes) != count:
            raise LiraError(f"{len(codes)} languages for {count} texts: give one code for all or one each")
        return [None if is_missing(code) else self._known_language(code, names, row) for row, code in enumerate(codes)]

    def _known_language(self, given: object, names: Sequence[str] | None, row: int) -> str:
        """Return the language of the config that a tag means: `vi-VN` means `vi`.

        Source: RFC 4647, lookup.
        """
        code = given if isinstance(given, str) else ""
        while code and code not in self.languages:
            code = code.rpartition("-")[0]
        if not code:
            known = ", ".join(self.languages)
            raise LiraError(f"language {given!r} is not in the model's config; it knows {known} ({_name(names, row)})")
        return code

    def check_candidates(
        self,
        texts: Sequence[str],
        candidates: Sequence[Sequence[str] | None] | None,
        languages: Sequence[str | None],
        names: Sequence[str] | None = None,
    ) -> list[list[str]]:
        """Return each text's candidates; an English text without any is its own.

        Raises `LiraError` for a number of lists that is not the number of texts, more than K candidates, a string in
        place of a list, or an empty candidate.
        """
        nothing = [None] * len(texts)
        given = nothing if candidates is None else _listed(candidates, "candidates must be a list of lists of str")
        if len(given) != len(texts):
            raise LiraError(f"candidates must hold one list a text: got {len(given)} lists for {len(texts)} texts")
        rows = [self._check_row(_name(names, index), row) for index, row in enumerate(given)]
        return [
            row or ([text] if code == ENGLISH and text else [])
            for row, text, code in zip(rows, texts, languages, strict=True)
        ]

    def _check_row(self, name: str, row: Sequence[str] | None) -> list[str]:
        if is_missing(row):
            return []
        listed = _listed(row, f"candidates of {name} must be a list of str")
        if len(listed) > self.num_candidates:
            raise LiraError(f"{name} has {len(listed)} candidates; the model takes up to {self.num_candidates}")
        for candidate in listed:
            if not isinstance(candidate, str) or is_blank(candidate):
                raise LiraError(f"{name} has an empty candidate ({candidate!r}); leave it out instead")
        return listed

    def check_scores(
        self,
        critic_scores: Sequence[Sequence[Sequence[float]] | None] | None,
        candidates: Sequence[Sequence[str]],
        names: Sequence[str] | None = None,
    ) -> torch.Tensor:
        """Return scores [B, K, 3], NaN where nothing was said; raise `LiraError` for a wrong shape or range."""
        width = max((len(row) for row in candidates), default=0)
        scores = torch.full((len(candidates), width, NUM_CRITICS), float("nan"), dtype=torch.float32)
        if critic_scores is None:
            return scores
        listed = _listed(critic_scores, "critic_scores must hold one row of scores a text")
        if len(listed) != len(candidates):
            raise LiraError(f"critic_scores hold {len(listed)} rows for {len(candidates)} texts")
        for index, (given, row) in enumerate(zip(listed, candidates, strict=True)):
            if not is_missing(given):
                scores[index, : len(row)] = self._check_score_row(_name(names, index), given, len(row))
        return scores

    @staticmethod
    def _check_score_row(name: str, given: Sequence[Sequence[float]], count: int) -> torch.Tensor:
        """Return the scores [count, 3] of one text; rows of NaN beyond its candidates are padding."""
        try:
            values = torch.as_tensor(given, dtype=torch.float32)
        except (TypeError, ValueError, RuntimeError) as error:
            raise LiraError(f"critic_scores of {name} must be rows of three numbers, got {given!r}") from error
        if values.shape == (0,):
            return torch.full((count, NUM_CRITICS), float("nan"))
        if values.dim() == 2 and values[count:].isnan().all():
            values = values[:count]
        if values.shape != (count, NUM_CRITICS):
            raise LiraError(f"critic_scores of {name} have shape {tuple(values.shape)}, not ({count}, {NUM_CRITICS})")
        outside = values[(values < 1) | (values > 10)]
        if len(outside):
            raise LiraError(f"critic_scores of {name} must be from 1 to 10, got {float(outside[0]):g}")
        return values

    def language_ids(self, languages: Sequence[str | None]) -> torch.Tensor:
        """Return ids [B]: position in the config plus one, 0 where the language is not told."""
        return torch.tensor(self.language_numbers(languages), dtype=torch.long)

    def language_numbers(self, languages: Sequence[str | None]) -> list[int]:
        """Return the ids as a list."""
        return [0 if code is None else self.languages.index(code) + 1 for code in languages]

    def longest(self, path: str = "multilingual") -> int:
        """Return how many tokens of a text a path reads at most."""
        tokenizer = self.english_tokenizer if path == "english" else self.tokenizer
        return min(self.max_length, tokenizer.model_max_length)

    def tokenize(
        self, texts: Sequence[str], kind: str, path: str = "multilingual", prefix: str | None = None
    ) -> dict[str, torch.Tensor]:
        """Tokenize texts for one path, "multilingual" or "english"; return `input_ids`, `attention_mask` [B, L].

        A prefix given stands in place of the path's own for this kind.
        """
        arrays = self.token_arrays(texts, kind, path, prefix)
        return {name: torch.from_numpy(values) for name, values in arrays.items()}

    def token_arrays(
        self, texts: Sequence[str], kind: str, path: str = "multilingual", prefix: str | None = None
    ) -> dict[str, np.ndarray]:
        """Return what `tokenize` does as arrays."""
        if kind not in KINDS:
            raise LiraError(f"kind must be one of {', '.join(KINDS)}, got {kind!r}")
        english = path == "english"
        tokenizer = self.english_tokenizer if english else self.tokenizer
        if prefix is None:
            prefix = getattr(self, f"{'english_' if english else ''}{kind}_prefix")
        length = self.longest(path)
        prefixed = [prefix + _readable(text, _CHARACTERS_PER_TOKEN * length) for text in texts]
        return _encoded(tokenizer, prefixed, length)

    def english_inputs(self, candidates: Sequence[Sequence[str]], kind: str) -> dict[str, torch.Tensor]:
        """Tokenize the candidates of a batch; return `english_input_ids`, `english_attention_mask`, `candidate_mask`.

        At least one text must have a candidate.
        """
        width = max(len(row) for row in candidates)
        mask = torch.tensor([[column < len(row) for column in range(width)] for row in candidates])  # [B, K]
        tokens = self.tokenize([text for row in candidates for text in row], kind, "english")
        inputs = {"candidate_mask": mask}
        for name, filler in (("input_ids", self.english_tokenizer.pad_token_id or 0), ("attention_mask", 0)):
            padded = torch.full((*mask.shape, tokens[name].shape[-1]), filler)  # [B, K, L]
            padded[mask] = tokens[name]
            inputs[f"english_{name}"] = padded
        return inputs

    def _model_types(self) -> dict[str, str]:
        return {"english_tokenizer": self.english_model_type}

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


def normalise(text: str) -> str:
    """Return the one spelling of a text that both paths read, of the many that look alike.

    Unicode's compatibility form (NFKC), with Thai sara am in one piece as it is typed; no soft hyphens, byte order
    marks or marks of direction; a zero-width space is a space; Thai and Bengali signs in the order of their scripts.
    """
    if text.isascii():
        return text
    text = _REMOVED.sub("", unicodedata.normalize("NFKC", text)).replace("\u200b", " ")
    if _MAY_BE_REORDERED.search(text):
        for pattern, replacement in _REORDERED:
            text = pattern.sub(replacement, text)
    return text


def _readable(text: str, limit: int) -> str:
    """Return a text that tokenizers take: at most `limit` characters, halves of characters joined or replaced.

    Space before it goes, in short texts as in long ones, so that the cut changes nothing that counts.
    """
    text = text.lstrip()[:limit]
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return normalise(text)


def _encoded(tokenizer: PreTrainedTokenizerBase, texts: list[str], length: int) -> dict[str, np.ndarray]:
    """Return `input_ids` and `attention_mask` [B, L] of texts cut to `length` tokens."""
    if len(texts) != 1 or not tokenizer.is_fast:
        encoded = tokenizer(texts, truncation=True, max_length=length, padding=True)
        return {name: np.array(encoded[name], np.int64) for name in ("input_ids", "attention_mask")}
    # What `tokenizer(...)` does too, but of one short text its many settings cost more than the tokens themselves.
    backend = tokenizer.backend_tokenizer
    backend.no_padding()
    backend.enable_truncation(length, direction=tokenizer.truncation_side)
    backend.encode_special_tokens = tokenizer.split_special_tokens
    [row] = backend.encode_batch_fast(texts)
    return {"input_ids": np.array([row.ids]), "attention_mask": np.array([row.attention_mask])}


def _name(names: Sequence[str] | None, index: int) -> str:
    return f"text {index}" if names is None else names[index]


def _listed(values: object, message: str) -> list:
    """Return a sequence as a list; raise `LiraError` with the message for text, a mapping or a single value."""
    if type(values) is list:
        return values.copy()
    if isinstance(values, Iterable) and not isinstance(values, str | bytes | Mapping):
        try:
            return list(values)
        except TypeError:  # an array without dimensions
            pass
    raise LiraError(f"{message}, got {shortened(values)}")


def batches_by_length(texts: Sequence[str], batch_size: int) -> Iterator[list[int]]:
    """Yield positions of texts of like length, so that little of a batch is padding."""
    order = sorted(range(len(texts)), key=lambda index: len(texts[index].encode("utf-8", "surrogatepass")))
    for start in range(0, len(order), batch_size):
        yield order[start : start + batch_size]


def candidate_rows(candidates: Sequence[Sequence[str]], distinct: Sequence[str], width: int) -> torch.Tensor:
    """Return the row of each candidate in `distinct`, [N, width]; -1 where there is none."""
    position = {text: index for index, text in enumerate(distinct)}
    rows = [[position[text] for text in row] + [-1] * (width - len(row)) for row in candidates]
    return torch.tensor(rows, dtype=torch.long).view(len(candidates), width)


def write_sentence_transformers(folder: Path, processor: LiraProcessor) -> None:
    """Write what sentence-transformers reads first: its one module, and the prompts that the user sees."""
    module = {"idx": 0, "name": "0", "path": "", "type": "st_lira.LiraSTModule"}
    settings = {
        "model_type": "SentenceTransformer",
        "prompts": {"query": processor.query_prefix, "document": processor.document_prefix},
        "similarity_fn_name": "cosine",
    }
    for name, content in (("modules.json", [module]), ("config_sentence_transformers.json", settings)):
        (folder / name).write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
