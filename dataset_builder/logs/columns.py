"""Decide which column of a shop's log is the query, which the product, and so on.

The user may name a column; otherwise it is the one of our own name, or one of a usual name such as `search_term` or
`kata kunci`. A name that may mean something else as well, such as `nama`, is not guessed but mentioned.
"""

import logging
from collections.abc import Mapping, Sequence
from difflib import get_close_matches

from modeling_lira.errors import LiraError
from modeling_lira.faces.terminal import one_line

from ..page import Table, to_text
from .words import names_of_columns, plain

logger = logging.getLogger(__name__)
REQUIRED = ("query", "product", "action")
COLUMNS = (*REQUIRED, "product_id", "title_en", "language", "position", "session", "time")


def check_names(given: Mapping[str, str]) -> None:
    """Check that the keys of a mapping of columns are names of our columns.

    Raises
    ------
    LiraError
        If a key is none of `COLUMNS`; the message lists these.
    """
    unknown = sorted(set(given) - set(COLUMNS))
    if unknown:
        raise LiraError(f"column {unknown[0]!r} is unknown: map some of {', '.join(COLUMNS)}")


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
    for ours in COLUMNS:
        guess = _guess(ours, names, set(columns.values()))
        if ours not in columns and guess is not None:
            columns[ours] = guess
    missing = [ours for ours in REQUIRED if ours not in columns]
    if missing:
        which = " and no column ".join(map(repr, missing))
        hint = _hint(names, columns, missing)
        raise LiraError(f"log {log} has no column {which}, only {shown!r}: map it with --column OURS=THEIRS{hint}")
    return columns


def _guess(ours: str, names: Sequence[str], taken: set[str]) -> str | None:
    """Return the column that is not taken and has the most certain name for one of ours, or None."""
    ranks = {plain(ours): 0, **names_of_columns()[ours]}
    usual = [name for name in names if name not in taken and plain(name) in ranks]
    return min(usual, key=lambda name: ranks[plain(name)], default=None)


def _hint(names: Sequence[str], columns: Mapping[str, str], missing: Sequence[str]) -> str:
    """Return which columns that are not read may be one of the missing ones, as options; empty if none may."""
    free = [name for name in names if name not in columns.values()]
    options = [f"--column {ours}={one_line(name)}" for ours in missing for name in free if ours in _meanings(name)]
    return f", perhaps {' or '.join(options)}" if options else ""


def _meanings(name: str) -> list[str]:
    """Return those of our columns that a name may mean, certainly or not."""
    words = names_of_columns()
    return [ours for ours in COLUMNS if plain(name) in {plain(ours), *words[ours], *words[f"{ours}?"]}]


def report_columns(log: str, names: Sequence[str], columns: Mapping[str, str], given: Mapping[str, str]) -> None:
    """Log which column is read as what, and which are not read."""
    owners = {theirs: ours for ours, theirs in columns.items()}
    rows = []
    for name in dict.fromkeys(names):
        ours = owners.get(name)
        rows.append([name, ours or "–", _how(name, ours, given)])
    logger.info("columns of %s\n%s", log, to_text(Table(["column", "read as", ""], rows)))


def _how(name: str, ours: str | None, given: Mapping[str, str]) -> str:
    """Return how it was found that a column is one of ours, or what it may be if it is not read."""
    if ours is None:
        meanings = _meanings(name)
        return f"not read; --column {meanings[0]}={name} if it is that" if meanings else "not read"
    if ours in given:
        return "as asked"
    return "" if name == ours else "guessed"
