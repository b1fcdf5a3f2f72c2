"""Whether a product satisfies a wish of a query, said again from its definition."""

from dataset_builder.generator.catalogue import Product
from dataset_builder.lexicon import SIZE_RANGES

KNOWN = ("iphone", "samsung", "xiaomi", "oppo", "android", "car", "motorcycle", "bicycle")


def satisfies(product: Product, wish: tuple[str, str]) -> bool:
    relation, _, group = wish[0].rpartition(":")
    value, every = wish[1], [given for other, given in product.facts if other == group]
    if group == "price_up_to":
        return product.price <= float(value)
    if group == "price_from":
        return product.price >= float(value)
    if relation == "not":
        return bool(every) and value not in every
    if not every:
        return relation == "fits"
    return any(given == value or value in SIZE_RANGES.get(given, ()) or _covers(group, given, value) for given in every)


def _covers(group: str, given: str, value: str) -> bool:
    if group == "gender":
        return value in ("men", "women") and given == "unisex"
    if group == "compatibility":
        android = value in ("samsung", "xiaomi", "oppo") and given == "android"
        return android or (given == "universal" and value != "universal" and value in KNOWN)
    return False
