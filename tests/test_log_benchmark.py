"""`python -m eval logs`: what building corpora from logs costs, by size."""

import json
import logging
from pathlib import Path

import pytest

from dataset_builder.lexicon import load_lexicon
from eval.benchmarks.log_benchmark import LANGUAGES, Measured, _exponent, measure_logs, write_log
from modeling_lira.errors import LiraError


def test_exponent_of_what_grows_as_the_square() -> None:
    measured = [Measured(size, 1, 1.0, 3.0 * size**2, 7.0) for size in (10.0, 20.0, 40.0)]
    assert _exponent(measured, "cpu_seconds") == pytest.approx(2)
    assert _exponent(measured, "peak_memory_mib") == pytest.approx(0)


def test_a_log_has_its_size_and_the_seed_decides_it(tmp_path: Path) -> None:
    lexicon = load_lexicon(languages=LANGUAGES)
    rows = [write_log(lexicon, tmp_path / name, 50_000, seed) for name, seed in (("a", 0), ("b", 0), ("c", 1))]
    contents = [(tmp_path / name).read_bytes() for name in "abc"]
    assert 50_000 <= len(contents[0]) <= 50_400
    assert contents[0] == contents[1] != contents[2]
    assert rows[0] == contents[0].count(b"\n") - 1


def test_logs_are_built_in_linear_time_and_bounded_memory(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        small, large = measure_logs([2, 8], tmp_path)
    assert "CPU time grows by size ** " in caplog.text
    assert large.cpu_seconds < 4 * small.cpu_seconds
    assert large.peak_memory_mib < 1_000
    record = json.loads((tmp_path / "logs.json").read_text("utf-8"))
    assert record["payload"]["exponents"]["cpu_seconds"] < 1.1
    with pytest.raises(LiraError, match="at least two different ones"):
        measure_logs([3, 3], tmp_path)
