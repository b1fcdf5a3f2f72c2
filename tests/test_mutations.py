"""`mutations.py` keeps up with the code: each of its mutations can still be made, and its tests are there."""

import ast
from pathlib import Path

import pytest
from mutations import MUTATIONS, ROOT, Mutation, table


@pytest.mark.parametrize("file", dict.fromkeys(mutation.file for mutation in MUTATIONS))
def test_every_mutation_changes_one_place_and_leaves_python(file):
    text = (ROOT / file).read_text(encoding="utf-8")
    for mutation in MUTATIONS:
        if mutation.file == file:
            assert text.count(mutation.old) == 1, f"{mutation.old!r} stands {text.count(mutation.old)} times in {file}"
            assert mutation.new != mutation.old
            ast.parse(text.replace(mutation.old, mutation.new))
            assert all((ROOT / name.partition("::")[0]).exists() for name in mutation.tests.split()), mutation.tests


def test_they_are_many_and_all_over_the_packages():
    assert len(MUTATIONS) >= 60 and len(MUTATIONS) == len(set(MUTATIONS))
    assert len({Path(mutation.file).parent for mutation in MUTATIONS}) >= 8


def test_what_no_test_notices_stands_in_the_table(tmp_path):
    from mutations import Attempt

    mutation = Mutation("a.py", "1 + 1", "1 - 1", "tests/test_a.py")
    (tmp_path / "a.py").write_text("x = 1 + 1\n")
    mutation.apply(tmp_path)
    assert (tmp_path / "a.py").read_text() == "x = 1 - 1\n"
    with pytest.raises(ValueError, match="stands there 0 times"):
        mutation.apply(tmp_path)
    shown = table([Attempt(mutation, True, 0.1), Attempt(Mutation("a.py", "2", "3", ""), False, 0.1)])
    assert "NOT NOTICED" in shown and shown.count("1 - 1") == 0
