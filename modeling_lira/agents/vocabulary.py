"""The part of a model's vocabulary that an answer can consist of, and the logits of that part only.

With 262,144 tokens the output layer is two thirds of gemma-3-270m's work a token. A translation into English needs
printable ASCII; a text in Thai script needs Thai letters, digits and common Latin words. BPE numbers its tokens in
the order of their frequency, so the first so many tokens of the wanted kind are the common ones, single characters
added.
"""

import unicodedata
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from ..data.languages import letters_of
from .english import english_words

LATIN_TOKENS = 65_536
"""How many of the most frequent Latin tokens texts in Latin script are made of."""
ENGLISH_PIECES = 16_384
"""How many of the most frequent tokens of printable ASCII an English text has besides those of English words."""
FOREIGN_LATIN_TOKENS = 16_384
"""How many of them occur in texts of another script: brands, sizes and the like."""
_LATIN = frozenset({"latin"})


class Vocabulary:
    """A tokenizer's tokens as text, and the subsets that prompts need.

    Parameters
    ----------
    tokenizer : PreTrainedTokenizerBase
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self._tokenizer = tokenizer
        self._pieces = tokenizer.batch_decode([[index] for index in range(len(tokenizer))])
        self._special = frozenset(tokenizer.all_special_ids)

    def english(self) -> Tensor:
        """Return the tokens that English is written with, int64 `[S]`: those of English words, and frequent pieces.

        The frequent ones alone do not do: "raincoat", "earbuds" and "hijab" are not among the 65,536 first. All tokens
        of printable ASCII are three times as many, most of them of other languages and of code.
        """
        frequent = self._first(ENGLISH_PIECES, _is_ascii)
        if len(self._pieces) <= ENGLISH_PIECES:
            return frequent
        forms = [form for word in sorted(english_words()) for form in (word, f" {word}", f" {word.capitalize()}")]
        used = {token for ids in self._tokenizer(forms, add_special_tokens=False)["input_ids"] for token in ids}
        of_words = [token for token in used if self._usable(token) and _is_ascii(self._pieces[token])]
        return torch.cat([frequent, torch.tensor(of_words, dtype=torch.int64)]).unique()

    def of_language(self, language: str) -> Tensor:
        """Return the frequent tokens that a text in `language`, or in English ("en"), consists of, int64 `[S]`."""
        letters = letters_of(language)
        latin = self._first(LATIN_TOKENS if letters == _LATIN else FOREIGN_LATIN_TOKENS, _is_latin)
        others = letters - _LATIN
        # A byte-level tokenizer splits letters beyond ASCII, and such a piece decodes to the replacement character.
        of_script = self._first(None, lambda piece: "\ufffd" in piece or set() < _scripts(piece) <= others)
        return torch.cat([latin, of_script]).unique()

    def line_ends(self) -> list[int]:
        """Return the ids of the tokens that consist of line ends and other white space only."""
        return [index for index, piece in enumerate(self._pieces) if "\n" in piece and not piece.strip()]

    def _first(self, limit: int | None, wanted: Callable[[str], bool]) -> Tensor:
        """Return the first `limit` wanted tokens, which are the most frequent, and all wanted single characters."""
        fits = [index for index, piece in enumerate(self._pieces) if self._usable(index) and wanted(piece)]
        # SentencePiece numbers single characters, digits among them, last.
        characters = [index for index in fits if len(self._pieces[index]) == 1]
        return torch.tensor(fits[:limit] + characters, dtype=torch.int64).unique()

    def _usable(self, index: int) -> bool:
        piece = self._pieces[index]
        return bool(piece) and index not in self._special and "<" not in piece and ">" not in piece


def _scripts(piece: str) -> set[str]:
    letters = (c for c in piece if c.isalpha() or unicodedata.category(c).startswith("M"))
    return {unicodedata.name(c, "UNKNOWN").split()[0].casefold() for c in letters}


def _is_ascii(piece: str) -> bool:
    return piece.isascii() and piece.isprintable()


def _is_latin(piece: str) -> bool:
    return "\ufffd" not in piece and _scripts(piece) <= {"latin", "combining"}


def stop_tokens(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, vocabulary: Vocabulary) -> Tensor:
    """Return the ids that end an answer: end-of-text tokens and line ends, int64 `[E]`."""
    ends = model.generation_config.eos_token_id if model.generation_config is not None else None
    ids = {tokenizer.eos_token_id, *(ends if isinstance(ends, list) else [ends]), *vocabulary.line_ends()}
    return torch.tensor(sorted(index for index in ids if index is not None), dtype=torch.int64)


class OutputHead:
    """A model's output layer reduced to some tokens.

    Parameters
    ----------
    model : PreTrainedModel
    tokens : Tensor, int64 `[S]`
        Token ids.
    """

    def __init__(self, model: PreTrainedModel, tokens: Tensor) -> None:
        full = model.get_output_embeddings()
        bias: Tensor | None = getattr(full, "bias", None)
        self.tokens = tokens.unique().to(full.weight.device)
        self._all_weights, self._all_biases = full.weight.detach(), None if bias is None else bias.detach()
        self.weight = self._all_weights[self.tokens]
        self.bias = None if self._all_biases is None else self._all_biases[self.tokens]
        config = model.get_decoder().config
        self._softcap: float | None = getattr(config, "final_logit_softcapping", None)
        self._scale = float(getattr(config, "logit_scale", 1.0)) / float(getattr(config, "logits_scaling", 1.0))

    def top(self, hidden: Tensor, count: int) -> tuple[Tensor, Tensor]:
        """Return the `count` best tokens of each row and their logits, best first.

        The layer runs in the model's precision; the logits of the best tokens are computed again in float32, since many
        logits are equal in bfloat16.

        Parameters
        ----------
        hidden : Tensor, `[N, d]`
        count : int

        Returns
        -------
        tuple
            float32 logits `[N, k]` and int64 token ids `[N, k]`, k = `count` or all tokens if there are fewer.
        """
        rough = functional.linear(hidden, self.weight, self.bias)
        chosen = rough.topk(min(count, len(self.tokens)), sorted=False).indices.sort(-1).values
        chosen = self.tokens[chosen]
        logits, order = self._exact(hidden[:, None], chosen).sort(dim=-1, descending=True, stable=True)
        return logits, chosen.gather(-1, order)

    def log_probability(self, hidden: Tensor, targets: Tensor) -> Tensor:
        """Return log p(target) among these tokens and the target itself.

        Parameters
        ----------
        hidden : Tensor, `[N, d]`
        targets : Tensor, int64 `[N]`

        Returns
        -------
        Tensor, float32 `[N]`.
        """
        logits = self._finish(functional.linear(hidden, self.weight, self.bias))
        best = logits.amax(-1, keepdim=True)
        # In place and in the model's precision, to save memory; the sum is in float32, so only its terms are rounded.
        total = logits.sub_(best).exp_().sum(-1, dtype=torch.float32).log() + best[:, 0].float()
        target = self._exact(hidden, targets)
        inside = torch.isin(targets, self.tokens)
        return target - torch.where(inside, torch.maximum(total, target), torch.logaddexp(total, target))

    def _exact(self, hidden: Tensor, tokens: Tensor) -> Tensor:
        logits = (hidden.float() * self._all_weights[tokens].float()).sum(-1)
        if self._all_biases is not None:
            logits = logits + self._all_biases[tokens].float()
        return self._finish(logits)

    def _finish(self, logits: Tensor) -> Tensor:
        if self._softcap is not None:
            logits = self._softcap * torch.tanh(logits / self._softcap)
        return logits if self._scale == 1.0 else logits * self._scale
