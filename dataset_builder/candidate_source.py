"""The translation candidates of queries: the committed ones, made by language models, or else the gloss."""

import json
import lzma
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from modeling_lira.agents.candidate import Candidate
from modeling_lira.agents.tables import rounded
from modeling_lira.data.table_file import BadRow, Row, json_rows, read_rows
from modeling_lira.errors import LiraError
from modeling_lira.files import atomic_write_bytes

from .gloss import AGENT, glosser
from .lexicon import LANGUAGES, Lexicon

CANDIDATES_FILE = Path(__file__).parent / "candidates" / "candidates.jsonl.xz"
CandidateKey = tuple[str, str]


class CandidateSource:
    """Finds the candidates of a query.

    Parameters
    ----------
    lexicon : Lexicon
        Gives dictionary glosses for texts that the file lacks.
    path : Path
        File of candidates by language models with critics' scores, see `read_candidates`.
    """

    def __init__(self, lexicon: Lexicon, path: Path = CANDIDATES_FILE) -> None:
        self._lexicon = lexicon
        self._candidates = read_candidates(path)

    def of(self, language: str, text: str) -> list[Candidate]:
        """Return the candidates of a text: those of the file, or else up to two glosses, which have no scores."""
        candidates = self._candidates.get((language, text))
        return candidates or [Candidate(gloss, AGENT) for gloss in self.gloss(language, text)]

    def gloss(self, language: str, text: str) -> list[str]:
        """Return up to two dictionary glosses of a text, none in a language that has no dictionary."""
        if language not in LANGUAGES:
            return []
        return glosser(self._lexicon, language).gloss(text)


def read_candidates(path: Path = CANDIDATES_FILE) -> dict[CandidateKey, list[Candidate]]:
    """Read the candidates file by language and text; the result is empty if there is no such file.

    Parameters
    ----------
    path : Path
        JSON lines, xz-compressed: `{"language", "text", "candidates": [{"text", "agent", "semantic", …}, …]}`.

    Raises
    ------
    LiraError
        A file that is not xz or a line that is not such an object.
    """
    if not path.is_file():
        return {}
    try:
        with lzma.open(path, "rt", encoding="utf-8") as handle:
            return dict(_entry(row, f"{path.name} line {number}") for number, row in json_rows(handle))
    except (lzma.LZMAError, EOFError, UnicodeDecodeError) as error:
        raise LiraError(f"candidates file {path} is damaged ({error}): restore it from the repository") from error


def _entry(row: Row | BadRow, line: str) -> tuple[CandidateKey, list[Candidate]]:
    if isinstance(row, BadRow):
        raise LiraError(f"{line} {row.detail or row.reason}")
    try:
        return (str(row["language"]), str(row["text"])), [Candidate(**fields) for fields in _list(row["candidates"])]
    except (KeyError, TypeError) as error:
        raise LiraError(f"{line}: not a candidates row ({error})") from error


def _list(candidates: object) -> list[dict]:
    if not isinstance(candidates, list):
        raise TypeError("candidates must be a list")
    return candidates


def read_scored(path: Path) -> dict[CandidateKey, list[Candidate]]:
    """Read the rows that `lira critique` wrote, JSON lines as in `read_candidates` but not compressed.

    Raises
    ------
    LiraError
        No such file, an empty one, or a line that is not such an object.
    """
    rows = dict(_entry(row, f"{path.name} line {number}") for number, row in read_rows(path))
    if not rows:
        raise LiraError(f"{path} is empty")
    return rows


def write_candidates(rows: Mapping[CandidateKey, Sequence[Candidate]], path: Path = CANDIDATES_FILE) -> None:
    """Write the candidates sorted by key: equal rows give equal bytes, and neighbours compress well."""
    lines = (
        json.dumps(
            {
                "language": language,
                "text": text,
                "candidates": [rounded(candidate) for candidate in rows[language, text]],
            },
            ensure_ascii=False,
            separators=(",", ":"),
        )
        for language, text in sorted(rows)
    )
    atomic_write_bytes(path, lzma.compress(_encoded(lines), format=lzma.FORMAT_XZ, preset=9 | lzma.PRESET_EXTREME))


def _encoded(lines: Iterable[str]) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode("utf-8")
