"""Decide which column of a shop's log is the query, which the product, and so on.

The user may name a column; otherwise it is the one of our own name, or one of a usual name such as `search_term`.
"""

import logging
from collections.abc import Mapping, Sequence
from difflib import get_close_matches

from modeling_lira.errors import LiraError
from modeling_lira.faces.terminal import one_line

from ..page import Table, to_text

logger = logging.getLogger(__name__)
REQUIRED = ("query", "product", "action")
USUAL_NAMES: Mapping[str, Sequence[str]] = {
    "query": ("search_query", "search_term", "query_text", "search", "search_text", "term", "keyword", "keywords", "q"),
    "product": (
        "product_title", "product_name", "title", "item_title", "item_name", "item", "name", "listing_title", "listing",
    ),
    "action": (
        "event", "event_type", "event_name", "action_type", "interaction", "interaction_type", "behavior", "behaviour",
        "activity",
    ),
    "product_id": ("sku", "item_id", "product_sku", "listing_id", "goods_id", "asin", "pid"),
    "title_en": ("title_english", "english_title", "product_title_en", "product_en", "name_en"),
    "language": ("lang", "locale", "language_code", "lang_code", "query_language"),
    "position": ("rank", "pos", "slot", "result_position", "item_position", "rank_position", "index"),
    "session": (
        "session_id", "user_session", "sid", "visit", "visit_id", "search_id", "user_id", "visitor_id", "client_id",
    ),
    "time": ("timestamp", "ts", "datetime", "event_time", "event_timestamp", "created_at", "date", "when"),
}  # fmt: skip
"""Names that shops give each of our columns, the most certain first: the first one that a log has is taken."""


def check_names(given: Mapping[str, str]) -> None:
    """Check that the keys of a mapping of columns are names of our columns.

    Raises
    ------
    LiraError
        If a key is none of `USUAL_NAMES`; the message lists these.
    """
    unknown = sorted(set(given) - set(USUAL_NAMES))
    if unknown:
        raise LiraError(f"column {unknown[0]!r} is unknown: map some of {', '.join(USUAL_NAMES)}")


def map_columns(log: str, names: Sequence[str], given: Mapping[str, str]) -> dict[str, str]:
    """Return the log's column name for each of our columns that it has, and log what was guessed and what is not read.

    Parameters
    ----------
    log : str
        The log's name, for messages.
    names : sequence of str
        The log's columns.
    given : mapping of str
        The log's column names by ours, as the user gave them; a guess never replaces one.

    Raises
    ------
    LiraError
        If the log lacks a given column, or has no column for one of `REQUIRED`; the message names all that are missing.
    """
    check_names(given)
    shown = one_line(" ".join(names).encode("utf-8", "replace").decode())
    for ours, theirs in given.items():
        if theirs not in names:
            near = get_close_matches(theirs, names, 1)
            hint = f"; did you mean {ours}={one_line(near[0])}?" if near else ""
            raise LiraError(f"log {log} has no column {theirs!r} for {ours}, only {shown!r}{hint}")
    columns = dict(given)
    for ours, usual in USUAL_NAMES.items():
        guess = _usual_column(names, (ours, *usual), set(columns.values()))
        if ours not in columns and guess is not None:
            columns[ours] = guess
    missing = [ours for ours in REQUIRED if ours not in columns]
    if missing:
        which = " and no column ".join(map(repr, missing))
        raise LiraError(f"log {log} has no column {which}, only {shown!r}: map it with --column OURS=THEIRS")
    return columns


def _usual_column(names: Sequence[str], usual: Sequence[str], taken: set[str]) -> str | None:
    """Return the first of the usual names that the log has and that is not taken by another column, or None."""
    free = {_plain(name): name for name in reversed(names) if name not in taken}
    return next((free[name] for name in usual if name in free), None)


def _plain(name: str) -> str:
    return "_".join(name.strip().casefold().replace("-", " ").replace("_", " ").split())


def report_columns(log: str, names: Sequence[str], columns: Mapping[str, str], given: Mapping[str, str]) -> None:
    """Log which column is read as what, and which are not read."""
    owners = {theirs: ours for ours, theirs in columns.items()}
    rows = []
    for name in dict.fromkeys(names):
        ours = owners.get(name, "–")
        how = "not read" if name not in owners else "as asked" if ours in given else "" if name == ours else "guessed"
        rows.append([name, ours, how])
    logger.info("columns of %s\n%s", log, to_text(Table(["column", "read as", ""], rows)))
