"""Whom a product type is for, and what children's products are never combined with."""

from collections.abc import Mapping, Sequence

from modeling_lira.errors import LiraError

ADULT = "adult"
AUDIENCES = ("all", ADULT)
ADULT_CATEGORIES = frozenset({
    "underwear", "sleepwear", "hosiery", "lip_makeup", "face_makeup", "eye_makeup", "nails_hands", "hair_removal",
    "hair_colour", "feminine_care", "fragrance", "face_care", "pain_relief", "herbal_supplements",
    "protein_supplements", "antiseptics", "cutting_tools", "saws_cutters", "drills_drivers", "tobacco", "alcohol",
    "weapons", "medicine", "intimate",
})  # fmt: skip
"""Categories of which no type may be for children."""
CHILD_VALUES: Mapping[str, tuple[str, ...]] = {
    "gender": ("boys", "girls"),
    "age": ("newborn", "infant", "toddler", "preschool", "school"),
}
CHILD_WORDS = ("for_kids", "for_school", "birthday")
"""Words of queries and titles that make a product one for children."""
UNFIT_FOR_CHILDREN = (("material", "lace"), ("style", "luxury"))
"""What children's clothing is never said to be."""


def check_audience(file: str, row: Mapping[str, str], groups: Mapping[str, Sequence[str]]) -> None:
    """Check that a row does not combine children with what is for adults, whoever adds it.

    Raises
    ------
    LiraError
        If the audience is unknown, an adult category is not marked "adult", an adult type has a child's gender or age,
        or clothing for children is of lace or luxurious.
    """
    name, audience = row["type"], row["audience"]
    if audience not in AUDIENCES:
        raise LiraError(f"{file}: type {name!r} has audience {audience!r}, expected one of {' '.join(AUDIENCES)}")
    if row["category"] in ADULT_CATEGORIES and audience != ADULT:
        raise LiraError(f"{file}: type {name!r} of category {row['category']!r} must have the audience {ADULT}")
    children = {
        (group, value) for group, values in CHILD_VALUES.items() for value in values if value in groups.get(group, ())
    }
    unfit = {(group, value) for group, value in UNFIT_FOR_CHILDREN if value in groups.get(group, ())}
    if children and (audience == ADULT or (row["department"] == "fashion" and unfit)):
        listed = ", ".join(f"{group}={value}" for group, value in sorted(children | unfit))
        raise LiraError(f"{file}: type {name!r} must not have {listed} together with its audience {audience!r}")
