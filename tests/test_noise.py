"""Controlled noise: pure, seeded, and each kind spoils as it says."""

import random

import pytest

from dataset_builder.noise import KINDS, Noise, add_noise
from modeling_lira.errors import LiraError

SOURCES = ["áo thun nam màu đỏ", "nồi cơm điện", "giày chạy bộ", "đèn bàn"]
CANDIDATES = [
    ["red t-shirt for men", "men red shirt"],
    ["electric rice cooker"],
    ["running shoes for women in blue", "shoes"],
    [],
]


@pytest.mark.parametrize("kind", KINDS)
def test_noise_is_pure_and_seeded(kind: str) -> None:
    before = [list(texts) for texts in CANDIDATES]
    first = add_noise(CANDIDATES, 0.5, kind, seed=3, sources=SOURCES)
    assert before == CANDIDATES
    assert first == add_noise(CANDIDATES, 0.5, kind, seed=3, sources=SOURCES)
    seeds = {str(add_noise(CANDIDATES, 0.5, kind, seed=seed, sources=SOURCES)) for seed in range(8)}
    assert len(seeds) > 1


@pytest.mark.parametrize("kind", KINDS)
def test_level_decides_how_many_are_spoiled(kind: str) -> None:
    many = [[f"blue shoes for men {number}"] for number in range(400)]
    for level in (0.0, 0.25, 1.0):
        noisy = add_noise(many, level, kind, sources=["nguồn"] * 400)
        changed = sum(texts != before for texts, before in zip(noisy, many, strict=True))
        assert abs(changed / 400 - level) < 0.07


@pytest.mark.parametrize("kind", KINDS)
def test_shape_stays_and_nothing_is_empty(kind: str) -> None:
    noisy = add_noise(CANDIDATES, 1.0, kind, sources=SOURCES)
    assert [len(texts) for texts in noisy] == [2, 1, 2, 0]
    assert all(text.strip() for texts in noisy for text in texts)


def test_drop_leaves_out_the_levels_share_of_the_words_in_order() -> None:
    [[text]] = add_noise([["a b c d e f g h"]], 1.0, "drop")
    assert len(text.split()) == 1
    for seed in range(200):
        [[text]] = add_noise([["a b c d e f g h"]], 0.5, "drop", seed)
        words = text.split()
        assert len(words) in (4, 8)
        assert words == sorted(words)
    assert add_noise([["one"]], 1.0, "drop") == [["one"]]


def test_swap_takes_another_texts_candidate() -> None:
    noisy = add_noise(CANDIDATES, 1.0, "swap")
    others = [[text for other, texts in enumerate(CANDIDATES) if other != row for text in texts] for row in range(4)]
    for row, texts in enumerate(noisy):
        assert set(texts) <= set(others[row])
    assert add_noise([["alone"]], 1.0, "swap") == [["alone"]]


def test_wrong_sense_replaces_ambiguous_words_first() -> None:
    [[text], _] = add_noise([["big glass jug thing"], ["hat"]], 0.25, "wrong_sense", seed=4)
    texts = {add_noise([["big glass jug thing"], ["hat"]], 0.25, "wrong_sense", seed)[0][0] for seed in range(30)}
    assert texts == {"big glass jug thing", "big window pane jug thing"}
    assert text in texts


def test_untranslated_is_the_source() -> None:
    assert add_noise(CANDIDATES, 1.0, "untranslated", sources=SOURCES) == [
        [SOURCES[0]] * 2, [SOURCES[1]], [SOURCES[2]] * 2, [],
    ]  # fmt: skip


def test_truncated_keeps_the_beginning() -> None:
    assert add_noise(CANDIDATES, 1.0, "truncated") == [["red", "men"], ["electric"], ["running", "sh"], []]


def test_hallucinated_adds_to_the_end() -> None:
    for texts, before in zip(add_noise(CANDIDATES, 1.0, "hallucinated"), CANDIDATES, strict=True):
        for text, original in zip(texts, before, strict=True):
            assert text.startswith(f"{original} ")
            assert len(text.split()) >= len(original.split()) + 2


def test_wrong_arguments() -> None:
    with pytest.raises(LiraError, match="noise 'rain' is unknown: choose one of drop, swap"):
        add_noise(CANDIDATES, 0.5, "rain")
    with pytest.raises(LiraError, match=r"noise level 1\.5 is outside"):
        add_noise(CANDIDATES, 1.5, "drop")
    with pytest.raises(LiraError, match="give sources"):
        add_noise(CANDIDATES, 0.5, "untranslated")
    with pytest.raises(LiraError, match="1 sources for 4 texts"):
        add_noise(CANDIDATES, 0.5, "drop", sources=["x"])


def test_at_least_one_word_is_spoiled() -> None:
    for level, words, expected in ((0.1, 2, 1), (0.5, 10, 5), (1.0, 3, 3)):
        assert Noise(random.Random(0), level, (), ()).share(["word"] * words) == expected
