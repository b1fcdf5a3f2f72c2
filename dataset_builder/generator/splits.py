"""The split of each product, the types that training never sees, and the sizes of the releases."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache

from modeling_lira.errors import LiraError

from ..layout import SPLITS
from ..lexicon import Lexicon, normalise_text
from ..scripts import bag_of_words
from .catalogue import Popularity, Product, stable_hash

UNSEEN_EVERY = 10
_TRAIN, _VALIDATION = 0.60, 0.11
_UNSEEN_VALIDATION = 0.27


@dataclass(frozen=True)
class Quota:
    """Rows of each split."""

    train: int
    validation: int
    test: int

    def __getitem__(self, split: str) -> int:
        return int(getattr(self, split))

    @property
    def total(self) -> int:
        """Rows of all splits."""
        return sum(self[split] for split in SPLITS)


@dataclass(frozen=True)
class Release:
    """How many products and queries a language has in a release."""

    name: str
    products: Quota
    queries: Quota


RELEASES = (
    Release("slice", Quota(1_300, 300, 800), Quota(220, 60, 140)),
    Release("default", Quota(4_500, 1_500, 4_000), Quota(2_800, 240, 560)),
    Release("mega", Quota(541_000, 126_000, 333_000), Quota(2_800, 240, 560)),
)


def release_named(name: str) -> Release:
    """Return the release of a name.

    Raises
    ------
    LiraError
        If the name is unknown.
    """
    for release in RELEASES:
        if release.name == name:
            return release
    raise LiraError(f"size {name!r} is unknown: choose one of {', '.join(release.name for release in RELEASES)}")


def releases_up_to(release: Release) -> tuple[Release, ...]:
    """Return the releases that are smaller, by size, then `release`; each is contained in the next."""
    return (*(other for other in RELEASES if other.products.total < release.products.total), release)


@lru_cache(maxsize=16)
def unseen_types(lexicon: Lexicon, seed: int) -> frozenset[str]:
    """Return the types held out of training: one of every ten neighbours in popularity, the same in all languages."""
    order = Popularity(lexicon, seed).order
    blocks = [order[start : start + UNSEEN_EVERY] for start in range(0, len(order), UNSEEN_EVERY)]
    return frozenset(min(block, key=lambda name: stable_hash(seed, "unseen", name)) for block in blocks)


def split_of(product: Product, unseen: frozenset[str], seed: int) -> str:
    """Return the split of a product, by a hash of its id; a product of an unseen type is never in training."""
    share = stable_hash(seed, "split", product.id) / 2**64
    if product.type in unseen:
        return "validation" if share < _UNSEEN_VALIDATION else "test"
    if share < _TRAIN:
        return "train"
    return "validation" if share < _TRAIN + _VALIDATION else "test"


def split_products(
    products: Iterable[Product], quota: Quota, unseen: frozenset[str], seed: int
) -> Iterator[tuple[str, Product]]:
    """Assign a stream of products to the splits until every split has its quota.

    A product is left out if a title, local or English, occurred before, or one of the same words in another order, so
    that no two splits share a title. Since the stream is the same for every release, a larger one begins with the
    products of a smaller one.

    Parameters
    ----------
    products : iterable of Product
        Endless, in index order.
    quota : Quota
    unseen : frozenset of str
        Types held out of training.
    seed : int

    Yields
    ------
    split, product
    """
    left = {split: quota[split] for split in SPLITS}
    titles: set[int] = set()
    for product in products:
        if not any(left.values()):
            return
        keys = {
            stable_hash(key(title))
            for title in (product.title, product.title_en)
            for key in (normalise_text, bag_of_words)
        }
        if titles & keys:
            continue
        titles |= keys
        split = split_of(product, unseen, seed)
        if left[split]:
            left[split] -= 1
            yield split, product
