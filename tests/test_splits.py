"""Splits share nothing, unseen types never train, and releases are nested."""

import itertools
from dataclasses import replace

import pytest

from dataset_builder.generator.catalogue import Catalogue
from dataset_builder.generator.splits import (
    RELEASES,
    UNSEEN_EVERY,
    Quota,
    Release,
    release_named,
    releases_up_to,
    split_of,
    split_products,
    unseen_types,
)
from dataset_builder.layout import SPLITS
from dataset_builder.lexicon import Lexicon, load_lexicon, normalise_text
from modeling_lira.errors import LiraError


@pytest.fixture(scope="module")
def lexicon() -> Lexicon:
    return load_lexicon(languages=("fil",))


def deal(lexicon: Lexicon, quota: Quota, seed: int = 0) -> dict[str, list]:
    dealt: dict[str, list] = {split: [] for split in SPLITS}
    unseen = unseen_types(lexicon, seed)
    for split, product in split_products(Catalogue(lexicon, "fil", seed), quota, unseen, seed):
        dealt[split].append(product)
    return dealt


def test_quotas_are_met_exactly(lexicon: Lexicon) -> None:
    dealt = deal(lexicon, Quota(200, 50, 120))
    assert {split: len(products) for split, products in dealt.items()} == {"train": 200, "validation": 50, "test": 120}


def test_splits_share_no_id_and_no_title(lexicon: Lexicon) -> None:
    products = [product for dealt in deal(lexicon, Quota(900, 150, 400)).values() for product in dealt]
    for field in ("id", "title", "title_en"):
        assert len({normalise_text(getattr(product, field)) for product in products}) == len(products)


def test_unseen_types_never_train_and_are_tested(lexicon: Lexicon) -> None:
    unseen = unseen_types(lexicon, 0)
    dealt = deal(lexicon, Quota(900, 150, 400))
    assert not {product.type for product in dealt["train"]} & unseen
    assert {product.type for product in dealt["test"]} & unseen
    assert {product.type for product in dealt["validation"]} & unseen


def test_a_tenth_of_the_types_is_unseen_and_the_seed_decides_which(lexicon: Lexicon) -> None:
    unseen = unseen_types(lexicon, 0)
    assert len(unseen) == -(-len(lexicon.types) // UNSEEN_EVERY)
    assert unseen == unseen_types(load_lexicon(languages=("th",)), 0)
    assert unseen != unseen_types(lexicon, 1)


def test_a_larger_release_holds_the_smaller_one_in_the_same_splits(lexicon: Lexicon) -> None:
    small, large = deal(lexicon, Quota(100, 20, 60)), deal(lexicon, Quota(300, 70, 200))
    for split in SPLITS:
        assert [product.id for product in large[split]][: len(small[split])] == [product.id for product in small[split]]


def test_split_of_depends_on_the_product_alone(lexicon: Lexicon) -> None:
    catalogue, unseen = Catalogue(lexicon, "fil", 0), unseen_types(lexicon, 0)
    splits = [split_of(catalogue.product(index), unseen, 0) for index in range(400)]
    assert splits[::-1] == [split_of(catalogue.product(index), unseen, 0) for index in reversed(range(400))]
    assert 0.4 < splits.count("train") / 400 < 0.65


def test_releases_are_nested_and_large_enough() -> None:
    assert [release.name for release in releases_up_to(release_named("default"))] == ["slice", "default"]
    tiny = Release("tiny", Quota(3, 1, 1), Quota(1, 1, 1))
    assert releases_up_to(tiny) == (tiny,)
    for small, large in itertools.pairwise(RELEASES):
        assert all(small.products[split] <= large.products[split] for split in SPLITS)
        assert all(small.queries[split] <= large.queries[split] for split in SPLITS)
    assert release_named("slice").products.total >= 2_000
    assert release_named("slice").queries.total >= 300
    assert release_named("default").products.total >= 10_000
    assert release_named("default").queries.total >= 3_000
    assert release_named("mega").products.total == 1_000_000


def test_unknown_release_lists_the_known_ones() -> None:
    with pytest.raises(LiraError, match="size 'huge' is unknown: choose one of slice, default, mega"):
        release_named("huge")


def test_the_seed_decides_splits_and_held_out_types_anew(lexicon: Lexicon) -> None:
    catalogue, none = Catalogue(lexicon, "fil", 0), frozenset[str]()
    products = [catalogue.product(index) for index in range(400)]
    splits = [[split_of(product, none, seed) for product in products] for seed in (0, 1)]
    assert 0.4 < sum(first == second for first, second in zip(*splits, strict=True)) / 400 < 0.6  # chance: 0.46
    first, second = unseen_types(lexicon, 0), unseen_types(lexicon, 1)
    assert len(first & second) / len(first) < 0.3  # chance: 0.1


def test_seen_types_are_split_by_their_shares(lexicon: Lexicon) -> None:
    catalogue, none = Catalogue(lexicon, "fil", 0), frozenset[str]()
    splits = [split_of(catalogue.product(index), none, 0) for index in range(2_000)]
    shares = {split: splits.count(split) / 2_000 for split in SPLITS}
    assert shares == pytest.approx({"train": 0.60, "validation": 0.11, "test": 0.29}, abs=0.04)
    everything = frozenset(lexicon.types)
    unseen = [split_of(catalogue.product(index), everything, 0) for index in range(2_000)]
    assert "train" not in unseen and unseen.count("validation") / 2_000 == pytest.approx(0.27, abs=0.04)


@pytest.mark.parametrize("field", ["title", "title_en"])
def test_a_product_with_another_ones_title_in_either_language_is_left_out(lexicon: Lexicon, field: str) -> None:
    catalogue = Catalogue(lexicon, "fil", 0)
    first, second, third = (catalogue.product(index) for index in range(3))
    twin = replace(second, **{field: getattr(first, field)})
    dealt = split_products([first, twin, third], Quota(9, 9, 9), frozenset(), 0)
    assert [product.id for _, product in dealt] == [first.id, third.id]
