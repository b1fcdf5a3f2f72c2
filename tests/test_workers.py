"""`python -m eval workers`: every title is embedded and timed; a folder that is there is refused.

With one worker, in this process; tests/test_scale.py has two.
"""

import json
from pathlib import Path

import pytest
from tiny_corpus import write_corpus

pytest.importorskip("datatrove")

from eval.__main__ import app
from modeling_lira.cli import run


def test_every_title_is_embedded_and_timed(build_model, tmp_path: Path) -> None:
    build_model().save_pretrained(tmp_path / "model")
    corpus = write_corpus(tmp_path / "corpus", ("vi", "id"))
    options: dict[str, object] = {
        "model": tmp_path / "model",
        "corpus": corpus,
        "output": tmp_path / "work",
        "records": tmp_path,
    }
    options |= {"texts": 9, "workers": 1}
    command = ["workers", *(str(part) for name, value in options.items() for part in (f"--{name}", value))]
    with pytest.raises(SystemExit) as done:
        run(app, "eval", command)
    assert done.value.code == 0
    figures = json.loads((tmp_path / "workers.json").read_text("utf-8"))["payload"]["workers"]
    assert list(figures) == ["1"] and all(value > 0 for row in figures.values() for value in row.values())
    for count in figures:
        times = [
            json.loads(path.read_text("utf-8")) for path in (tmp_path / "work" / f"workers-{count}").glob("*.json")
        ]
        assert sum(row["rows"] for row in times) == 9 and len(times) == 1
    with pytest.raises(SystemExit) as stopped:
        run(app, "eval", command)
    assert stopped.value.code == 2
