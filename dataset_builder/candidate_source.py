"""The translation candidates of queries: the committed ones, made by language models, or else the gloss."""

import json
import lzma
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from modeling_lira.agents.candidate import Candidate
from modeling_lira.errors import LiraError
from modeling_lira.files import atomic_write_bytes

from .gloss import AGENT, glosser
from .lexicon import Lexicon

CANDIDATES_FILE = Path(__file__).parent / "candidates" / "candidates.jsonl.xz"
CandidateKey = tuple[str, str]


class CandidateSource:
    """Finds the candidates of a query.

    Parameters
    ----------
    lexicon : Lexicon
        Glosses the texts that the file does not have.
    path : Path
        Candidates of language models with critics' scores.
    """

    def __init__(self, lexicon: Lexicon, path: Path = CANDIDATES_FILE) -> None:
        self._lexicon = lexicon
        self._found = read_candidates(path)

    def of(self, language: str, text: str) -> list[Candidate]:
        """Return the candidates of a text, those of the file or else up to two glosses, which have no scores."""
        candidates = self._found.get((language, text))
        return candidates or [Candidate(gloss, AGENT) for gloss in glosser(self._lexicon, language).gloss(text)]


def read_candidates(path: Path = CANDIDATES_FILE) -> dict[CandidateKey, list[Candidate]]:
    """Read the candidates file; one that does not exist holds nothing.

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
    candidates: dict[CandidateKey, list[Candidate]] = {}
    try:
        with lzma.open(path, "rt", encoding="utf-8") as handle:
            for number, line in enumerate(handle, 1):
                candidates.update([_parse(line, f"{path.name} line {number}")])
    except (lzma.LZMAError, EOFError, UnicodeDecodeError) as error:
        raise LiraError(f"candidates file {path} is damaged ({error}): restore it from the repository") from error
    return candidates


def _parse(line: str, where: str) -> tuple[CandidateKey, list[Candidate]]:
    try:
        row = json.loads(line)
        return (row["language"], row["text"]), [Candidate(**candidate) for candidate in row["candidates"]]
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise LiraError(f"{where}: not a candidates row ({error})") from error


def read_scored(path: Path) -> dict[CandidateKey, list[Candidate]]:
    """Read the rows that `lira critique` wrote, JSON lines as in `read_candidates` but not compressed.

    Raises
    ------
    LiraError
        No such file, an empty one, or a line that is not such an object.
    """
    if not path.is_file():
        raise LiraError(f"no such file: {path}")
    lines = path.read_text(encoding="utf-8").split("\n")
    if not any(lines):
        raise LiraError(f"{path} is empty")
    return dict(_parse(line, f"{path.name} line {number}") for number, line in enumerate(lines, 1) if line)


def write_candidates(rows: Mapping[CandidateKey, Sequence[Candidate]], path: Path = CANDIDATES_FILE) -> None:
    """Write the candidates sorted by key: equal rows give equal bytes, and neighbours compress well."""
    lines = (
        json.dumps(
            {
                "language": language,
                "text": text,
                "candidates": [asdict(candidate) for candidate in rows[language, text]],
            },
            ensure_ascii=False,
            separators=(",", ":"),
        )
        for language, text in sorted(rows)
    )
    atomic_write_bytes(path, lzma.compress(_encoded(lines), format=lzma.FORMAT_XZ, preset=9 | lzma.PRESET_EXTREME))


def _encoded(lines: Iterable[str]) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode("utf-8")
