"""Tokenizers with the same vocabulary in every run: the trainers of `tokenizers` break ties by a random hash."""

from collections import Counter
from collections.abc import Iterable, Sequence
from math import log

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers

LONGEST = 6
"""Characters of the longest piece."""


def unigram_tokenizer(texts: Iterable[str], special: Sequence[str], size: int) -> Tokenizer:
    """Return a tokenizer like SentencePiece's with up to `size` pieces; `<unk>` is one of the special ones."""
    split = pre_tokenizers.Metaspace()
    counts = _counts(word for text in texts for word, _ in split.pre_tokenize_str(text))
    pieces = _most_used(counts, size - len(special))
    scores = [(token, 0.0) for token in special]
    scores += [(piece, log(counts[piece] / counts.total())) for piece in pieces]
    tokenizer = Tokenizer(models.Unigram(scores, unk_id=special.index("<unk>")))
    tokenizer.add_special_tokens(list(special))
    tokenizer.pre_tokenizer, tokenizer.decoder = split, decoders.Metaspace()
    return tokenizer


def word_piece_tokenizer(texts: Iterable[str], special: Sequence[str], size: int) -> Tokenizer:
    """Return a tokenizer like BERT's with up to `size` pieces; `[UNK]` is one of the special ones."""
    normalizer, split = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    plain = (normalizer.normalize_str(text) for text in texts)
    counts = _counts((word for text in plain for word, _ in split.pre_tokenize_str(text)), inside="##")
    pieces = [*special, *_most_used(counts, size - len(special))]
    tokenizer = Tokenizer(models.WordPiece({piece: row for row, piece in enumerate(pieces)}, unk_token="[UNK]"))
    tokenizer.add_special_tokens(list(special))
    tokenizer.normalizer, tokenizer.pre_tokenizer, tokenizer.decoder = normalizer, split, decoders.WordPiece()
    return tokenizer


def _counts(words: Iterable[str], inside: str = "") -> Counter[str]:
    """Count the parts of words; one that does not begin its word is marked by `inside`."""
    return Counter(
        (inside if start else "") + word[start : start + length]
        for word in words
        for start in range(len(word))
        for length in range(1, min(LONGEST, len(word) - start) + 1)
    )


def _most_used(counts: Counter[str], size: int) -> list[str]:
    """Return every single character, then the parts that stand for most characters of the texts."""
    letters = sorted(piece for piece in counts if len(piece.removeprefix("##")) == 1)
    parts = sorted(counts.keys() - letters, key=lambda piece: (-counts[piece] * len(piece), piece))
    return (letters + parts)[:size]
