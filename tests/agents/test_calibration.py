"""From measurements to scores in [1, 10]."""

from pathlib import Path

import pytest

from modeling_lira.agents.calibration import Calibration
from modeling_lira.errors import LiraError


def test_calibration_maps_ranks_to_the_scale(tmp_path: Path) -> None:
    values = [(float(row), 0.0, float(row // 50)) for row in range(101)]
    table = Calibration.fit([*values, (7.0, 0.0, 0.0)], ["vi"] * 101 + ["th"])
    assert table.rate((0.0, 0.0, 0.0), "vi")[0] == 1.0
    assert table.rate((50.0, 3.0, 0.0), "vi")[:2] == (pytest.approx(5.5), 5.5)
    assert table.rate((75.0, 0.0, 0.0), "vi")[0] == pytest.approx(1 + 9 * 0.75)
    assert table.rate((1e9, 0.0, 2.0), "vi")[::2] == (10.0, 10.0)
    assert table.rate((-1e9, 0.0, -9.0), "vi")[::2] == (1.0, 1.0)
    # Half of the values are 0, half are 1: each stands in the middle of its half.
    assert table.rate((0.0, 0.0, 0.0), "vi")[2] == pytest.approx(1 + 9 * 0.25, abs=0.3)
    assert table.rate((0.0, 0.0, 1.0), "vi")[2] == pytest.approx(1 + 9 * 0.75, abs=0.3)
    assert table.rate((7.0, 0.0, 0.0), "th") == (5.5, 5.5, 5.5)
    table.save(tmp_path / "table.json")
    again = Calibration.load(tmp_path / "table.json")
    assert again.digest == table.digest
    assert again.rate((33.0, 0.0, 1.0), "vi") == table.rate((33.0, 0.0, 1.0), "vi")


@pytest.mark.parametrize("content", ["{", "[]", '{"tables": {"vi": [[1], [2], [3]]}}', '{"tables": {"vi": ["x"]}}'])
def test_a_bad_calibration_file_is_named(content: str, tmp_path: Path) -> None:
    file = tmp_path / "bad.json"
    file.write_text(content)
    with pytest.raises(LiraError, match=r"bad\.json"):
        Calibration.load(file)


def test_what_was_not_measured_gets_no_score(tmp_path: Path) -> None:
    table = Calibration.fit([(float(row), None, 1.0) for row in range(9)], ["vi"] * 9)
    table.save(tmp_path / "table.json")
    for loaded in (table, Calibration.load(tmp_path / "table.json")):
        assert loaded.rate((0.0, None, 1.0), "vi") == (1.0, None, 5.5)
        assert loaded.rate((0.0, 3.0, None), "vi") == (1.0, None, None)
