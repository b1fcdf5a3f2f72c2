"""The page on databases runs as written: a real PostgreSQL with pgvector, and LanceDB, find the best titles."""

import re
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import MULTILINGUAL_TEXTS
from helpers import lira, write_lines

from modeling_lira import LiraModel

PAGE = (Path(__file__).parents[1] / "modeling_lira" / "search" / "DATABASES.md").read_text(encoding="utf-8")
TITLES = [f"{text} {number}" for number in range(40) for text in MULTILINGUAL_TEXTS]
SERVER = "postgresql://localhost/shop"


def code(heading: str) -> str:
    section = PAGE.split(f"## {heading}")[1].split("\n## ")[0]
    return "\n".join(re.findall(r"```python\n(.*?)```", section, re.DOTALL))


@pytest.fixture
def scores(build_model: Callable[..., LiraModel], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> np.ndarray:
    """Encode the titles by the page's command in the test's folder; returns each title's score for the page's query."""
    monkeypatch.chdir(tmp_path)
    model = build_model()
    model.save_pretrained(tmp_path / "runs" / "search" / "model")
    write_lines(tmp_path / "titles.jsonl", [{"id": f"t{row}", "text": text} for row, text in enumerate(TITLES)])
    (command,) = re.findall(r"^lira encode (.*)$", PAGE, re.MULTILINE)
    assert lira("encode", *command.split(), "--shard-size", "256") == 0
    return (model.encode_document(TITLES, "vi").half().float() @ model.encode_query(["áo thun"], "vi")[0]).numpy()


def check(ids: list[str], scores: np.ndarray) -> None:
    """Five different titles with the five best scores; which of equal titles is left to the database."""
    assert len(set(ids)) == 5
    np.testing.assert_allclose([scores[int(name[1:])] for name in ids], np.sort(scores)[:-6:-1], atol=1e-3)


@pytest.fixture
def postgres() -> Iterator[str]:
    pgserver = pytest.importorskip("pgserver", reason="needs the package pgserver, a PostgreSQL with pgvector")
    with tempfile.TemporaryDirectory() as folder:  # not pytest's, which PostgreSQL's own user may not enter
        Path(folder).chmod(0o755)
        server = pgserver.get_server(folder)
        yield server.get_uri()
        server.cleanup()


def test_pgvector_finds_the_best(scores: np.ndarray, postgres: str) -> None:
    source = code("PostgreSQL with pgvector")
    assert SERVER in source
    names: dict[str, Any] = {}
    exec(source.replace(SERVER, postgres), names)
    check([hit[0] for hit in names["hits"]], scores)
    assert names["hits"][0][2] == pytest.approx(scores.max(), abs=1e-3)
    (rows,) = names["database"].execute("SELECT count(*) FROM titles").fetchone()
    assert rows == len(TITLES)
    names["database"].close()


def test_lancedb_finds_the_best(scores: np.ndarray) -> None:
    pytest.importorskip("lancedb", reason="needs the package lancedb")
    names: dict[str, Any] = {}
    exec(code("LanceDB"), names)
    check([hit["id"] for hit in names["hits"]], scores)
    assert names["titles"].count_rows() == len(TITLES)
